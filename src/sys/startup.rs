//! What must be set right before anything else happens.

use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

/// Takes over the arguments that the C entry point was given.
///
/// The binary has no Rust runtime start-up (`no_main`): that one would set SIGPIPE to "ignore" and
/// open a closed stdin on `/dev/null`, and the job could no longer be given what we inherited.
/// Without it `std::env::args` is empty on musl.
///
/// # Safety
/// `argc` and `argv` are those of `main`: `argv` holds `argc` NUL-terminated strings.
pub unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<OsString> {
    let count = usize::try_from(argc).unwrap_or(0);
    (0..count)
        .map(|index| {
            // SAFETY: index < argc, so this entry is in the array (the caller's promise).
            let place = unsafe { argv.add(index) };
            // SAFETY: as above.
            let entry = unsafe { *place };
            // SAFETY: every entry is a NUL-terminated string (the caller's promise).
            let argument = unsafe { CStr::from_ptr(entry) };
            OsString::from_vec(argument.to_bytes().to_vec())
        })
        .collect()
}

/// Fills the standard descriptors that were closed on entry with `/dev/null`, close-on-exec.
///
/// Otherwise a file of ours could get number 2, and a message would be written into it. Being
/// close-on-exec, the job finds them closed again, as it would have alone.
pub fn occupy_standard_descriptors() {
    for fd in 0..=2 {
        // SAFETY: F_GETFD takes no argument and only reads.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            let (flags, place) = (libc::O_RDWR | libc::O_CLOEXEC, libc::O_PATH | libc::O_CLOEXEC);
            // SAFETY: the path is a NUL-terminated literal. The lowest free number is `fd`, since
            // all below it are taken.
            let opened = unsafe { libc::open(c"/dev/null".as_ptr(), flags) };
            if opened == -1 {
                // A container without /dev: anything that cannot be written to will do.
                // SAFETY: as above.
                unsafe { libc::open(c"/".as_ptr(), place) };
            }
        }
    }
}

/// The environment as exec(2) handed it over, entries without `=` and duplicates included.
pub fn environment() -> Vec<CString> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library sets it up before `main`, and nobody here changes the environment.
    let mut entry = unsafe { environ };
    let mut all = Vec::new();
    while !entry.is_null() {
        // SAFETY: `environ` is an array that ends with a null pointer, which ends this loop.
        let text = unsafe { *entry };
        if text.is_null() {
            break;
        }
        // SAFETY: not null, so it is a NUL-terminated string.
        all.push(unsafe { CStr::from_ptr(text) }.to_owned());
        // SAFETY: this entry was not the last, so there is one more.
        entry = unsafe { entry.add(1) };
    }
    all
}
