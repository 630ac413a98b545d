//! The `siginfo_t` of a signal that is passed on as it came.

use std::mem;

use super::signal::Arrival;

/// The head of the kernel's `siginfo_t` for signals with a value (`_rt` in its `siginfo.h`). That
/// struct is private in the libc crate.
#[repr(C)]
struct Queued {
    head: [libc::c_int; 3],
    rt: Sent,
}

/// Aligned by its value, as in the kernel's union.
#[repr(C)]
struct Sent {
    pid: libc::pid_t,
    uid: libc::uid_t,
    value: libc::sigval,
}

/// What sigqueue(3) filled in; `None` for what came in another way. Only the kernel may say that of
/// itself or of kill(2) (rt_sigqueueinfo(2)), and a signal without one is what that would have sent.
pub(super) fn queued(arrival: Arrival) -> Option<libc::siginfo_t> {
    if arrival.code != libc::SI_QUEUE {
        return None;
    }
    // The first bytes of the union are its int on either byte order, so the pointer's bits carry both.
    let value = libc::sigval { sival_ptr: arrival.value as usize as *mut libc::c_void };
    let rt = Sent { pid: arrival.sender, uid: arrival.uid, value };
    // SAFETY: siginfo_t is plain data, of which all zeroes is a valid value.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    // SAFETY: it begins as `Queued` does, is larger, and is aligned as its largest field, the value.
    unsafe { (&raw mut info).cast::<Queued>().write(Queued { head: [0; 3], rt }) };
    info.si_signo = arrival.signal;
    info.si_code = arrival.code;
    Some(info)
}

const _: () = assert!(mem::size_of::<Queued>() <= mem::size_of::<libc::siginfo_t>());
const _: () = assert!(mem::align_of::<Queued>() <= mem::align_of::<libc::siginfo_t>());
