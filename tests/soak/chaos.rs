//! The attacker. It notes what it did, and when, in a log of its own: an attack is dated *before*
//! it is made, an end *after* it was seen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jobguard::sys::pidfd::PidFd;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::arena::{Arena, Process, now};
use crate::schedule::{Attack, Planned, Target, Weather};
use crate::support::dice::Dice;

/// How long a process may take to die of SIGKILL, and its job to follow where it must.
const DEATH: Duration = Duration::from_secs(10);

/// A supervisor that is stopped for longer than this may miss its release.
const OVERDUE: Duration = Duration::from_millis(500);

/// What the checker must know of the attacks of one phase.
#[derive(Debug, Clone, Default)]
pub struct Struck {
    /// When SIGKILL was first sent to the jobguard of this number.
    pub guards: BTreeMap<u64, u64>,
    /// When SIGKILL was first sent to the job of this number.
    pub jobs: BTreeMap<u64, u64>,
    /// From when to when the disk was full.
    pub full: Vec<(u64, u64)>,
}

/// How often what was done.
pub type Counts = BTreeMap<&'static str, u64>;

/// Who is stopped.
struct Stopped {
    until: Instant,
    pidfd: PidFd,
    /// For so long that it must not be killed meanwhile: others are to see what that leads to.
    spared: Option<i32>,
}

pub struct Chaos {
    dice: Dice,
    weather: Weather,
    log: File,
    due: Instant,
    planned: Planned,
    stopped: Vec<Stopped>,
    full: Option<(Instant, u64)>,
    killed: Option<i32>,
    filling: PathBuf,
    pub struck: Struck,
    pub counts: Counts,
}

impl Chaos {
    pub fn new(mut dice: Dice, weather: Weather, dir: &Path) -> Self {
        let planned = Planned::next(&mut dice, weather);
        let options = File::options().append(true).create(true).clone();
        Self {
            dice,
            weather,
            log: options.open(dir.join("attacks")).unwrap(),
            due: Instant::now() + planned.after,
            planned,
            stopped: Vec::new(),
            full: None,
            killed: None,
            filling: dir.join("state/filling"),
            struck: Struck::default(),
            counts: Counts::new(),
        }
    }

    /// When there will be something to do.
    pub fn due(&self) -> Instant {
        let ends =
            self.stopped.iter().map(|stopped| stopped.until).chain(self.full.map(|(due, _)| due));
        ends.min().map_or(self.due, |end| end.min(self.due))
    }

    /// Does what is due.
    pub fn act(&mut self, arena: &Arena) {
        let now = Instant::now();
        self.let_go(now);
        if now >= self.due {
            let planned = self.planned;
            self.attack(arena, planned);
            self.planned = Planned::next(&mut self.dice, self.weather);
            self.due = Instant::now() + self.planned.after;
        }
    }

    /// Ends every stop, and the shortage of space.
    pub fn relent(&mut self) {
        self.let_go(Instant::now() + Duration::from_secs(3600));
    }

    /// Ends what was to last until now.
    fn let_go(&mut self, until: Instant) {
        for stopped in self.stopped.extract_if(.., |stopped| stopped.until <= until) {
            let lives = stopped.pidfd.signal(libc::SIGCONT).is_ok();
            let what = if lives { "continued" } else { "killed while stopped" };
            *self.counts.entry(what).or_default() += 1;
        }
        if let Some((due, since)) = self.full
            && due <= until
        {
            std::fs::remove_file(&self.filling).unwrap();
            self.struck.full.push((since, now()));
            self.full = None;
            self.note(since, "disk full until now");
        }
    }

