//! What is to happen, from the seed alone: who contends for what, and how, and which attack comes
//! when. Whom an attack hits also depends on who is there at that moment.

use std::time::Duration;

use crate::support::dice::Dice;

/// Machines that are contended for.
pub const MACHINES: u64 = 3;

/// Which faults come together. A deleted lock file combined with a stopped supervisor is beyond
/// what jobguard promises, so these never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Kills, stops, a full disk, PIDs that come back.
    Stops,
    /// Kills, deleted lock files, PIDs that come back.
    Deletions,
}

/// Whom an attack is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A jobguard that has a child.
    Supervisor,
    /// A jobguard that has none yet, or no more.
    Waiter,
    /// A job, behind its gate or past it, with or without a supervisor.
    Job,
}

/// One attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    Kill(Target),
    /// For this long.
    Stop(Target, Duration),
    /// For this long there is no room on the disk.
    Fill(Duration),
    /// The lock file of a machine, by its number, again and again for this long.
    Delete(u64, Duration),
    /// The next PIDs are those that were given first.
    Rewind,
}

/// An attack, when it comes, and which of those whom it may hit it does hit.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    pub after: Duration,
    pub attack: Attack,
    pub choice: u64,
}

impl Planned {
    /// The next attack; always the same number of rolls.
    pub fn next(dice: &mut Dice, weather: Weather) -> Self {
        // Half of them right after the one before: what that one set off is under way.
        let (burst, after) = (dice.below(2) == 0, dice.below(30_000));
        let after = Duration::from_micros(if burst { after / 20 } else { after });
        let (kind, choice, short) = (dice.below(100), dice.below(1 << 32), dice.below(150));
        // Long enough for others to see for a second that a release is overdue.
        let long = Duration::from_millis(1500 + dice.below(1500));
        let time = if choice % 8 == 0 { long } else { Duration::from_millis(5 + short) };
        let target = [Target::Supervisor, Target::Waiter, Target::Job][(choice % 3) as usize];
        let attack = match (weather, kind) {
            (_, 0..45) => Attack::Kill(target),
            (_, 45..52) => Attack::Rewind,
            (Weather::Stops, 52..97) => Attack::Stop(target, time),
            (Weather::Stops, _) => Attack::Fill(time.min(Duration::from_millis(300))),
            (Weather::Deletions, _) => {
                // Half of them just once.
                let time =
                    if short < 75 { Duration::ZERO } else { Duration::from_millis(short / 9) };
                Attack::Delete(choice % MACHINES, time)
            }
        };
        Self { after, attack, choice: choice / 24 }
    }
}

/// How a job shares its machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// With nobody.
    Alone,
    /// With all who do the same (`-s`).
    Readers,
    /// With one other who does the same (`--slots 2`).
    Slots,
}

impl Share {
    /// How the job says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Alone => "x",
            Self::Readers => "s",
            Self::Slots => "n",
        }
    }

    /// With how many others of its kind it may be there.
    pub fn others(word: &str) -> usize {
        match word {
            "s" => usize::MAX,
            "n" => 1,
            _ => 0,
        }
    }
}

/// One jobguard and its job.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Its own for ever.
    pub number: u64,
    pub machine: String,
    /// The other machine that it must have as well.
    pub also: Option<String>,
    /// How it shares them.
    pub share: Share,
    /// How long it waits: `None` for ever.
    pub wait_ms: Option<u64>,
    /// It gives up on the machine lock soon.
    pub hasty: bool,
    /// Its job outlives it.
    pub keep: bool,
    pub job_ms: u64,
    /// The job's exit status.
    pub status: i32,
}

impl Contender {
    pub fn new(seed: u64, number: u64) -> Self {
        let dice = &mut Dice::new(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        let wait_ms = match dice.below(10) {
            0 => Some(0),
            1 | 2 => Some(dice.below(400)),
            _ => None,
        };
        let machine = dice.below(MACHINES);
        let also = (machine + 1 + dice.below(MACHINES - 1)) % MACHINES;
        Self {
            number,
            machine: format!("m{machine}"),
            also: (dice.below(4) == 0).then(|| format!("m{also}")),
            share: match dice.below(6) {
                0 | 1 => Share::Readers,
                2 => Share::Slots,
                _ => Share::Alone,
            },
            wait_ms,
            hasty: dice.below(6) == 0,
            keep: dice.below(2) == 0,
            job_ms: match dice.below(20) {
                0 => 300,
                1..10 => dice.below(40),
                _ => dice.below(3),
            },
            status: dice.below(60) as i32,
        }
    }

    /// What follows `jobguard` on its command line, up to the job.
    pub fn options(&self) -> Vec<String> {
        let keep = if self.keep { "keep" } else { "kill" };
        let mut words = vec!["--on-supervisor-death".to_owned(), keep.to_owned()];
        match self.wait_ms {
            None => {}
            Some(0) => words.push("-n".to_owned()),
            Some(ms) => words.extend(["-w".to_owned(), format!("{ms}ms")]),
        }
        if self.hasty {
            words.extend(["--lock-timeout", "100ms"].map(str::to_owned));
        }
        match self.share {
            Share::Alone => {}
            Share::Readers => words.push("-s".to_owned()),
            Share::Slots => words.extend(["--slots", "2"].map(str::to_owned)),
        }
        for machine in [&self.machine].into_iter().chain(&self.also) {
            words.extend(["-m", machine].map(str::to_owned));
        }
        words.push("--".to_owned());
        words
    }
}
