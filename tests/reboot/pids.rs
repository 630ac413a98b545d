//! PIDs that come back by force, and what a kernel without pidfd inodes can still tell.

use rstest::rstest;

use crate::asks::{answer, occupy, pids};
use crate::guest::{Guest, Kernel};
use crate::vm::Vm;

const ROUNDS: u64 = 10;

#[rstest]
fn pids_come_back_and_jobs_outlive_supervisors(
    #[values(Kernel::WithoutInodes, Kernel::WithInodes)] kernel: Kernel,
) {
    let guest = Guest::new(kernel);
    let mut vm = Vm::boot(&guest);
    a_pid_comes_back(&mut vm);
    let reason = a_pid_comes_back_within_a_tick(&mut vm, kernel);
    a_job_outlives_its_supervisor(&mut vm);
    println!(
        "reboot: kernel {}: {ROUNDS} PIDs given to another process, one within a tick ends as \
         {reason}; an orphan held until it was killed",
        vm.release
    );
}

/// Kills a holder, gives its job's PID to another process, and says the tick that one began in.
fn replace(vm: &mut Vm<'_>, job: i64, supervisor: i64) -> u64 {
    vm.kill(&[supervisor, job]);
    vm.run(&occupy(job)).exits(0).silent();
    let stat = vm.run(&format!("cut -d' ' -f22 /proc/{job}/stat")).exits(0).stdout();
    stat.trim().parse().unwrap()
}

fn a_pid_comes_back(vm: &mut Vm<'_>) {
    for round in 1..=ROUNDS {
        let holder = vm.hold("m1");
        let (job, supervisor) = pids(&holder);
        let other = replace(vm, job, supervisor);
        // The console is slower than a tick.
        assert_ne!(holder["job"]["start_ticks"], other);
        assert_eq!(vm.status("m1"), answer(1, "phantom", "pid_reused"));
        vm.goes_through("m1", "PID reused");
        assert_eq!(vm.cleared("m1", "pid_reused"), round);
        vm.kill(&[job]);
    }
}

/// The record is made to name the tick that the other process began in, as if the machine had been
/// quicker. Only an inode tells those two apart; without one the machine is held, which is safe,
/// until that process ends too.
fn a_pid_comes_back_within_a_tick(vm: &mut Vm<'_>, kernel: Kernel) -> &'static str {
    let (job, supervisor) = pids(&vm.hold("m2"));
    let tick = replace(vm, job, supervisor);
    let edit = format!(r#"s/("job":."pid":{job},"start_ticks":)[0-9]+/\1{tick}/"#);
    vm.run(&format!("sed -Ei '{edit}' /disk/state/m2/record.json")).exits(0);
    assert_eq!(vm.record("m2")["holders"][0]["job"]["start_ticks"], tick);
    let reason = if kernel.has_inodes() {
        "pid_reused"
    } else {
        assert_eq!(vm.status("m2"), answer(0, "live", ""));
        vm.is_held("m2");
        vm.kill(&[job]);
        "process_gone"
    };
    assert_eq!(vm.status("m2"), answer(1, "phantom", reason));
    vm.run("jobguard -n -m m2 -- true").exits(0);
    assert_eq!(vm.cleared("m2", reason), 1);
    reason
}

fn a_job_outlives_its_supervisor(vm: &mut Vm<'_>) {
    let (job, supervisor) = pids(&vm.hold("m3"));
    vm.kill(&[supervisor]);
    assert_eq!(vm.status("m3"), answer(0, "live", ""));
    vm.is_held("m3");
    // A stopped process is not over either.
    vm.run(&format!("kill -STOP {job}")).exits(0);
    vm.until(&format!("grep -q ') T ' /proc/{job}/stat"));
    vm.is_held("m3");
    vm.kill(&[job]);
    assert_eq!(vm.status("m3"), answer(1, "phantom", "process_gone"));
    vm.goes_through("m3", "process not running");
    assert_eq!(vm.cleared("m3", "process_gone"), 1);
}
