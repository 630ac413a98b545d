//! Cycles: our job's job waits for what we wait for.
//!
//! A run that is part of a job (nested) and waits for another machine makes that job wait, too. If
//! who holds the other machine waits, in the same way, for what our job holds, nobody will ever go on.
//! Every waiter looks after its ticket is there to be seen, so the last to close a cycle sees it; two
//! that close it at the same moment may both.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::wait::Outlook;
use super::{Run, Target};
use crate::error::Error;
use crate::identity::observe::{Observed, Patience};
use crate::identity::verdict::{Subject, Verdict};
use crate::look::{Sight, look};
use crate::machine::holds::Holds;
use crate::machine::name::MachineName;
use crate::machine::state_dir::Missing;
use crate::machine::ticket::{Ticket, TicketId};
use crate::protocol::want::Standing;
use crate::report::human;

/// A run of a machine.
type Hold = (MachineName, u64);

impl Run<'_> {
    /// Says whom our wait would make wait for himself, if anybody.
    pub(super) fn cycle(&self, outlooks: &[Outlook]) -> Result<Option<String>, Error> {
        let own = self.job.holds();
        if own.is_empty() {
            return Ok(None);
        }
        let mut crowd = self.crowd()?;
        crowd.let_go();
        if !crowd.waiters.iter().any(|waiter| self.is_ours(waiter)) {
            return Ok(None);
        }
        let mut seen: BTreeSet<Hold> = own.all().iter().cloned().collect();
        // Each with those whose waiters led to it, the first of them a machine that our job holds.
        let mut ways: VecDeque<Vec<Hold>> = own.all().iter().map(|h| vec![h.clone()]).collect();
        while let Some(way) = ways.pop_front() {
            let Some(last) = way.last() else { continue };
            for holds in crowd.waits_for(last) {
                for hold in holds.all() {
                    if let Some((target, holder)) = self.awaited(hold, outlooks) {
                        return Ok(Some(describe(target, holder, &way)));
                    }
                    if seen.insert(hold.clone()) {
                        ways.push_back(way.iter().chain([hold]).cloned().collect());
                    }
                }
            }
        }
        Ok(None)
    }

    /// The holder whom we wait for, if this is one.
    fn awaited<'a>(
        &'a self,
        (machine, token): &Hold,
        outlooks: &'a [Outlook],
    ) -> Option<(&'a Target, &'a Observed)> {
        let mut waits = self.targets.iter().zip(outlooks).filter(|(_, o)| !o.is_ready());
        let (target, outlook) = waits.find(|(target, _)| target.name() == machine)?;
        let holder = can_wait(&outlook.sight, *token)?;
        (!target.want.is_part_of(holder.standing())).then_some((target, holder))
    }

    fn is_ours(&self, waiter: &Waiter) -> bool {
        let place = |target: &Target| target.place.as_ref().map(|place| place.id);
        self.targets.iter().any(|t| *t.name() == waiter.machine && place(t) == Some(waiter.id))
    }

    /// Everybody on the machines that we want, that our job holds, and that they hold who wait there,
    /// and so on.
    fn crowd(&self) -> Result<Crowd, Error> {
        let mut crowd = Crowd::default();
        let held = self.job.holds().all().iter().map(|(machine, _)| machine);
        let mut todo: Vec<MachineName> =
            self.targets.iter().map(Target::name).chain(held).cloned().collect();
        while let Some(machine) = todo.pop() {
            if crowd.sights.contains_key(&machine) {
                continue;
            }
            let Some(dir) = self.state.machine(&machine, Missing::Accept)? else { continue };
            let sight = look(&dir, self.observer, &mut Patience::default())?.without_handles();
            for id in dir.all_waiters()? {
                let Some(ticket) = dir.ticket(id) else { continue };
                todo.extend(ticket.holds.all().iter().map(|(held, _)| held.clone()));
                crowd.waiters.push(Waiter { machine: machine.clone(), id, ticket });
            }
            crowd.sights.insert(machine, sight);
        }
        Ok(crowd)
    }
}

/// Some machines, and those who wait for them, in order within each queue.
#[derive(Default)]
struct Crowd {
    sights: BTreeMap<MachineName, Sight>,
    waiters: Vec<Waiter>,
}

struct Waiter {
    machine: MachineName,
    id: TicketId,
    ticket: Ticket,
}

impl Crowd {
    /// Leaves those who will never have their turn, if every job ends that does not wait. A job waits
    /// when somebody does who is part of it; who holds one of several slots keeps nobody from the
    /// others.
    fn let_go(&mut self) {
        loop {
            let stays = self.stuck();
            if stays.len() == self.waiters.len() {
                return;
            }
            let mut index = 0..;
            self.waiters.retain(|_| index.next().is_some_and(|index| stays.contains(&index)));
        }
    }

    /// Those, by their index, for whom there is no room beside the jobs that wait.
    fn stuck(&self) -> BTreeSet<usize> {
        let waiting: BTreeSet<&Hold> =
            self.waiters.iter().flat_map(|waiter| waiter.ticket.holds.all()).collect();
        let mut stuck = BTreeSet::new();
        let mut blocked = None;
        for (index, Waiter { machine, id, ticket }) in self.waiters.iter().enumerate() {
            let Some(sight) = self.sights.get(machine) else { continue };
            let stay = waiting.iter().filter(|(held, _)| held == machine);
            let stay: Vec<Standing<'_>> = stay
                .filter_map(|(_, token)| can_wait(sight, *token))
                .map(Observed::standing)
                .collect();
            // Who waits behind such a one waits for the same.
            let queue = Some((machine, id.within));
            if blocked == queue || !ticket.want(machine).fits(&stay) {
                blocked = queue;
                stuck.insert(index);
            }
        }
        stuck
    }

    /// What those hold who cannot have the machine of this run. One that is over, or not in the record,
    /// keeps nobody waiting.
    fn waits_for(&self, (machine, token): &Hold) -> impl Iterator<Item = &Holds> {
        let holds = self.sights.get(machine).is_some_and(|s| can_wait(s, *token).is_some());
        let there = self.waiters.iter().filter(move |waiter| holds && waiter.machine == *machine);
        there.map(|waiter| &waiter.ticket.holds)
    }
}

/// The holder of this token, if its job may be waiting for something. That of one whose release is due
/// is over: whoever was part of it keeps nobody from anything.
fn can_wait(sight: &Sight, token: u64) -> Option<&Observed> {
    let waits = |held: &&Observed| {
        held.subject.token() == token
            && matches!(held.subject, Subject::Holder(_))
            && matches!(held.judgement.verdict, Verdict::Live | Verdict::Unverifiable(_))
    };
    sight.holding().find(waits)
}

fn describe(target: &Target, holder: &Observed, way: &[Hold]) -> String {
    let held = human::held_by(target.name(), &holder.subject, &holder.judgement);
    let mut text = format!("{held}: waiting for it would close a cycle: its job waits for ");
    for (machine, token) in way.iter().skip(1).rev() {
        text.push_str(&format!("{machine} (token {token}), whose job waits for "));
    }
    let (machine, token) = &way[0];
    text.push_str(&format!("{machine} (token {token}), which this command is part of"));
    text
}
