//! A terminal whose other end is closed: the kernel tells the leader of the session, and when that ends
//! the group in the foreground.

use libc::{SIGCONT, SIGHUP, SIGTSTP, SIGUSR1};

use crate::shell::{GUARDS, Guard, Shell, Terminal, leader};
use crate::support::probe::send;
use crate::support::{PATIENCE, Sandbox, ends};

/// What the job of a session without shell gets when its terminal hangs up, in order of numbers.
#[test]
fn a_job_is_told_once_when_jobguard_leads_the_session() {
    for guard in GUARDS {
        let (sandbox, mut terminal) = (Sandbox::new(), Terminal::open());
        let mut session = leader(&sandbox, &terminal, guard, &[]);
        terminal.hangs_up();
        let mut told = [session.running.line(), session.running.line()];
        told.sort();
        let numbers = told.each_ref().map(|line| line.split(' ').next().unwrap());
        assert_eq!(numbers, [SIGHUP, SIGCONT].map(|s| s.to_string()).each_ref().map(|s| &**s));
        send(session.running.pid(), SIGUSR1);
        assert_eq!(session.running.line(), format!("{SIGUSR1} user"), "{guard:?}");
        send(session.job.pid, libc::SIGUSR2);
        assert_eq!(session.running.wait().code(), Some(7));
    }
}

#[test]
fn nohup_spares_the_job() {
    for guard in GUARDS {
        let (sandbox, mut terminal) = (Sandbox::new(), Terminal::open());
        let mut session = leader(&sandbox, &terminal, guard, &["nohup"]);
        terminal.hangs_up();
        assert!(session.running.line().starts_with(&format!("{SIGCONT} ")), "{guard:?}");
        send(session.running.pid(), SIGUSR1);
        assert_eq!(session.running.line(), format!("{SIGUSR1} user"), "{guard:?}");
        send(session.job.pid, libc::SIGUSR2);
        assert_eq!(session.running.wait().code(), Some(7));
    }
}

/// Nobody is above who would continue it: as without jobguard the stop key does nothing.
#[test]
fn a_session_without_a_shell_is_not_stopped_by_the_key() {
    for guard in GUARDS {
        let (sandbox, mut terminal) = (Sandbox::new(), Terminal::open());
        let mut session = leader(&sandbox, &terminal, guard, &[]);
        terminal.types(b"\x1a\x03");
        let mut line = session.running.line();
        if guard == Guard::Own {
            assert!(line.starts_with(&format!("{SIGCONT} ")), "{line:?}");
            line = session.running.line();
        }
        assert_eq!(line, "2 kernel", "{guard:?}");
        send(session.job.pid, libc::SIGUSR2);
        assert_eq!(session.running.wait().code(), Some(7));
    }
}

/// What the job of a shell gets when the terminal hangs up, and the shell ends.
#[test]
fn a_job_is_told_once_when_its_shell_ends() {
    for guard in GUARDS {
        for stopped in [false, true] {
            let mut shell = Shell::new(guard, &[]);
            shell.starts("run");
            if stopped {
                shell.terminal.types(b"\x1a");
                shell.sees(&format!("stopped {SIGTSTP}"));
                shell.is_stopped();
            }
            shell.terminal.hangs_up();
            let mut told = [shell.report(), shell.report()];
            told.sort();
            assert!(told[0].starts_with(&format!("{SIGHUP} ")), "{guard:?}, {stopped}: {told:?}");
            assert!(told[1].starts_with(&format!("{SIGCONT} ")), "{guard:?}, {stopped}: {told:?}");
            shell.nothing_more();
            let (child, job) = (shell.child(), shell.job().pid);
            send(job, libc::SIGUSR2);
            assert!(ends(child, PATIENCE), "{guard:?}");
        }
    }
}
