//! A job in the foreground.

use libc::{SIGCONT, SIGINT, SIGQUIT, SIGSTOP, SIGTSTP, SIGWINCH};
use rstest::rstest;

use crate::shell::{GUARDS, Shell, program};
use crate::support::probe::send;
use crate::support::{state, until};

#[test]
fn a_key_reaches_the_job_once() {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &[]);
        shell.starts("run");
        shell.owned_by("job");
        for (key, signal) in [(b"\x03", SIGINT), (b"\x1c", SIGQUIT), (b"\x03", SIGINT)] {
            shell.terminal.types(key);
            shell.reports(&format!("{signal} kernel"));
            shell.nothing_more();
        }
        shell.ends();
    }
}

#[test]
fn the_stop_key_stops_both_and_fg_and_bg_continue_both_once() {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &[]);
        shell.starts("run");
        for _ in 0..3 {
            shell.terminal.types(b"\x1a");
            shell.sees(&format!("stopped {SIGTSTP}"));
            shell.is_stopped();
            shell.owned_by("shell");
            shell.does("fg");
            shell.sees("continued");
            shell.gets(SIGCONT);
            shell.nothing_more();
            shell.owned_by("job");
            shell.terminal.types(b"\x1a");
            shell.sees(&format!("stopped {SIGTSTP}"));
            shell.does("bg");
            shell.sees("continued");
            shell.gets(SIGCONT);
            shell.nothing_more();
            shell.owned_by("shell");
            shell.does("fg");
            shell.gets(SIGCONT); // this shell continues whoever runs already
            shell.owned_by("job");
            shell.terminal.types(b"\x03");
            shell.reports(&format!("{SIGINT} kernel"));
            shell.nothing_more();
        }
        shell.ends();
    }
}

#[rstest]
#[case(SIGSTOP)]
#[case(SIGTSTP)]
fn a_job_that_is_stopped_alone_is_seen_to_be_and_is_continued(#[case] signal: i32) {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &[]);
        shell.starts("run");
        for command in ["fg", "bg"] {
            send(shell.job().pid, signal);
            shell.sees(&format!("stopped {signal}"));
            shell.is_stopped();
            shell.does(command);
            shell.sees("continued");
            shell.gets(SIGCONT);
            shell.nothing_more();
        }
        shell.ends();
    }
}

#[test]
fn who_stops_and_continues_jobguard_alone_means_the_job() {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &[]);
        shell.starts("run");
        send(shell.child(), SIGTSTP);
        shell.sees(&format!("stopped {SIGTSTP}"));
        shell.is_stopped();
        send(shell.child(), SIGCONT);
        shell.sees("continued");
        shell.gets(SIGCONT);
        shell.nothing_more();
        assert_ne!(state(shell.job().pid), Some('T'));
        shell.ends();
    }
}

#[test]
fn a_new_size_reaches_the_job_once_and_is_the_terminals() {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &[]);
        shell.starts("run");
        for size in ["40 100", "12 34"] {
            shell.does(&format!("size {size}"));
            shell.gets(SIGWINCH);
            shell.reports(size);
            shell.nothing_more();
        }
        shell.ends();
    }
}

/// What is in the foreground stops as a whole, a script that started jobguard included.
#[test]
fn a_script_stops_with_the_job_that_it_started() {
    for guard in GUARDS {
        let script = [&["sh", "-c", r#""$@"; exit $?"#, "sh"], guard.words()].concat();
        let mut shell = Shell::of(guard, &[&script[..], &[program(), "job"]].concat());
        shell.starts("run");
        shell.terminal.types(b"\x1a");
        shell.sees(&format!("stopped {SIGTSTP}"));
        until("all are stopped", || {
            [shell.job().pid, shell.job().parent].iter().all(|pid| state(*pid) == Some('T'))
        });
        shell.does("fg");
        shell.sees("continued");
        shell.gets(SIGCONT);
        until("all go on", || {
            [shell.job().pid, shell.job().parent].iter().all(|pid| state(*pid) != Some('T'))
        });
        shell.ends();
    }
}
