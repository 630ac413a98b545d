//! What wrappers do to a job: `docs/behaviour.md` is compared with what is observed, and the bugs
//! that other wrappers are known for are looked for in jobguard. Each is looked for where it is known
//! to be, too, so that we know that it would be seen. lockrun, which exits 0, has no package, and no
//! peer here has the last three: wrappers that somebody might have written stand in.
//!
//! | bug | known of | here | all the details |
//! | --- | --- | --- | --- |
//! | SIGCHLD ignored on entry hangs | tini, catatonit | `sigchld_that…` | `inheritance::with_sigchld_ignored…` |
//! | TERM swallowed before exec | dumb-init | `a_term_while…` | `signals::an_early_signal…`, `signals::an_early_term…` |
//! | double Ctrl-C | timeout, dumb-init | `one_ctrl_c…` | `terminal::the_keys…` |
//! | stolen terminal | tini, catatonit | `the_terminal…` | – |
//! | lost nohup | dumb-init, timeout | `nohup…` | `inheritance::signals_are_ignored…` |
//! | dies of USR1, and orphans the job | timeout, flock | `usr1…` | `signals::every_signal…` |
//! | exits 0 for a killed job | lockrun | `a_killed_job…` | `exit_status::death_by_a_signal…` |
//! | leaked descriptors | flock | `no_descriptor…` | `inheritance::a_job_finds…` |
//! | core dumped twice | – | `one_core…` | `exit_status::the_job_dumps_core…` |
//! | kills who has the PID after the reap | – | `whoever_gets_the_pid…` | – |
//! | hangs after a merged SIGCHLD | – | `a_merged_sigchld…` | `exit_status::a_job_that_ends_while…` |
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "what the others did, in words")]

#[path = "../support/mod.rs"]
mod support;

mod rows;
mod table;
mod wrapper;

use std::path::Path;

use table::{Table, UNSEEN, observed};
use wrapper::Wrapper;

#[test]
fn the_committed_page_says_what_was_just_observed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/behaviour.md");
    let table = Table::observe();
    if std::env::var_os("UPDATE_BEHAVIOUR").is_some() {
        std::fs::write(&path, table.page()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let (table, changed) = table.with_committed(&Table::of_page(&committed));
    changed.iter().for_each(|changed| println!("no longer as docs/behaviour.md says: {changed}"));
    assert_eq!(committed, table.page(), "look at what changed, then run scripts/behaviour");
}

/// That jobguard does as it should, and that the same rig sees another do otherwise. Whoever is of
/// another version than the one that is known may have been mended: what it does is only printed.
#[track_caller]
fn bug(row: &str, good: &str, bad: &[(Wrapper, &str, &str)]) {
    for (peer, version, answer) in bad {
        let mut found = observed(row, *peer);
        println!("{row}: {peer:?}: {found}");
        if peer.version().is_none_or(|found| found == *version) {
            // What was two may have been merged.
            for _ in 0..10 {
                if found == *answer || found == UNSEEN {
                    break;
                }
                found = table::measured(row, *peer);
            }
            assert!(
                [*answer, UNSEEN].contains(&&*found),
                "{row}: {peer:?} is not seen to fail: {found}"
            );
        }
    }
    let found = observed(row, Wrapper::Jobguard);
    assert!([good, UNSEEN].contains(&&*found), "{row}: {found}, not {good}");
}

const TIMEOUT: &str = "9.1";
const TINI: &str = "0.19.0";
const DUMB_INIT: &str = "1.2.5";
const CATATONIT: &str = "0.1.7";
const FLOCK: &str = "2.38.1";

#[test]
fn sigchld_that_is_ignored_on_entry_hangs_nobody() {
    let hang = [(Wrapper::Tini, TINI, "hangs"), (Wrapper::Catatonit, CATATONIT, "hangs")];
    bug("SIGCHLD ignored on entry", "7", &hang);
}

/// dumb-init swallows some, but not in every three hundred on every machine.
#[test]
fn a_term_while_the_job_starts_is_never_lost() {
    let row = "TERM while it starts";
    println!("dumb-init: {}", observed(row, Wrapper::DumbInit));
    bug(row, "never lost", &[]);
}

#[test]
fn one_ctrl_c_is_one_for_the_job() {
    let doubled = [
        (Wrapper::TimeoutForeground, TIMEOUT, "more than once"),
        (Wrapper::DumbInitSingle, DUMB_INIT, "more than once"),
    ];
    bug("Ctrl-C reaches the job", "once", &doubled);
}

#[test]
fn the_terminal_stays_with_whom_it_belongs_to() {
    let taken = "takes it from the shell";
    let taken = [(Wrapper::Tini, TINI, taken), (Wrapper::Catatonit, CATATONIT, taken)];
    bug("terminal, when started with `&`", "no", &taken);
    let lost = "nobody's: the caller cannot read";
    let lost = [(Wrapper::Tini, TINI, lost), (Wrapper::Catatonit, CATATONIT, lost)];
    bug("the terminal after the end", "the caller's", &lost);
}

#[test]
fn nohup_protects_the_job() {
    let lost = [(Wrapper::DumbInit, DUMB_INIT, "lost"), (Wrapper::Timeout, TIMEOUT, "lost")];
    bug("ignored SIGHUP (nohup)", "kept", &lost);
}

#[test]
fn usr1_reaches_the_job_and_orphans_nobody() {
    let dies = "wrapper dies, job goes on";
    let dies = [(Wrapper::Timeout, TIMEOUT, dies), (Wrapper::Flock, FLOCK, dies)];
    bug("USR1 to the wrapper reaches the job", "once", &dies);
}

#[test]
fn no_descriptor_of_ours_is_the_jobs() {
    bug("descriptors leaked to the job", "none", &[(Wrapper::Flock, FLOCK, "3")]);
    bug("a closed stdin is", "closed", &[(Wrapper::Flock, FLOCK, "open")]);
}

#[test]
fn a_killed_job_is_no_success() {
    let naive = Wrapper::Naive("sh", r#""$@" || exit $(($? > 128 ? 0 : $?))"#);
    bug("status when TERM kills the job", "dies of TERM", &[(naive, "", "0")]);
}

#[test]
fn one_core_is_dumped() {
    let naive = Wrapper::Naive("sh", r#""$@"; kill -$(($? - 128)) $$"#);
    let row = "core dumps when the job dies of ABRT";
    bug(row, "one, the job's", &[(naive, "", "two, one of the wrapper")]);
}

#[test]
fn whoever_gets_the_pid_of_a_reaped_job_is_spared() {
    let naive = Wrapper::Naive("sh", r#"trap 'kill -TERM $job' TERM; "$@" & job=$!; wait $job"#);
    bug(
        "who gets the job's PID after the reap, when TERM comes then",
        "spared",
        &[(naive, "", "killed")],
    );
}

/// The naive one believes what the signal says about its sender.
#[test]
fn a_merged_sigchld_hangs_nobody() {
    let naive = Wrapper::Naive(
        "python3",
        "import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
job = os.spawnvp(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
while signal.sigwaitinfo({signal.SIGCHLD}).si_pid != job: pass",
    );
    bug("SIGCHLD merged with another one", "ends", &[(naive, "", "hangs")]);
}
