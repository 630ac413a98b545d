//! `-s`: any number of them beside each other, and nobody else.

use rstest::rstest;

use crate::scene::{HOLDS, JOB, RAN, Scene, Tool, as_a_shell_shows, try_beside, wait_behind};
use crate::support::Running;

#[rstest]
#[case::s("-s", "-s", RAN)]
#[case::shared("--shared", "--shared", RAN)]
#[case::s_and_n("-s", "-s -n", RAN)]
#[case::s_and_w("-s", "-s -w 20", RAN)]
#[case::s_and_w_zero("-s", "-s -w 0", RAN)]
#[case::exclusive_beside_shared("-s", "-n", 1)]
#[case::exclusive_beside_shared_and_e("-s", "-n -E 123", 123)]
#[case::exclusive_waits_for_shared("-s", "-w 0.2", 1)]
#[case::shared_beside_exclusive("", "-s -n", 1)]
#[case::shared_beside_exclusive_and_e("", "-s -n -E 123", 123)]
#[case::shared_beside_exclusive_joined("", "-snE123", 123)]
#[case::shared_waits_for_exclusive("", "-s -w 0.2", 1)]
#[case::shared_waits_for_exclusive_and_e("", "-s -w 0.2 -E 5", 5)]
#[case::shared_waits_for_exclusive_and_e_zero("", "-s -w 0.2 -E 0", 0)]
#[case::shared_waits_no_time("", "-s -w 0", 1)]
fn somebody_is_and_stays(
    #[values(Tool::Flock, Tool::Jobguard)] tool: Tool,
    #[case] holder: &str,
    #[case] options: &str,
    #[case] status: i32,
) {
    try_beside(tool, holder, options, status);
}

#[rstest]
#[case::exclusive_behind_shared("-s", "")]
#[case::exclusive_behind_shared_and_w("-s", "-w 20")]
#[case::shared_behind_exclusive("", "-s")]
#[case::shared_behind_exclusive_and_w("", "-s -w 20 -E 5")]
fn somebody_is_and_lets_go(
    #[values(Tool::Flock, Tool::Jobguard)] tool: Tool,
    #[case] holder: &str,
    #[case] options: &str,
) {
    wait_behind(tool, holder, options);
}

#[rstest]
fn nobody_is_in_the_way(#[values(Tool::Flock, Tool::Jobguard)] tool: Tool) {
    let scene = Scene::new(tool);
    assert_eq!(scene.status("-s -n", &["sh", "-c", JOB]), RAN);
}

/// The last of them lets an exclusive one in.
#[rstest]
fn two_are_and_let_go(#[values(Tool::Flock, Tool::Jobguard)] tool: Tool) {
    let scene = Scene::new(tool);
    let mut held = [scene.hold("-s", HOLDS), scene.hold("-s", HOLDS)];
    let mut contender = scene.command("", &["sh", "-c", JOB]);
    let mut contender = Running::new(contender.spawn().unwrap());
    scene.until_it_waits(&contender);
    for holder in &mut held {
        assert_eq!(scene.status("-n", &["true"]), if tool == Tool::Flock { 1 } else { 75 });
        holder.let_go();
        assert!(holder.wrapper.wait().success());
    }
    assert_eq!(as_a_shell_shows(contender.wait()), RAN);
    assert_eq!(scene.log(), ["begins", "begins", "ends", "ends", "contender"]);
}

/// flock lets a shared one in before an exclusive one that waits, however long it has to; with jobguard
/// whoever came first is served first.
#[rstest]
#[case::flock(Tool::Flock, RAN)]
#[case::jobguard(Tool::Jobguard, 75)]
fn differs_on_purpose(#[case] tool: Tool, #[case] status: i32) {
    let scene = Scene::new(tool);
    let mut held = scene.hold("-s", HOLDS);
    let mut contender = scene.command("", &["sh", "-c", JOB]);
    let mut contender = Running::new(contender.spawn().unwrap());
    scene.until_it_waits(&contender);
    assert_eq!(scene.status("-s -n", &["sh", "-c", "exit 7"]), status);
    held.let_go();
    assert_eq!(as_a_shell_shows(contender.wait()), RAN);
    assert_eq!(scene.log(), ["begins", "ends", "contender"]);
}
