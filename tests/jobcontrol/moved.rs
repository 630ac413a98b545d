//! A job that is in another process group than jobguard: one that makes itself a leader, as timeout(1)
//! and shells do, where alone it would be one already. The terminal knows only groups.

use libc::{SIGALRM, SIGCONT, SIGINT, SIGTSTP, SIGWINCH};

use crate::shell::{Guard, Shell, program};
use crate::support::probe::send;

const GUARDS: [Guard; 2] = [Guard::Bare, Guard::Shared];

#[test]
fn keys_and_sizes_reach_it_once_and_it_is_stopped_and_continued() {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &["lead"]);
        shell.starts("run");
        shell.terminal.types(b"\x03");
        shell.gets(SIGINT);
        shell.nothing_more();
        shell.does("size 40 100");
        shell.gets(SIGWINCH);
        shell.reports("40 100");
        shell.nothing_more();
        for command in ["bg", "fg"] {
            shell.terminal.types(b"\x1a");
            shell.sees_stop(SIGTSTP);
            shell.is_stopped();
            shell.owned_by("shell");
            shell.does(command);
            shell.sees("continued");
            shell.gets(SIGCONT);
            shell.nothing_more();
            if command == "bg" {
                shell.does("fg");
                shell.gets(SIGCONT);
            }
        }
        shell.ends();
    }
}

#[test]
fn it_is_given_the_terminal_when_it_reads() {
    for guard in GUARDS {
        let mut shell = Shell::new(guard, &["lead"]);
        shell.starts("run");
        send(shell.job().pid, SIGALRM);
        shell.reports(&format!("{SIGALRM} user"));
        if guard == Guard::Shared {
            shell.gets(SIGCONT); // it was in the background, and stopped, for a moment
        }
        shell.terminal.types(b"hello\n");
        shell.reports("read hello");
        shell.terminal.types(b"\x03");
        shell.reports(&format!("{SIGINT} kernel"));
        shell.nothing_more();
        shell.ends();
    }
}

/// A script is no shell that would take it.
#[test]
fn the_terminal_comes_back_from_a_job_that_is_over() {
    let ways: [(Guard, &[&str]); 2] = [(Guard::Shared, &["lead", "own"]), (Guard::Own, &[])];
    for (guard, job) in ways {
        for signal in [libc::SIGUSR2, libc::SIGKILL] {
            let script = r#""$@"; read -r line; echo "script $line""#;
            let words =
                [&["sh", "-c", script, "sh"], guard.words(), &[program(), "job"], job].concat();
            let mut shell = Shell::of(guard, &words);
            shell.starts("run");
            shell.does("owner");
            shell.sees("owner other");
            send(shell.job().pid, signal);
            shell.terminal.types(b"hello\n");
            // The script's own word on a job that was killed goes to the terminal.
            shell.reports("script hello");
            shell.sees("exited 0");
        }
    }
}
