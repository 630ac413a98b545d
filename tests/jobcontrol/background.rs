//! A job that is started in the background: it never takes the terminal, and never hangs.

use libc::{SIGALRM, SIGCONT, SIGTTIN, SIGTTOU};

use crate::shell::{GUARDS, Guard, Shell};
use crate::support::probe::send;

#[test]
fn a_job_that_leaves_the_terminal_alone_runs_to_its_end() {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &[]);
        shell.starts("start");
        shell.owned_by("shell");
        shell.nothing_more();
        shell.ends();
    }
}

#[test]
fn a_job_that_writes_does_so_when_it_may() {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &["write"]);
        shell.starts("start");
        shell.reports("wrote");
        shell.owned_by("shell");
        shell.ends();
    }
}

#[test]
fn a_job_that_reads_stops_as_often_as_it_is_continued_there_and_reads_in_the_foreground() {
    stops_until_it_is_in_the_foreground("read", SIGTTIN, "read hello");
}

#[test]
fn a_job_that_writes_and_may_not_stops_as_often_as_it_is_continued_there() {
    stops_until_it_is_in_the_foreground("write", SIGTTOU, "wrote");
}

#[track_caller]
fn stops_until_it_is_in_the_foreground(what: &str, signal: i32, done: &str) {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &[what]);
        shell.does("tostop");
        shell.sees("set");
        shell.starts("start");
        shell.sees_stop(signal);
        for _ in 0..5 {
            shell.is_stopped();
            shell.owned_by("shell");
            shell.does("bg");
            shell.sees_stop(signal);
            shell.gets(SIGCONT);
        }
        shell.is_stopped();
        shell.owned_by("shell");
        shell.does("fg");
        shell.sees("continued");
        shell.gets(SIGCONT); // once each time
        shell.terminal.types(b"hello\n");
        shell.reports(done);
        shell.owned_by("job");
        shell.nothing_more();
        shell.ends();
    }
}

/// Without SIGCONT, as bash does it for a job that runs.
#[test]
fn a_running_job_that_is_given_the_terminal_can_read_from_it() {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &[]);
        shell.starts("start");
        shell.does("give");
        shell.sees("given");
        send(shell.job().pid, SIGALRM);
        shell.reports(&format!("{SIGALRM} user"));
        if guard == Guard::Own {
            shell.gets(SIGCONT); // it was in the background, and stopped, for a moment
        }
        shell.terminal.types(b"hello\n");
        shell.reports("read hello");
        shell.owned_by("job");
        shell.nothing_more();
        shell.ends();
    }
}
