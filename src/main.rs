//! The entry point. There is no Rust runtime start-up before it: see
//! [`jobguard::sys::startup::arguments`].
#![no_main]

use std::ffi::{c_char, c_int};

use jobguard::Exit;
use jobguard::sys::{signal, startup};

/// musl's own maps memory for every dozen objects, and gives it back at once: seventy system calls a run.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Called by the C library.
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "this is what the C library calls")]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: these are the arguments of `main`.
    let args = unsafe { startup::arguments(argc, argv) };
    match jobguard::run(args) {
        Exit::Code(code) => code.into(),
        Exit::Signal(number) => {
            signal::die_of(number);
            128 + number // the kernel spares PID 1 of a namespace
        }
    }
}
