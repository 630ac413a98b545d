//! Power losses at random moments, while runs come and go as fast as they can: whatever the file
//! system makes of that, the next run goes through.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rstest::rstest;

use crate::guest::{Guest, Kernel};
use crate::support::dice::Dice;
use crate::vm::Vm;

/// How long, as on jobguard's command line; a few losses unless told.
const DURATION: &str = "JOBGUARD_SOAK_DURATION";
/// The seed; from the clock unless told.
const SEED: &str = "JOBGUARD_SOAK_SEED";
/// How often at least.
const LOSSES: u32 = 3;

/// Runs on machines of their own: short ones, such whose supervisors are killed, such that compete,
/// and one that is there when the power goes. Each writes down its token; that is lost with the
/// power, but not to us.
const RUNS: &str = r#"
    for machine in short short-too killed contended contended held; do
        job='echo $0 $JOBGUARD_TOKEN >>/tmp/runs'
        case $machine in
        killed) job="$job; kill -KILL \$PPID" ;;
        held) job="$job; exec sleep 1000000" ;;
        esac
        while :; do jobguard -m $machine -- sh -c "$job" $machine; done >/dev/null 2>&1 &
    done
"#;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// What was found after all those losses.
#[derive(Default)]
struct Found {
    losses: u32,
    runs: usize,
    /// Machines, by the state that they were left in.
    states: BTreeMap<String, u32>,
    /// The highest token of each machine that we know of.
    tokens: BTreeMap<String, u64>,
}

impl Found {
    /// Notes who ran until now.
    fn note(&mut self, runs: &str) {
        for line in runs.lines() {
            let (machine, token) = line.split_once(' ').expect(line);
            let known = self.tokens.entry(machine.to_owned()).or_default();
            *known = (*known).max(token.parse().expect(line));
            self.runs += 1;
        }
    }

    /// After a loss: everybody recorded is over, and the next run goes through.
    fn look(&mut self, vm: &mut Vm<'_>) {
        for (machine, known) in &mut self.tokens {
            let (code, verdict, reason) = vm.status(machine);
            assert!([1, 3].contains(&code), "{machine}: {verdict} {reason}");
            *self.states.entry(format!("{verdict} {reason}").trim().to_owned()).or_default() += 1;
            let next = vm.run(&format!("jobguard -n -m {machine} -- sh -c 'echo $JOBGUARD_TOKEN'"));
            let token = next.exits(0).stdout().trim().parse().unwrap();
            assert!(token > *known, "{machine}: token {token} after {known}");
            *known = token;
            if code == 1 {
                let events = vm.events(machine);
                let logged = events.iter().rev().find(|event| event["event"] == "phantom_cleared");
                assert_eq!(logged.expect("a phantom was cleared")["reason"], reason, "{machine}");
            }
        }
    }
}

#[rstest]
fn power_is_lost_at_random(#[values(Kernel::WithoutInodes, Kernel::WithInodes)] kernel: Kernel) {
    let seed = variable(SEED).map_or_else(
        || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
        |seed| seed.parse().expect("the seed is a number"),
    );
    let duration = variable(DURATION)
        .map_or(Duration::ZERO, |text| jobguard::cli::duration::parse(&text).unwrap());
    println!("reboot: seed {seed}");
    let mut dice = Dice::new(seed);
    let (guest, begun) = (Guest::new(kernel), Instant::now());
    let mut found = Found::default();
    let mut vm = Vm::boot(&guest);
    while found.losses < LOSSES || begun.elapsed() < duration {
        vm.run(RUNS).exits(0).silent();
        // Sooner than the file system writes anything by itself, and later.
        let runs = 5 + dice.below(60);
        vm.until(&format!("[ -e /tmp/runs ] && [ $(wc -l </tmp/runs) -ge {runs} ]"));
        if dice.below(3) == 0 {
            vm.run("sync &").exits(0);
        }
        found.note(&vm.run("cat /tmp/runs").exits(0).stdout());
        vm.power_off();
        found.losses += 1;
        vm = Vm::boot(&guest);
        found.look(&mut vm);
    }
    println!(
        "reboot: kernel {}: power lost {} times among {} runs of {} machines, which were left {:?}",
        vm.release,
        found.losses,
        found.runs,
        found.tokens.len(),
        found.states
    );
    let phantoms = found.states.iter().filter(|(state, _)| state.starts_with("phantom"));
    assert!(phantoms.map(|(_, times)| times).sum::<u32>() > 0, "the losses hit nobody");
}
