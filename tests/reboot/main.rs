//! Reboots for real: a virtual machine loses its power in the middle of runs, and boots again from
//! the same disk (ext4).
//!
//! The processor is emulated, so this needs nothing but qemu; a boot takes about four seconds. Two
//! kernels: on Linux 6.1 pidfds have no inodes, so the way back to start times is real there.
//! `scripts/guest` fetches the kernels; alone, this is `cargo test --test reboot -- --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]

mod asks;
mod damage;
mod guest;
mod pids;
mod power;
#[path = "../support/mod.rs"]
mod support;
mod vm;

use asks::{answer, occupy, pids};
use guest::{Guest, Kernel};
use rstest::rstest;
use vm::Vm;

#[rstest]
fn power_is_lost_in_the_middle_of_runs(
    #[values(Kernel::WithoutInodes, Kernel::WithInodes)] kernel: Kernel,
) {
    let guest = Guest::new(kernel);
    let mut vm = Vm::boot(&guest);
    // Numbers that a boot does not use up by itself, so that they can be given away after the next.
    vm.run("echo 5000 >/proc/sys/kernel/ns_last_pid").exits(0);
    let holders = ["m1", "m2", "m3"].map(|machine| (machine, vm.hold(machine)));
    for (machine, holder) in &holders {
        for who in ["job", "supervisor"] {
            assert_eq!(holder[who]["pidfd_inode"].is_u64(), kernel.has_inodes(), "{holder}");
            assert!(holder[who]["start_ticks"].is_u64(), "{holder}");
        }
        assert_eq!(holder["host"]["boot_id"], vm.boot);
        assert_eq!(vm.status(machine), answer(0, "live", ""));
        vm.is_held(machine);
    }
    // Two that wait, and what a crash leaves half made.
    let waiter = "jobguard -m m1 -- echo never >/dev/null 2>&1 & echo $!";
    for _ in 0..2 {
        let waiter = vm.run(waiter).exits(0).stdout();
        vm.until(&format!("grep -qE '^{} ' /proc/{}/syscall", libc::SYS_ppoll, waiter.trim()));
    }
    vm.run("cd /disk/state/m1 && mkfifo life.7 .life.8 && echo half >.record.9.10").exits(0);
    vm.run("sync").exits(0);
    let earlier = vm.boot.clone();
    vm.power_off();

    let mut vm = Vm::boot(&guest);
    assert_ne!(vm.boot, earlier);
    // The numbers of job and supervisor are other processes' now.
    let (job, supervisor) = pids(&holders[0].1);
    vm.run(&occupy(job)).exits(0).silent();
    vm.run(&occupy(supervisor)).exits(0).silent();
    for (machine, _) in &holders {
        assert_eq!(vm.status(machine), answer(1, "phantom", "rebooted"));
    }
    let [(m1, was), (m2, _), (m3, _)] = &holders;
    vm.goes_through(m1, "machine rebooted");
    vm.run(&format!("jobguard clear {m2}")).exits(0);
    vm.run(&format!("jobguard -m {m3} -- true")).exits(0).says("machine rebooted");
    for (machine, _) in &holders {
        assert_eq!(vm.cleared(machine, "rebooted"), 1);
        assert_eq!(vm.status(machine), answer(3, "free", ""));
        vm.run(&format!("jobguard -n -m {machine} -- true")).exits(0).silent();
        let files = vm.run(&format!("ls -A /disk/state/{machine}")).stdout();
        assert_eq!(files, "events.jsonl\nlock\nrecord.json\n", "{machine}");
    }
    assert!(vm.record(m1)["token"].as_u64() > was["token"].as_u64());
    println!(
        "reboot: kernel {}: power lost once, 3 runs and 2 that waited were cut off, {} machines \
         cleared",
        vm.release,
        holders.len()
    );
}
