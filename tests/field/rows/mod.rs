//! The rows of the table, in its order.

use crate::table::Row;

mod ending;
mod inherited;
mod init;
mod signals;
mod terminal;

/// All that is observed.
pub const ROWS: &[Row] = &[
    Row {
        name: "exit status of a job that exits 3",
        how: "`sh -c 'exit 3'`; the wrapper's wait status.",
        measure: ending::exits_3,
    },
    Row {
        name: "status when TERM kills the job",
        how: "The job sends itself TERM; the wrapper's wait status: did it die as well, or exit?",
        measure: ending::dies_of_term,
    },
    Row {
        name: "core dumps when the job dies of ABRT",
        how: "With `ulimit -c` high; whether the wrapper's own wait status says that it dumped core, too.",
        measure: ending::cores,
    },
    Row {
        name: "not found, not executable, script without `#!`",
        how: "`no-such-command`, `/etc/passwd`, and a file that says `exit 3`; the wrapper's exit \
              status. Alone: what `sh` makes of it.",
        measure: ending::not_run,
    },
    Row {
        name: "SIGCHLD ignored on entry",
        how: "The wrapper is started with SIGCHLD ignored, its job exits 7; is 7 what comes back?",
        measure: ending::sigchld_ignored,
    },
    Row {
        name: "SIGCHLD merged with another one",
        how: "The wrapper is stopped, gets a SIGCHLD from us, its job is killed, and it is continued.",
        measure: ending::merged_sigchld,
    },
    Row {
        name: "the job is stopped by SIGSTOP",
        how: "The job alone is stopped, continued, and exits 0: does the wrapper wait for that?",
        measure: ending::stopped,
    },
    Row {
        name: "TERM to the wrapper reaches the job",
        how: "Sent by kill(2) to the wrapper; the job prints each signal that it gets. strace(1) delays \
              what the wrapper sends by 20 ms each: two that are pending at once are one. The most of \
              three times.",
        measure: signals::term,
    },
    Row {
        name: "USR1 to the wrapper reaches the job",
        how: "As the row before.",
        measure: signals::usr1,
    },
    Row {
        name: "a realtime signal to the wrapper reaches the job",
        how: "As the row before, with signal 37.",
        measure: signals::realtime,
    },
    Row {
        name: "2,000 realtime signals at once",
        how: "Queued to the wrapper with sigqueue(3), and counted by the job, up to a last one of a \
              higher number.",
        measure: signals::storm,
    },
    Row {
        name: "TERM while it starts",
        how: "300 starts, with TERM sent at moments spread evenly from the start of the wrapper to a \
              while after the start of the job, and 300 with TERM as soon as the wrapper has a child. \
              Swallowed is a TERM that ended neither, and that the job never got.",
        measure: signals::early_term,
    },
    Row {
        name: "TERM that the job sends to the wrapper comes back",
        how: "The job signals its parent, and reads what arrives up to a later signal from us to the \
              wrapper.",
        measure: signals::echo,
    },
    Row {
        name: "the job when SIGKILL ends the wrapper",
        how: "The job is asked for a sign of life; the lock is tried without waiting. jobguard with \
              `--on-supervisor-death keep`, which is its default outside of containers.",
        measure: ending::wrapper_killed,
    },
    Row {
        name: "Ctrl-C reaches the job",
        how: "A real terminal; an interactive bash starts the wrapper; one ^C is typed, and the job \
              prints each INT that it gets. Delayed, and the most of three times, as above.",
        measure: terminal::interrupt,
    },
    Row {
        name: "Ctrl-Z, then `fg`",
        how: "As the row before with ^Z, and no delay; the shell must be told 148, then runs `fg`.",
        measure: terminal::suspend,
    },
    Row {
        name: "the job can read the terminal",
        how: "`sh` without job control runs the wrapper, and its job reads a line that is typed.",
        measure: terminal::reads,
    },
    Row {
        name: "terminal, when started with `&`",
        how: "An interactive bash starts the wrapper in the background; is its own process group \
              still the terminal's foreground group (`tpgid` in proc(5)) when the job runs?",
        measure: terminal::background,
    },
    Row {
        name: "the terminal after the end",
        how: "As the row before last, but `sh` itself reads when the wrapper is over.",
        measure: terminal::given_back,
    },
    Row {
        name: "ignored SIGHUP (nohup)",
        how: "The wrapper is started with HUP ignored; `SigIgn` of the job in proc(5).",
        measure: inherited::hup_ignored,
    },
    Row {
        name: "ignored SIGPIPE",
        how: "As the row before, with PIPE.",
        measure: inherited::pipe_ignored,
    },
    Row {
        name: "ignored SIGCHLD",
        how: "As the row before, with CHLD.",
        measure: inherited::chld_ignored,
    },
    Row {
        name: "nothing ignored",
        how: "As the row before, with nothing ignored: the job ignores nothing.",
        measure: inherited::nothing_ignored,
    },
    Row {
        name: "signal mask",
        how: "The wrapper is started with HUP, USR1, TERM and signal 37 blocked; `SigBlk` of the job.",
        measure: inherited::mask,
    },
    Row {
        name: "descriptors leaked to the job",
        how: "The wrapper is started with 0, 1 and 2 open; what else the job has.",
        measure: inherited::leaked,
    },
    Row {
        name: "a closed stdin is",
        how: "The wrapper is started with 0 closed; whether the job has it.",
        measure: inherited::closed_stdin,
    },
    Row {
        name: "as PID 1: orphans of the job are",
        how: "unshare(1) starts the wrapper as first process of a PID namespace; the job makes an \
              orphan that ends. Alone, the job itself is PID 1.",
        measure: init::orphans,
    },
    Row {
        name: "as PID 1: TERM to the wrapper",
        how: "As the row before; the job is `sleep`, which leaves TERM to its default. From outside.",
        measure: init::term,
    },
    Row {
        name: "who gets the job's PID after the reap, when TERM comes then",
        how: "strace(1) holds the wrapper for a second at the return of the call that reaped the job; \
              meanwhile another process is made to have the job's PID, and the wrapper gets TERM.",
        measure: init::pid_comes_back,
    },
];
