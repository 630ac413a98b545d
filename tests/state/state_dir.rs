//! Where the state is kept, and which directories are not trusted with it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use rstest::rstest;

use crate::strangers::{ALICE, BOB, Commons, Mounted, TEAM, User, bits, mode};
use crate::support;
use crate::support::{Sandbox, require_root, run};

#[rstest]
fn the_flag_beats_the_environment(#[values(false, true)] after: bool) {
    let sandbox = Sandbox::new();
    let chosen = sandbox.path("chosen");
    let flag = [OsStr::new("--state-dir"), chosen.as_os_str()];
    run(sandbox.jobguard(flag).args(["-m", "m1", "sh", "-c", "echo \"$JOBGUARD_STATE_DIR\""]))
        .exits(0)
        .silent();
    assert!(chosen.join("m1/record.json").exists());
    assert!(!sandbox.state().exists());
    let (before, after) = if after { (&[][..], &flag[..]) } else { (&flag[..], &[][..]) };
    for command in ["status", "info"] {
        let done = run(sandbox.jobguard(before).args([command, "m1"]).args(after)).silent();
        assert!(done.stdout().contains("exited 0"), "{}", done.stdout());
    }
    let done = run(sandbox.jobguard(before).arg("list").args(after)).exits(0).silent();
    assert!(done.stdout().contains("m1"), "{}", done.stdout());
    run(sandbox.jobguard(before).args(["clear", "m1"]).args(after)).exits(0).silent();
}

#[test]
fn after_a_subcommand_beats_before_it() {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0);
    let done = run(sandbox
        .jobguard(["--state-dir", "/nowhere", "status", "m1", "--state-dir"])
        .arg(sandbox.state()));
    assert!(done.exits(3).stdout().contains("exited 0"));
}

#[test]
fn a_relative_state_directory_reaches_the_job_absolute() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.jobguard(["--state-dir", "here", "-m", "m1", "sh", "-c"]);
    let done = run(command.arg("echo \"$JOBGUARD_STATE_DIR\"").current_dir(sandbox.path("")));
    assert_eq!(done.exits(0).stdout().trim_end(), sandbox.path("here").to_str().unwrap());
}

/// Runs a job as ALICE, who has no passwd entry, with these variables (`~` is a directory of hers),
/// and says where its state was.
fn located(commons: &Commons, variables: &[(&str, &str)]) -> String {
    let mut command = commons.as_user(ALICE, &[], commons.path("jobguard"));
    command.args(["-m", "m1", "sh", "-c", "echo \"$JOBGUARD_STATE_DIR\""]);
    let home = commons.path("home");
    for (name, value) in variables {
        command.env(name, value.replace('~', home.to_str().unwrap()));
    }
    let done = run(command.current_dir(&home)).exits(0).silent();
    let dir = done.stdout().trim_end().to_owned();
    assert!(Path::new(&dir).join("m1/record.json").exists(), "{dir}");
    dir.replace(home.to_str().unwrap(), "~")
}

#[rstest]
#[case::home(&[("HOME", "~")], "~/.local/state/jobguard")]
#[case::xdg(&[("HOME", "~"), ("XDG_STATE_HOME", "~/xdg")], "~/xdg/jobguard")]
#[case::empty_xdg(&[("HOME", "~"), ("XDG_STATE_HOME", "")], "~/.local/state/jobguard")]
#[case::relative_xdg(&[("HOME", "~"), ("XDG_STATE_HOME", "xdg")], "~/.local/state/jobguard")]
#[case::empty_variable(&[("HOME", "~"), ("JOBGUARD_STATE_DIR", "")], "~/.local/state/jobguard")]
#[case::variable(&[("XDG_STATE_HOME", "~/xdg"), ("JOBGUARD_STATE_DIR", "~/s")], "~/s")]
#[case::relative_variable(&[("JOBGUARD_STATE_DIR", "s")], "~/s")]
fn a_user_without_rights_keeps_state_at_home_as_root(
    #[case] variables: &[(&str, &str)],
    #[case] expected: &str,
) {
    let commons = Commons::new("state at home");
    commons.dir("home", ALICE, ALICE.0, 0o700);
    assert_eq!(located(&commons, variables), expected);
}

#[rstest]
#[case(&[])]
#[case(&[("HOME", "")])]
#[case(&[("HOME", "relative")])]
#[case(&[("HOME", "relative"), ("XDG_STATE_HOME", "relative")])]
fn nowhere_to_keep_state_is_said_as_root(#[case] variables: &[(&str, &str)]) {
    let commons = Commons::new("no home");
    let asks: [(&[&str], i32); 4] = [
        (&["-m", "m1", "true"], 125),
        (&["list"], 125),
        (&["status", "m1"], 4),
        (&["clear", "m1"], 125),
    ];
    for (args, code) in asks {
        let mut command = commons.as_user(ALICE, &[], commons.path("jobguard"));
        let done = run(command.args(args).envs(variables.iter().copied())).exits(code);
        assert_eq!(done.stdout(), "");
        done.says("no passwd entry").says("--state-dir");
    }
}

