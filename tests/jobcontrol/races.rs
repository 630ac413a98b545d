//! Somebody continues the group between the job's stop and jobguard's own: right before jobguard sends
//! itself the signal, and right after. strace holds it there.

use libc::{SIGCONT, SIGTSTP, SYS_kill};

use crate::shell::{Guard, Shell, program};
use crate::support::{JOBGUARD, require_program, state, until};

#[test]
fn a_continue_that_comes_between_the_jobs_stop_and_ours_leaves_neither_stopped() {
    require_program("strace");
    for when in ["delay_enter", "delay_exit"] {
        let inject = format!("inject=kill:{when}=1000000:when=1");
        // -DD: jobguard itself is the shell's child, strace in another group.
        let strace = ["strace", "-DD", "-qq", "-o", "/dev/null", "-e", &inject];
        let words = [&strace[..], &[JOBGUARD, "-m", "m", "--", program(), "job"]].concat();
        let mut shell = Shell::of(Guard::Shared, &words);
        shell.starts("run");
        shell.terminal.types(b"\x1a");
        let guard = shell.child();
        until("jobguard is about to stop itself", || {
            let call = std::fs::read_to_string(format!("/proc/{guard}/syscall")).unwrap();
            call.split(' ').next() == Some(&SYS_kill.to_string())
        });
        assert_eq!(state(shell.job().pid), Some('T'));
        shell.does("fg");
        shell.gets(SIGCONT);
        shell.nothing_more(); // and jobguard forwarded this
        shell.owned_by("job");
        // It can be stopped as before.
        shell.terminal.types(b"\x1a");
        shell.sees_stop(SIGTSTP);
        shell.does("fg");
        shell.sees("continued");
        shell.gets(SIGCONT);
        shell.nothing_more();
        shell.ends();
    }
}
