//! Cycles: our job's job waits for what we wait for.
//!
//! A run that is part of a job (nested) and waits for another machine makes that job wait, too. If
//! who holds the other machine waits, in the same way, for what our job holds, nobody will ever go on.
//! Every waiter looks after its ticket is there to be seen, so the last to close a cycle sees it; two
//! that close it at the same moment may both.

use std::collections::{BTreeSet, VecDeque};

use super::wait::Outlook;
use super::{Run, Target};
use crate::error::Error;
use crate::identity::observe::{Observed, Patience};
use crate::identity::verdict::{Subject, Verdict};
use crate::look::{Sight, look};
use crate::machine::holds::Holds;
use crate::machine::name::MachineName;
use crate::machine::state_dir::Missing;
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
        let mut seen: BTreeSet<Hold> = own.all().iter().cloned().collect();
        // Each with those whose waiters led to it, the first of them a machine that our job holds.
        let mut ways: VecDeque<Vec<Hold>> = own.all().iter().map(|h| vec![h.clone()]).collect();
        while let Some(way) = ways.pop_front() {
            let Some((machine, token)) = way.last() else { continue };
            for holds in self.waits_for(machine, *token)? {
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

    /// What those hold who cannot have `machine` as long as its run `token` has it. One that is over,
    /// or not in the record, keeps nobody waiting.
    fn waits_for(&self, machine: &MachineName, token: u64) -> Result<Vec<Holds>, Error> {
        let Some(dir) = self.state.machine(machine, Missing::Accept)? else {
            return Ok(Vec::new());
        };
        let sight = look(&dir, self.observer, &mut Patience::default())?;
        let Some(holder) = can_wait(&sight, token) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut blocked = None;
        for id in dir.all_waiters()? {
            let Some(ticket) = dir.ticket(id) else { continue };
            // Who waits behind such a one waits for the same.
            if blocked == Some(id.within) || !ticket.want(machine).fits(&[holder.standing()]) {
                blocked = Some(id.within);
                found.push(ticket.holds);
            }
        }
        Ok(found)
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