#[test]
fn without_home_the_passwd_entry_counts_as_root() {
    let commons = Commons::new("passwd entry");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("this rig needs nobody");
    for home in [None, Some("relative")] {
        let user = User(nobody.uid.as_raw());
        let mut command = commons.as_user(user, &[], commons.path("jobguard"));
        let done = run(command.args(["info", "m1"]).envs(home.map(|home| ("HOME", home))));
        assert!(done.exits(3).stdout().contains(nobody.dir.join(".local/state").to_str().unwrap()));
    }
}

#[rstest]
#[case::newline(b"new\nline", "new\\nline")]
#[case::not_utf8(b"a\xffb", "a\\xffb")]
#[case::escape(b"a\x1b[31mb", "a\\u{1b}[31mb")]
fn a_strange_state_directory_works_and_is_shown_safely(#[case] name: &[u8], #[case] shown: &str) {
    let sandbox = Sandbox::new();
    let state = sandbox.path("").join(OsStr::from_bytes(name));
    let jobguard = |args: &[&str]| {
        let done = run(sandbox.jobguard(args).env("JOBGUARD_STATE_DIR", &state));
        assert!(!done.0.stdout.contains(&0x1b) && !done.0.stderr.contains(&0x1b));
        assert!(std::str::from_utf8(&done.0.stdout).is_ok());
        done
    };
    assert!(jobguard(&["status", "m1"]).exits(3).stdout().contains(shown));
    jobguard(&["-m", "m1", "true"]).exits(0).silent();
    assert!(jobguard(&["info", "m1"]).exits(3).stdout().contains(shown));
    assert_eq!(jobguard(&["list", "--json"]).exits(0).json()[0]["machine"], "m1");
    let job = ["-m", "m1", "sh", "-c", "test -e \"$JOBGUARD_STATE_DIR/m1/record.json\""];
    jobguard(&job).exits(0).silent();
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::write(&state, "").unwrap();
    jobguard(&["-m", "m1", "true"]).exits(125).says(shown);
}

/// Every command refuses this state directory, and says these words.
#[track_caller]
fn refuses(jobguard: impl Fn(&[&str]) -> Command, says: &[&str]) {
    let asks: [(&[&str], i32); 6] = [
        (&["-m", "m1", "echo", "ran"], 125),
        (&["-m", "m1", "-n", "-E", "9", "echo", "ran"], 125),
        (&["status", "m1", "--json"], 4),
        (&["info", "m1"], 4),
        (&["list"], 125),
        (&["clear", "m1"], 125),
    ];
    for (args, code) in asks {
        let done = run(&mut jobguard(args)).exits(code);
        assert_eq!(done.stdout(), "", "{args:?}");
        for part in says {
            assert!(done.stderr().contains(part), "{args:?}: no {part:?} in {}", done.stderr());
        }
        assert_eq!(done.stderr().lines().count(), 1, "{}", done.stderr());
    }
}

#[rstest]
#[case::file(|s: &Path| std::fs::write(s, "").unwrap(), &["is not a directory", "--state-dir"])]
#[case::link(
    |s: &Path| { std::fs::create_dir(s.with_extension("d")).unwrap(); symlink(s.with_extension("d"), s).unwrap() },
    &["is a symbolic link", "--state-dir"],
)]
#[case::dangling(|s: &Path| symlink("/nowhere", s).unwrap(), &["is a symbolic link", "--state-dir"])]
#[case::world_writable(
    |s: &Path| { std::fs::create_dir(s).unwrap(); mode(s, 0o777) },
    &["is world-writable", "chmod o-w"],
)]
#[case::sticky_all_the_same(
    |s: &Path| { std::fs::create_dir(s).unwrap(); mode(s, 0o1777) },
    &["is world-writable", "chmod o-w"],
)]
fn a_state_directory_that_cannot_be_trusted_is_refused(
    #[case] make: fn(&Path),
    #[case] says: &[&str],
) {
    let sandbox = Sandbox::new();
    make(&sandbox.state());
    refuses(|args| sandbox.jobguard(args), says);
    refuses(|args| sandbox.jobguard(args), &[sandbox.state().to_str().unwrap()]);
}

#[test]
fn a_strangers_state_directory_is_refused_as_root() {
    let commons = Commons::new("stranger's directory");
    // Root, too, does not trust others.
    let state = commons.dir("bobs", BOB, TEAM, 0o755);
    let says = ["belongs to another user", "--state-dir", "chmod 2775"];
    refuses(|args| commons.jobguard(ALICE, &[TEAM], &state, args), &says);
    refuses(|args| commons.jobguard(User(0), &[TEAM], &state, args), &says);
    // Shared, but not with her; and setgid without being writable is not shared.
    mode(&state, 0o2775);
    refuses(|args| commons.jobguard(ALICE, &[], &state, args), &says);
    mode(&state, 0o2755);
    refuses(|args| commons.jobguard(ALICE, &[TEAM], &state, args), &says);
    // Root's own is everybody's to look at.
    chown(&state, Some(0), Some(0)).unwrap();
    mode(&state, 0o755);
    run(&mut commons.jobguard(ALICE, &[], &state, ["status", "m1"])).exits(3).silent();
}

