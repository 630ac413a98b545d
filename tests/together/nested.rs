//! A job that runs jobguard itself: for the machine that it holds, that is no stranger.

use std::process::Command;

use rstest::rstest;

use crate::support;
use crate::support::troupe::{Member, Troupe};
use crate::support::{JOBGUARD, Running, Stray, run};

const M1: [&str; 2] = ["-m", "m1"];

/// The parents in the record of `m1`, in order; empty for none.
fn parents(troupe: &Troupe) -> Vec<String> {
    let record = troupe.sandbox.record("m1");
    let holders = record["holders"].as_array().unwrap();
    holders.iter().map(|h| h["parent"].as_u64().map_or(String::new(), |p| p.to_string())).collect()
}

/// The numbers of those who wait, with whom they wait in; outsiders first.
fn queue(troupe: &Troupe) -> Vec<(String, String)> {
    let seen = troupe.run(&["queue", "m1", "--json"]).json();
    let command = |ticket: &serde_json::Value| {
        let script = ticket["command"][2].as_str().unwrap_or_default();
        script.split_whitespace().nth(3).unwrap_or_default().to_owned()
    };
    let within = |ticket: &serde_json::Value| {
        ticket["within"].as_u64().map_or(String::new(), |token| token.to_string())
    };
    seen["queue"].as_array().unwrap().iter().map(|t| (command(t), within(t))).collect()
}

fn waits_as(who: &str, within: &str) -> (String, String) {
    (who.to_owned(), within.to_owned())
}

/// Really from inside: the job runs jobguard, which runs jobguard.
#[test]
fn three_levels_deep_by_the_environment_alone() {
    let troupe = Troupe::new();
    let script = r#"
        echo "$JOBGUARD_TOKEN $JOBGUARD_HOLDS"
        [ "$1" = 3 ] || exec "$0" $2 -m m1 -- sh -c "$3" "$0" $(($1 + 1)) "$2" "$3"
        cat "$JOBGUARD_STATE_DIR/m1/record.json"
    "#;
    for options in ["", "-n", "-s", "-n -s", "--slots 2"] {
        let words = ["-m", "m1", "--", "sh", "-c", script, JOBGUARD, "1", options, script];
        let done = troupe.run(&words).exits(0).silent();
        let text = done.stdout();
        let lines: Vec<&str> = text.lines().collect();
        let tokens: Vec<&str> = lines[..3].iter().map(|l| l.split(' ').next().unwrap()).collect();
        let holds = |count: usize| {
            let named = |token: &&str| format!("m1={token}@{}", troupe.sandbox.dir_id());
            let all: Vec<String> = tokens[..count].iter().map(named).collect();
            all.join(",")
        };
        for (index, line) in lines[..3].iter().enumerate() {
            assert_eq!(line.split(' ').nth(1), Some(&*holds(index + 1)));
        }
        let record: serde_json::Value = serde_json::from_str(&lines[3..].join("")).unwrap();
        let holders: Vec<(String, String)> = record["holders"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| (h["token"].to_string(), h["parent"].to_string()))
            .collect();
        let expected = [(tokens[0], "null"), (tokens[1], tokens[0]), (tokens[2], tokens[1])];
        assert_eq!(holders, expected.map(|(token, parent)| (token.to_owned(), parent.to_owned())));
    }
    troupe.run(&["status", "m1"]).exits(3);
    assert_eq!(troupe.sandbox.record("m1")["counters"]["runs"], 15);
    assert_eq!(troupe.lifelines("m1"), [""; 0]);
}

#[rstest]
#[case::an_old_token("m1=1")]
#[case::a_token_of_another_machine("m2={}")]
#[case::nonsense("m1=x,{},=,m1")]
fn a_hold_that_no_live_record_knows_is_none(#[case] holds: &str) {
    let troupe = Troupe::new();
    let outer = troupe.hold("outer", &M1);
    let holds = holds.replace("{}", &outer.token);
    let mut stranger = troupe.command("stranger", &M1);
    let mut stranger = Member::start(stranger.env("JOBGUARD_HOLDS", &holds));
    stranger.waits();
    assert_eq!(queue(&troupe), [waits_as("stranger", "")]);
    let mut tried = troupe.command("tried", &["-n", "-m", "m1"]);
    run(tried.env("JOBGUARD_HOLDS", &holds)).exits(75);
    outer.ends();
    stranger.begins();
    stranger.ends();
    troupe.log.never_two();
}

/// What is left of a holder that is over lets nobody in: not its orphaned token either.
#[test]
fn the_token_of_a_run_that_is_over_is_a_strangers() {
    let troupe = Troupe::new();
    let mut over = troupe.hold("over", &M1);
    let mut finishing = troupe.inside(&over, "late", &["-n", "-m", "m1"]);
    over.let_go();
    over.result();
    let next = troupe.hold("next", &M1);
    run(&mut finishing).exits(75);
    next.ends();
    assert_eq!(troupe.log.never_two(), 2);
}