    fn note(&mut self, since: u64, what: &str) {
        writeln!(self.log, "{since} {} {what}", now()).unwrap();
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn attack(&mut self, arena: &Arena, planned: Planned) {
        match planned.attack {
            Attack::Kill(target) => {
                let spared: Vec<i32> = self.stopped.iter().filter_map(|s| s.spared).collect();
                let mut all = arena.processes();
                all.retain(|process| !spared.contains(&process.pid));
                if let Some(victim) = choose(&all, target, planned.choice) {
                    self.kill(&all[victim], &all);
                }
            }
            Attack::Stop(target, time) => {
                let mut all = arena.processes();
                if let Some(victim) = choose(&all, target, planned.choice) {
                    self.stop(all.swap_remove(victim), time);
                }
            }
            Attack::Fill(time) => self.fill(time),
            Attack::Delete(machine, time) => self.delete(&arena.state(), machine, time),
            Attack::Rewind => self.rewind(),
        }
    }

    fn kill(&mut self, victim: &Process, all: &[Process]) {
        let sent = now();
        let Ok(()) = victim.pidfd.signal(libc::SIGKILL) else { return };
        let is_job = victim.target == Target::Job;
        let struck = if is_job { &mut self.struck.jobs } else { &mut self.struck.guards };
        struck.entry(victim.number).or_insert(sent);
        self.dies(sent, victim);
        self.count(match (victim.target, victim.gated) {
            (Target::Job, true) => "jobs killed at the gate",
            (Target::Job, false) => "jobs killed",
            (Target::Supervisor, _) => "supervisors killed",
            (Target::Waiter, _) => "waiters killed",
        });
        self.killed = Some(victim.pid);
        // One at the gate may be stopped before it has asked to be killed with its parent: then it
        // ends, without having begun, when it is continued.
        let begun = |p: &&Process| p.target == Target::Job && !p.gated;
        let follows = |p: &&Process| begun(p) && p.number == victim.number;
        if !is_job && !victim.keep {
            let jobs: Vec<&Process> = all.iter().filter(follows).collect();
            jobs.into_iter().for_each(|job| self.dies(sent, job));
        }
    }

    /// Waits for the end of a process that has been, or must be, killed.
    fn dies(&mut self, sent: u64, victim: &Process) {
        let mut fds = [PollFd::new(victim.pidfd.as_fd(), PollFlags::POLLIN)];
        let over = poll(&mut fds, PollTimeout::try_from(DEATH).unwrap()).unwrap() != 0;
        let Process { target, number, machine, pid, .. } = victim;
        let how = if over { "killed" } else { "SURVIVED" };
        self.note(sent, &format!("{how} {target:?} of {number} on {machine}, PID {pid}"));
        assert!(over, "stuck: {target:?} of {number} on {machine}, PID {pid}, survives SIGKILL");
    }

    fn stop(&mut self, victim: Process, time: Duration) {
        let sent = now();
        let Ok(()) = victim.pidfd.signal(libc::SIGSTOP) else { return };
        let Process { target, number, machine, pid, pidfd, .. } = victim;
        let what = format!("stopped {target:?} of {number} on {machine}, PID {pid}, for {time:?}");
        self.note(sent, &what);
        let spared = (time > OVERDUE).then_some(pid);
        self.stopped.push(Stopped { until: Instant::now() + time, pidfd, spared });
        self.count(match target {
            Target::Job => "jobs stopped",
            Target::Supervisor => "supervisors stopped",
            Target::Waiter => "waiters stopped",
        });
    }

    fn fill(&mut self, time: Duration) {
        if self.full.is_some() {
            return;
        }
        let since = now();
        let mut file = File::create(&self.filling).unwrap();
        // Whole pages, then nothing smaller is left.
        for size in [1 << 20, 1 << 16, 1 << 12] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        self.full = Some((Instant::now() + time, since));
        self.count("disk filled");
    }

    fn delete(&mut self, state: &Path, machine: u64, time: Duration) {
        let (sent, until) = (now(), Instant::now() + time);
        let lock = state.join(format!("m{machine}/lock"));
        loop {
            match std::fs::remove_file(&lock) {
                Ok(()) => self.count("lock files deleted"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
            if Instant::now() >= until {
                break;
            }
        }
        self.note(sent, &format!("deleted the lock of m{machine} until now"));
    }

    /// Whoever is born next gets the PID of the last one killed.
    fn rewind(&mut self) {
        let Some(killed) = self.killed else { return };
        std::fs::write("/proc/sys/kernel/ns_last_pid", (killed - 1).to_string()).unwrap();
        self.count("PIDs rewound");
    }
}

/// The index of one of those who may be hit.
fn choose(all: &[Process], target: Target, choice: u64) -> Option<usize> {
    let those: Vec<usize> = (0..all.len()).filter(|at| all[*at].target == target).collect();
    let count = u64::try_from(those.len()).unwrap();
    Some(those[usize::try_from(choice.checked_rem(count)?).unwrap()])
}