#[test]
fn an_unwritable_state_directory_is_named_as_root() {
    let commons = Commons::new("unwritable directory");
    let state = commons.dir("state", User(0), 0, 0o755);
    let run_it = || run(&mut commons.jobguard(ALICE, &[], &state, ["-m", "m1", "echo", "ran"]));
    let done = run_it().exits(125).says("Permission denied").says("--state-dir");
    assert_eq!(done.stdout(), "");
    // It cannot be made, either.
    let state = state.join("deeper");
    let run_it = || run(&mut commons.jobguard(ALICE, &[], &state, ["-m", "m1", "echo", "ran"]));
    run_it().exits(125).says("Permission denied").says("--state-dir");
    // Nor entered.
    let locked = commons.dir("locked", ALICE, ALICE.0, 0o000);
    refuses(|args| commons.jobguard(ALICE, &[], &locked, args), &["Permission denied"]);
}

#[test]
fn a_network_file_system_is_refused_unless_allowed_as_root() {
    let sandbox = Sandbox::new();
    let proc = |args: &[&str]| {
        let mut command = sandbox.jobguard(args);
        command.env("JOBGUARD_STATE_DIR", "/proc");
        command
    };
    refuses(proc, &["/proc", "network or unknown file system", "--allow-network-fs"]);
    run(&mut proc(&["--allow-network-fs", "status", "m1"])).exits(3).silent();
    run(&mut proc(&["status", "m1", "--allow-network-fs"])).exits(3).silent();

    require_root("unknown file system");
    std::fs::create_dir(sandbox.state()).unwrap();
    let mounted = Mounted::new("unknown file system", "hugetlbfs", "size=2M", &sandbox.state());
    refuses(|args| mounted.jobguard(args), &["network or unknown file system"]);
    assert_eq!(std::fs::read_dir(mounted.outside("")).unwrap().count(), 0, "nothing was made");
}

#[test]
fn ramfs_and_tmpfs_are_local_as_root() {
    for kind in ["ramfs", "tmpfs"] {
        let sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.state()).unwrap();
        let mounted = Mounted::new("local file systems", kind, "mode=755", &sandbox.state());
        run(&mut mounted.jobguard(["-m", "m1", "true"])).exits(0).silent();
        run(&mut mounted.jobguard(["-m", "m1", "true"])).exits(0).silent();
        assert!(mounted.outside("m1/record.json").exists());
    }
}

#[rstest]
fn no_umask_gets_in_the_way(#[values("000", "022", "027", "077")] umask: &str) {
    let sandbox = Sandbox::new();
    let deep = sandbox.path("a/b/state");
    let ask = "umask $1; \"$0\" -m m1 -- sh -c 'umask; ls \"$JOBGUARD_STATE_DIR/m1\"/life.*'";
    let mut command = Command::new("sh");
    command.args(["-c", ask, support::JOBGUARD, umask]);
    sandbox.confine(&mut command);
    command.env("JOBGUARD_STATE_DIR", &deep);
    for _ in 0..2 {
        let done = run(&mut command).exits(0).silent();
        assert!(done.stdout().starts_with(&format!("0{umask}\n")), "{}", done.stdout());
    }
    for dir in ["a", "a/b", "a/b/state", "a/b/state/m1"] {
        assert_eq!(bits(&sandbox.path(dir)) & 0o7022, 0, "{dir}: {:o}", bits(&sandbox.path(dir)));
    }
    assert_eq!(bits(&deep.join("m1/lock")), 0o600);
    assert_eq!(bits(&deep.join("m1/record.json")), 0o644);
    assert_eq!(bits(&deep.join("m1/events.jsonl")), 0o644);
}

#[test]
fn lifelines_cannot_be_read() {
    let sandbox = Sandbox::new();
    let job = "stat -c '%a %F' \"$JOBGUARD_STATE_DIR\"/m1/life.$JOBGUARD_TOKEN";
    let done = run(&mut sandbox.jobguard(["-m", "m1", "sh", "-c", job])).exits(0);
    assert_eq!(done.stdout(), "222 fifo\n");
    let left = std::fs::read_dir(sandbox.machine("m1")).unwrap();
    assert!(!left.map(|e| e.unwrap()).any(|e| e.file_type().unwrap().is_fifo()));
}

#[test]
fn a_removed_state_directory_is_made_anew() {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0);
    std::fs::remove_dir_all(sandbox.state()).unwrap();
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0).silent();
    // Under a running job it is outside the promises: its status counts all the same.
    let job = "rm -r \"$JOBGUARD_STATE_DIR\"; exit 7";
    run(&mut sandbox.jobguard(["-m", "m1", "sh", "-c", job])).exits(7).says("m1");
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0).silent();
}
