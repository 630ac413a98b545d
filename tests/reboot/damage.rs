//! Records that are damaged: by a power loss, or since; with clocks that are right, and wrong.

use rstest::rstest;

use crate::asks::{Answer, answer, pids};
use crate::guest::{Guest, Kernel};
use crate::vm::Vm;

/// How a record is damaged, in its machine's directory: what a power loss does to it.
const DAMAGES: [(&str, &str); 3] = [
    ("empty", ": >record.json"),
    ("half", "head -c 200 record.json >half; cat half >record.json; rm half"),
    ("zeros", "head -c 200 /dev/zero >record.json"),
];

fn torn() -> Answer {
    answer(1, "phantom", "torn_by_power_loss")
}

fn unreadable() -> Answer {
    answer(4, "unverifiable", "unreadable")
}

/// Damages the record of a machine.
#[track_caller]
fn damage(vm: &mut Vm<'_>, machine: &str, how: &str) {
    vm.run(&format!("cd /disk/state/{machine}; {how}")).exits(0).silent();
}

/// Sets the guest's clock.
#[track_caller]
fn set_clock(vm: &mut Vm<'_>, to: &str) {
    vm.run(&format!("date -u -s '{to}' >/dev/null")).exits(0).silent();
}

#[rstest]
fn damaged_records_of_this_boot_hold_and_older_ones_do_not(
    #[values(Kernel::WithoutInodes, Kernel::WithInodes)] kernel: Kernel,
) {
    let guest = Guest::new(kernel);
    let mut vm = Vm::boot(&guest);
    for (machine, how) in DAMAGES {
        let (job, supervisor) = pids(&vm.hold(machine));
        damage(&mut vm, machine, how);
        // Its lifeline is taut: whoever that is, it lives.
        assert_eq!(vm.status(machine), answer(0, "live", ""));
        vm.is_held(machine);
        // Slack lifelines alone do not free it: the job may go on.
        vm.kill(&[supervisor]);
        vm.is_held(machine);
        vm.kill(&[job]);
        assert_eq!(vm.status(machine), unreadable(), "{machine}: nobody is there");
        vm.is_held(machine);
    }
    vm.run("sync").exits(0);
    vm.power_off();

    let mut vm = Vm::boot(&guest);
    for (machine, how) in DAMAGES {
        assert_eq!(vm.status(machine), torn());
        vm.run(&format!("cp /disk/state/{machine}/record.json /tmp/{machine}")).exits(0);
        vm.goes_through(machine, "record damaged before this boot");
        vm.run(&format!("cmp /disk/state/{machine}/record.damaged /tmp/{machine}")).exits(0);
        assert_eq!(vm.cleared(machine, "torn_by_power_loss"), 1);
        assert_eq!(vm.status(machine), answer(3, "free", ""));
        // The same, but younger than this boot.
        damage(&mut vm, machine, how);
        assert_eq!(vm.status(machine), unreadable());
        vm.is_held(machine);
    }
    println!(
        "reboot: kernel {}: {} records torn before a boot were cleared, {} torn since held",
        vm.release,
        DAMAGES.len(),
        DAMAGES.len() * 2
    );
}

/// The age of a record is told by clocks, which may be wrong. That may hold a machine until they
/// are right, but never free it.
#[rstest]
fn wrong_clocks_free_nothing(#[values(Kernel::WithoutInodes, Kernel::WithInodes)] kernel: Kernel) {
    let (machine, how) = DAMAGES[0];
    let guest = Guest::new(kernel);
    let mut vm = Vm::boot_at(&guest, "2026-06-01T00:00:00");
    vm.run(&format!("jobguard -m {machine} -- true")).exits(0);
    damage(&mut vm, machine, how);
    vm.run("sync").exits(0);
    vm.power_off();

    // The battery is empty: the record is from the future, until the time is known.
    let mut vm = Vm::boot_at(&guest, "2001-01-01T00:00:00");
    assert_eq!(vm.status(machine), unreadable());
    vm.is_held(machine);
    // A run under the wrong clock, then a crash of its supervisor, then damage: its job lives.
    let (job, supervisor) = pids(&vm.hold("orphan"));
    vm.hold("held");
    for machine in ["orphan", "held"] {
        damage(&mut vm, machine, how);
    }
    vm.kill(&[supervisor]);
    vm.is_held("orphan");
    set_clock(&mut vm, "2026-06-01 01:00:00");
    assert_eq!(vm.status(machine), torn());
    // Older than the boot, it seems; a taut lifeline says otherwise.
    assert_eq!(vm.status("held"), answer(0, "live", ""));
    vm.is_held("held");
    vm.run(&format!("kill -0 {job}")).exits(0);
    assert_eq!(vm.status("orphan"), unreadable(), "its job is alive");
    vm.is_held("orphan");
    // Back before the record: held again, then free for good.
    set_clock(&mut vm, "2026-05-31 00:00:00");
    vm.is_held(machine);
    set_clock(&mut vm, "2026-06-01 01:00:00");
    vm.goes_through(machine, "record damaged before this boot");
    println!("reboot: kernel {}: 5 steps of the clock freed nothing that was held", vm.release);
}

/// A reset takes less than a second, and the clock that goes on meanwhile knows whole seconds: what was
/// torn in the last of the old boot may seem to be of the new one.
#[rstest]
fn a_reset_takes_no_time(#[values(Kernel::WithoutInodes, Kernel::WithInodes)] kernel: Kernel) {
    let (machine, how) = DAMAGES[0];
    let guest = Guest::new(kernel);
    let mut vm = Vm::boot_at(&guest, "2026-06-01T00:00:00");
    vm.run(&format!("jobguard -m {machine} -- true")).exits(0);
    damage(&mut vm, machine, how);
    set_clock(&mut vm, "2026-06-01 00:01:02");
    vm.run(&format!("touch /disk/state/{machine}/record.json; sync")).exits(0);
    vm.power_off();

    // Its kernel begins a second later at least.
    let mut vm = Vm::boot_at(&guest, "2026-06-01T00:01:00");
    assert_eq!(vm.status(machine), torn());
    vm.goes_through(machine, "record damaged before this boot");
    println!("reboot: kernel {}: a record torn in the last second was cleared", vm.release);
}
