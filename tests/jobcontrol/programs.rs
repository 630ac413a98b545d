//! Programs that make the most of a terminal.

use crate::screen::Screens;
use crate::support::{require_program, require_root};

const BASH: &str = "bash --norc --noprofile -i";

/// The shell of a pane, in which `job` was typed.
fn screens(program: &str) -> Screens {
    require_program(program);
    Screens::with(BASH)
}

#[test]
fn vim_edits_is_interrupted_stopped_and_resized() {
    let screens = screens("vim");
    screens.file("text", "one\ntwo\n");
    screens.line("j vim -N -u NONE -i NONE -n text");
    screens.both_hold("\"text\" 2");
    screens.press(&["o", "new"]);
    screens.both_show("-- INSERT --");
    screens.press(&["C-c"]);
    screens.both_lack("INSERT");
    screens.press(&["C-c"]);
    screens.both_hold("Type  :qa");
    screens.press(&["C-z"]);
    screens.both_show("$");
    screens.clear("$");
    screens.line("jobs");
    screens.both_hold("Stopped");
    screens.line("fg");
    screens.both_hold("~\n");
    screens.resize(60, 15);
    screens.press(&[":", "set lines? columns?", "Enter"]);
    screens.both_hold("columns=60");
    screens.press(&["Enter"]);
    screens.press(&[":", "wq", "Enter"]);
    screens.both_show("$");
    assert_eq!(screens.files("text"), ["one\nnew\ntwo\n"; 2]);
    screens.line("clear; stty size");
    screens.both_hold("15 60\n$");
}

#[test]
fn less_pages_follows_is_interrupted_and_stopped() {
    let screens = screens("less");
    let text: Vec<String> = (1..=100).map(|line| format!("line {line}")).collect();
    screens.file("text", text.join("\n"));
    screens.line("j less text");
    screens.both_hold("line 23");
    screens.press(&["Space"]);
    screens.both_hold("line 46");
    screens.press(&["F"]);
    screens.both_hold("Waiting for data");
    screens.press(&["C-c"]);
    screens.both_hold("(END)");
    screens.press(&["C-z"]);
    screens.both_show("$");
    screens.clear("$");
    screens.line("fg");
    screens.both_hold("line 100");
    screens.press(&["g"]);
    screens.both_hold("line 1\n");
    screens.press(&["q"]);
    screens.both_show("$");
    screens.line("echo $?");
    screens.both_hold("0\n$");
}

#[test]
fn an_interactive_shell_has_job_control_of_its_own_and_gives_the_terminal_back() {
    let screens = screens("bash");
    screens.line("PS1='outer$ '");
    screens.both_show("outer$");
    screens.line("PS1='inner$ ' j bash --norc --noprofile -i");
    screens.both_show("inner$");
    screens.press(&["x", "C-c"]);
    screens.both_hold("^C\ninner$");
    screens.line("ready cat");
    screens.both_show("ready");
    screens.press(&["C-z"]);
    screens.both_hold("Stopped");
    screens.clear("inner$");
    screens.line("fg");
    screens.both_show("ready cat");
    screens.line("one");
    screens.both_hold("one\none");
    screens.press(&["C-c"]);
    screens.both_show("inner$");
    // It stops itself, and us.
    screens.clear("inner$");
    screens.line("suspend");
    screens.both_show("outer$");
    screens.clear("outer$");
    screens.line("fg");
    screens.both_show("inner$");
    screens.line("exit 3");
    screens.both_show("outer$");
    screens.line("echo $?; ready cat");
    screens.both_hold("\n3\nready");
    screens.press(&["C-c"]);
    screens.both_show("outer$");
    // And when it dies.
    screens.clear("outer$");
    screens.line("PS1='inner$ ' j bash --norc --noprofile -i");
    screens.both_show("inner$");
    screens.line("kill -9 $$");
    screens.both_show("outer$");
    screens.clear("outer$");
    screens.line("ready cat");
    screens.both_show("ready");
    screens.press(&["C-c"]);
    screens.both_show("outer$");
}

#[test]
fn the_prompt_of_python_is_interrupted_stopped_and_ended() {
    let screens = screens("python3");
    screens.line("j /usr/bin/python3 -q");
    screens.both_show(">>>");
    screens.line("20 + 3");
    screens.both_hold("23\n>>>");
    screens.line("while True: pass");
    screens.press(&["Enter"]);
    screens.both_show("...");
    screens.press(&["C-c"]);
    screens.both_hold("KeyboardInterrupt\n>>>");
    screens.press(&["C-z"]);
    screens.both_hold("Stopped");
    screens.clear("$");
    screens.line("fg");
    screens.both_show("j /usr/bin/python3 -q");
    screens.line("import sys; sys.exit(5)");
    screens.both_show("$");
    screens.line("echo $?");
    screens.both_hold("5\n$");
}

/// Root becomes somebody else, on a terminal that sudo makes: its monitor has a session of its own.
#[test]
fn sudo_passes_on_what_is_typed_is_interrupted_and_stopped() {
    require_root("sudo to another user");
    let screens = screens("sudo");
    screens.line("j sudo -u nobody sh -c 'id -un; read -r line; echo got $line; exit 4'");
    screens.both_show("nobody");
    screens.line("hello");
    screens.both_hold("got hello\n$");
    screens.line("echo $?");
    screens.both_hold("\n4\n$");
    screens.clear("$");
    screens.line("j sudo -u nobody sh -c 'echo ready; exec cat'");
    screens.both_show("ready");
    screens.line("one");
    screens.both_hold("one\none");
    screens.press(&["C-z"]);
    screens.both_hold("Stopped");
    screens.clear("$");
    screens.line("fg");
    screens.both_hold("j sudo -u nobody");
    screens.line("two");
    screens.both_hold("two\ntwo");
    screens.press(&["C-c"]);
    screens.both_show("$");
    screens.line("echo $?");
    screens.both_hold("\n130\n$");
}