/// Siblings exclude each other and go first come, first served; outsiders wait for all of them, also
/// for one who comes later than they.
#[test]
fn siblings_queue_among_themselves_and_never_behind_outsiders() {
    let troupe = Troupe::new();
    let outer = troupe.hold("outer", &M1);
    let mut outsider = troupe.queue("outsider", &M1);
    let mut inner: Vec<Member> = Vec::new();
    inner.push(Member::start(&mut troupe.inside(&outer, "i0", &M1)));
    inner[0].begins();
    for who in ["i1", "i2", "i3"] {
        inner.push(troupe.queue_inside(&outer, who, &M1));
    }
    let within = &outer.token;
    let expected = [
        waits_as("outsider", ""),
        waits_as("i1", within),
        waits_as("i2", within),
        waits_as("i3", within),
    ];
    assert_eq!(queue(&troupe), expected);
    run(&mut troupe.inside(&outer, "x", &["-n", "-m", "m1"])).exits(75);
    for mut member in inner {
        if member.job == 0 {
            member.begins();
        }
        assert_eq!(parents(&troupe), [String::new(), outer.token.clone()]);
        member.ends();
    }
    outer.ends();
    outsider.begins();
    outsider.ends();
    let order = ["outer", "i0", "i1", "i2", "i3", "outsider"];
    assert_eq!(troupe.log.order(), order);
    let may = |all: &[&str]| all.len() <= 1 || (all.len() == 2 && all[0] == "outer");
    assert_eq!(troupe.log.together(may), (6, 2));
}

/// An inner run in the background: the machine is held until it is over, too.
#[test]
fn an_inner_run_that_outlives_the_outer_one_keeps_the_machine() {
    let troupe = Troupe::new();
    let inner = r#"echo $$ >"$0.pid"; echo inner >>"$0"; read _ <"$0.go"; echo inner >>"$0""#;
    let script = format!(
        r#"mkfifo "$1.go"; setsid "$0" -m m1 -- sh -c '{inner}' "$1" </dev/null >/dev/null 2>&1 &
        until [ -s "$1.pid" ]; do sleep 0.01; done"#
    );
    let note = troupe.sandbox.path("note");
    let note = note.to_str().unwrap();
    troupe.run(&["-m", "m1", "--", "sh", "-c", &script, JOBGUARD, note]).exits(0).silent();
    let read = |file: &str| std::fs::read_to_string(format!("{note}{file}")).unwrap();
    let _inner = Stray(read(".pid").trim().parse().unwrap());
    assert_eq!(troupe.tokens("m1").len(), 1);
    assert_ne!(parents(&troupe), [""]);
    assert_eq!(troupe.tries(&["-n", "-m", "m1"]), 75);
    assert_eq!(troupe.tries(&["-n", "-s", "-m", "m1"]), 75);
    troupe.run(&["status", "m1"]).exits(0);
    let mut outsider = troupe.queue("outsider", &M1);
    std::fs::write(format!("{note}.go"), "\n").unwrap();
    outsider.begins();
    assert_eq!(read(""), "inner\ninner\n");
    outsider.ends();
    troupe.run(&["status", "m1"]).exits(3);
}

/// The outer run ends while one waits inside it: he has lost his privilege, and is in line with the
/// outsiders: behind those who are there, and before those who come.
/// A supervisor that is stopped gives them a second in which its release is due.
#[rstest]
fn who_waits_inside_a_run_that_ends_moves_to_the_queue_outside(
    #[values(false, true)] stalled: bool,
) {
    let troupe = Troupe::new();
    let mut outer = troupe.hold("outer", &M1);
    let mut inner = Member::start(&mut troupe.inside(&outer, "inner", &M1));
    inner.begins();
    let mut before = troupe.queue("before", &M1);
    let mut moved =
        ["moved0", "moved1", "moved2", "moved3"].map(|who| troupe.queue_inside(&outer, who, &M1));
    if stalled {
        outer.stop();
    }
    outer.let_go();
    support::until("they have moved", || {
        queue(&troupe).len() == 5 && queue(&troupe).iter().all(|(_, within)| within.is_empty())
    });
    let mut after = troupe.queue("after", &M1);
    inner.ends();
    before.begins();
    before.let_go();
    let ends_well = |member: &mut Member| {
        let (code, said) = member.result();
        assert_eq!(code, Some(0), "{said}");
    };
    ends_well(&mut before);
    for member in &mut moved {
        // In whichever order they have noticed.
        member.let_go();
    }
    moved.iter_mut().for_each(ends_well);
    after.begins();
    after.ends();
    let order = troupe.log.order();
    assert_eq!((&*order[2], &*order[7]), ("before", "after"), "{order:?}");
    let may = |all: &[&str]| all.len() <= 1 || all == ["outer", "inner"];
    assert_eq!(troupe.log.together(may).0, 8);
}

