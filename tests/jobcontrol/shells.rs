//! The shells that people use, and their job control.

use rstest::rstest;

use crate::screen::Screens;

#[rstest]
#[case::bash("bash --norc --noprofile -i")]
#[case::dash("dash -i")]
#[case::zsh("zsh -f -i")]
fn a_job_is_stopped_shown_continued_and_interrupted_as_without_jobguard(#[case] shell: &str) {
    let screens = Screens::with(shell);
    if shell.starts_with("zsh") {
        screens.line("PS1='$ '; unsetopt PROMPT_SP; clear");
        screens.both_show("$");
    }
    screens.line("j ready cat");
    screens.both_show("ready");
    screens.line("one");
    screens.both_hold("one\none");
    screens.press(&["C-z"]);
    screens.both_show("$");
    screens.line("clear; jobs");
    screens.both_show("$");
    // In the background it reads, and stops at once; twice.
    let bg = "bg; until jobs >out; grep -E 'topped|suspended' out; do sleep 0.1; done; clear; jobs";
    for time in ["once", "twice"] {
        screens.line(&format!("{bg}; echo {time}"));
        screens.both_hold(&format!("cat\n{time}\n$"));
    }
    screens.line("fg");
    screens.both_hold("$ fg\n");
    screens.line("two");
    screens.both_hold("two\ntwo");
    screens.press(&["C-c"]);
    screens.both_show("$");
    screens.line("echo $?");
    screens.both_hold("130\n$");
    screens.line("jobs; j sh -c 'exit 9'; echo $?; j sh -c 'kill -9 $$'; echo $?");
    screens.both_hold("137\n$");
}

#[rstest]
#[case::bash("bash --norc --noprofile -i")]
#[case::dash("dash -i")]
fn a_pipeline_is_stopped_and_continued_as_a_whole(#[case] shell: &str) {
    let screens = Screens::with(shell);
    screens.line("j ready cat | sed s/^/-/");
    screens.both_hold("$ j ready cat | sed s/^/-/\n");
    screens.press(&["C-z"]);
    screens.both_show("$");
    screens.clear("$");
    screens.line("fg");
    screens.both_show("j ready cat | sed s/^/-/");
    screens.line("one");
    screens.press(&["C-d"]);
    screens.both_hold("-one\n$");
}

#[test]
fn a_job_that_is_started_in_the_background_leaves_the_terminal_to_the_shell() {
    let screens = Screens::with("bash --norc --noprofile -i");
    screens.file("silent", "#!/bin/sh\nread -r line <go; echo \"$line\" >done\n");
    screens.line("mkfifo go; set +m; PS1='> '; clear; set -m");
    screens.both_show(">");
    screens.line("j sh ./silent 2>/dev/null & clear");
    screens.both_show(">");
    screens.line("echo here");
    screens.both_show(">");
    screens.line("echo went >go; wait; clear; cat done; echo $?");
    screens.both_hold("went\n0\n>");
}
