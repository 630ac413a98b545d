//! A wrapper as the first process of a PID namespace, as in a container; and PIDs that come back.

use std::process::{Command, Stdio};

use crate::rows::ending::end;
use crate::support::probe::{bare, probe, send};
use crate::support::{Running, Sandbox, require_program, require_root};
use crate::table::NONE;
use crate::wrapper::{QUIET, Wrapper};

/// A namespace in which a command is to follow; it goes when its guard does.
fn namespace(sandbox: &Sandbox) -> Command {
    require_root("a PID namespace");
    require_program("unshare");
    let mut command = bare(sandbox, &[]);
    command.args(["/usr/bin/unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.stderr(Stdio::null());
    command
}

fn as_init(wrapper: Wrapper, sandbox: &Sandbox, job: &[&str]) -> Running {
    Running::start(namespace(sandbox).args(wrapper.words(sandbox)).args(job))
}

pub fn orphans(wrapper: Wrapper) -> String {
    let sandbox = Sandbox::new();
    let job = [probe().to_str().unwrap(), "orphan"];
    as_init(wrapper, &sandbox, &job).line()
}

pub fn term(wrapper: Wrapper) -> String {
    let sandbox = Sandbox::new();
    let mut outside = as_init(wrapper, &sandbox, &["/bin/sh", "-c", "echo ready; exec sleep inf"]);
    assert_eq!(outside.line(), "ready");
    let children = format!("/proc/{0}/task/{0}/children", outside.pid());
    let init = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    send(init, libc::SIGTERM);
    // Nothing is what a job alone does, too.
    if wrapper == Wrapper::Bare && !crate::support::ends(outside.pid(), QUIET) {
        return "ignored".to_owned();
    }
    match end(wrapper, &mut outside).as_str() {
        "hangs" => "ignored".to_owned(),
        status => format!("ends, {status}"),
    }
}

/// `$1` says the job's PID; the wrapper is stopped for a second at the return of each call that may
/// reap. In that second somebody else gets the PID, and the wrapper gets TERM.
const COMES_BACK: &str = r#"
    fifo=$1; shift
    mkfifo "$fifo"
    strace -o /dev/null -e inject=wait4,waitid:delay_exit=1000000 \
        "$@" /bin/sh -c 'echo $$ >"$0"; exit 7' "$fifo" &
    strace=$!
    read -r job <"$fifo"
    read -r wrapper </proc/$strace/task/$strace/children
    wrapper=${wrapper%% *}
    [ $wrapper != $job ] || { echo in place; exit; }
    while [ -e /proc/$job ]; do sleep 0.01; done
    echo $((job - 1)) >/proc/sys/kernel/ns_last_pid
    sleep inf & victim=$!
    kill -TERM $wrapper
    read -r stat </proc/$wrapper/stat
    case $stat in (*') t '*) ;; (*) echo 'it was over too soon'; exit;; esac
    [ $victim = $job ] || { echo 'the PID did not come back'; exit; }
    wait $strace
    kill -0 $victim && read -r stat </proc/$victim/stat
    case $stat in (*') S '*) echo spared;; (*) echo killed;; esac
"#;

pub fn pid_comes_back(wrapper: Wrapper) -> String {
    if wrapper == Wrapper::Bare {
        return NONE.to_owned();
    }
    require_program("strace");
    // A second may be too short where there is much else to do.
    let mut said = String::new();
    for _ in 0..5 {
        let sandbox = Sandbox::new();
        let mut command = namespace(&sandbox);
        command.args(["/bin/sh", "-c", COMES_BACK, "sh"]).arg(sandbox.path("fifo"));
        said = Running::start(command.args(wrapper.words(&sandbox))).line();
        match said.as_str() {
            "in place" => return NONE.to_owned(),
            "spared" | "killed" => break,
            _ => {}
        }
    }
    said
}