/// Between the record without it and the end of its lifeline a release looks like a holder whom no record
/// names. Those of its job who wait outside by then do not wait for themselves.
#[test]
fn who_is_about_to_let_go_closes_no_cycle() {
    let troupe = Troupe::new();
    let mut outer = troupe.hold("outer", &M1);
    let mut inner = Member::start(&mut troupe.inside(&outer, "inner", &M1));
    inner.begins();
    let mut before = troupe.queue("before", &M1);
    let mut moved = troupe.queue_inside(&outer, "moved", &M1);
    // The release begins when they have moved, and is in the middle when a second is over.
    let pid = outer.guard.pid();
    let mut slow = Command::new("strace");
    slow.args(["-qq", "-o", "/dev/null", "-e", "trace=flock,unlinkat", "-p", &pid.to_string()]);
    slow.args(["-e", "inject=flock:delay_enter=900000"]);
    slow.args(["-e", "inject=unlinkat:delay_enter=400000:when=1"]);
    let mut slow = Running::start(&mut slow);
    support::until("it is traced", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        !status.contains("TracerPid:\t0\n")
    });
    outer.let_go();
    assert_eq!(outer.result(), (Some(0), String::new()));
    slow.wait();
    assert_eq!(queue(&troupe), [waits_as("before", ""), waits_as("moved", "")]);
    inner.ends();
    for last in [&mut before, &mut moved] {
        last.begins();
        last.let_go();
        assert_eq!(last.result(), (Some(0), String::new()));
    }
}

/// The outer run is killed, supervisor and job: what it leaves is cleared, its inner run stays.
#[test]
fn the_phantom_of_an_outer_run_is_cleared_and_its_inner_run_stays() {
    let troupe = Troupe::new();
    let mut outer = troupe.hold("outer", &M1);
    let mut inner = Member::start(&mut troupe.inside(&outer, "inner", &M1));
    inner.begins();
    let mut waiter = troupe.queue_inside(&outer, "waiter", &M1);
    outer.kill();
    assert_eq!(troupe.tries(&["-n", "-m", "m1"]), 75);
    assert_eq!(parents(&troupe), [outer.token.clone()]);
    assert_eq!(troupe.lifelines("m1"), [inner.token.clone()]);
    run(&mut troupe.inside(&outer, "x", &["-n", "-m", "m1"])).exits(75);
    inner.ends();
    waiter.begins();
    assert_eq!(parents(&troupe), [""]);
    waiter.let_go();
    assert_eq!(waiter.result().0, Some(0));
}

/// A job whose supervisor is stopped, or was killed, holds the machine, and lets its own in.
#[rstest]
fn inside_a_job_without_its_supervisor(#[values(false, true)] killed: bool) {
    let troupe = Troupe::new();
    let mut outer = troupe.hold("outer", &M1);
    if killed {
        outer.orphan();
    } else {
        outer.stop();
    }
    let mut inner = Member::start(&mut troupe.inside(&outer, "inner", &["-n", "-m", "m1"]));
    inner.begins();
    assert_eq!(parents(&troupe), [String::new(), outer.token.clone()]);
    let mut outsider = troupe.queue("outsider", &M1);
    inner.ends();
    outsider.waits();
    if !killed {
        outer.go_on();
    }
    outer.let_go();
    outsider.begins();
    outsider.let_go();
    assert_eq!(outsider.result().0, Some(0));
    let may = |all: &[&str]| all.len() <= 1 || all == ["outer", "inner"];
    assert_eq!(troupe.log.together(may), (3, 2));
}

/// Another state directory is another world: the same name there is another machine.
#[test]
fn nested_in_another_state_directory() {
    let (troupe, elsewhere) = (Troupe::new(), Troupe::new());
    let outer = troupe.hold("outer", &M1);
    let holder = elsewhere.hold("holder", &M1);
    let mut stranger = elsewhere.command("stranger", &M1);
    let mut stranger = Member::start(stranger.env("JOBGUARD_HOLDS", &outer.holds));
    stranger.waits();
    assert_eq!(queue(&elsewhere), [waits_as("stranger", "")]);
    holder.ends();
    stranger.begins();
    assert_eq!(parents(&elsewhere), [""]);
    let dir = elsewhere.sandbox.dir_id();
    assert_eq!(stranger.holds, format!("{},m1={}@{dir}", outer.holds, stranger.token));
    stranger.ends();
    outer.ends();
}

#[test]
fn wait_and_clear_from_inside() {
    let troupe = Troupe::new();
    let outer = troupe.hold("outer", &M1);
    let holds = outer.holds.clone();
    let inside = |words: &[&str]| {
        let mut command = troupe.sandbox.jobguard(words);
        run(command.env("JOBGUARD_HOLDS", &holds))
    };
    inside(&["wait", "m1"]).exits(75).says("it would wait for itself");
    inside(&["wait", "m1", "-w", "20"]).exits(75).says("it would wait for itself");
    inside(&["clear", "m1"]).exits(75).says("it is alive: wait for it, or end it");
    inside(&["status", "m1"]).exits(0).silent();
    inside(&["wait", "m2"]).exits(0).silent();
    let mut inner = Member::start(&mut troupe.inside(&outer, "inner", &M1));
    inner.begins();
    inner.kill();
    inside(&["clear", "m1"]).exits(75);
    assert_eq!(troupe.tokens("m1").join(" "), outer.token);
    outer.ends();
    inside(&["wait", "m1"]).exits(0).silent();
}
