//! Cycles: our job's job waits for what we wait for.
//!
//! A run that is part of a job (nested) and waits makes that job wait, too. A job counts as stuck when
//! such a run of it is blocked, and a run as blocked when it would not fit if only those holders stayed
//! whose jobs are stuck; all others may end, and make room. That is as many as can be stuck at the same
//! time, found by taking away who is not until nothing changes. Whoever is blocked in there only with his
//! own ticket has closed the cycle, and goes.
//!
//! Every waiter looks after its ticket is there to be seen, so the last to close a cycle sees it.
//!
//! Nobody sees all machines at one moment: a run may seem to hold what it has just let go. But a cycle
//! stays, so it must be seen for a while; of two that close it at the same moment the younger one's while is
//! shorter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Run;
use super::outlook::Outlook;
use crate::error::Error;
use crate::identity::observe::{Observed, Patience};
use crate::identity::verdict::{GRACE, Subject, Verdict};
use crate::look::look;
use crate::machine::name::MachineName;
use crate::machine::state_dir::Missing;
use crate::machine::store::queue::Stretch;
use crate::machine::ticket::{Ticket, TicketId};
use crate::protocol::want::Standing;
use crate::report::human;

/// A run of a machine.
type Hold = (MachineName, u64);

/// A cycle that our wait seems to close.
pub(super) struct Cycle {
    why: String,
    /// For how long it must be seen.
    proof: Duration,
}

/// A machine on which somebody waits who is part of a job.
struct Site {
    /// Who holds it, but for those whose jobs are over: their release is due.
    holders: Vec<Subject>,
    /// Who waits, in order, those inside the holders' jobs first.
    waiting: Vec<(TicketId, Ticket)>,
    /// Who of them is away from it for another machine.
    away: BTreeSet<TicketId>,
}

impl Run<'_> {
    /// Says whom our wait makes wait for himself, if anybody, once that is proven; `suspected`: when that
    /// would be, by the look before.
    pub(super) fn proven_cycle(
        &mut self,
        outlooks: &[Outlook],
        suspected: Option<Instant>,
    ) -> Result<Option<String>, Error> {
        let Some(cycle) = self.cycle(outlooks)? else { return Ok(None) };
        let now = Instant::now();
        let proven = suspected.map_or(now + cycle.proof, |proven| proven.min(now + cycle.proof));
        self.closed = Some(proven);
        Ok((now >= proven).then_some(cycle.why))
    }

    fn cycle(&self, outlooks: &[Outlook]) -> Result<Option<Cycle>, Error> {
        let Some(innermost) = self.job.holds().all().last() else { return Ok(None) };
        let sites = self.sites()?;
        // All that our job waits for: of two runs that it has started each would else take the other for
        // the one that closes the cycle.
        let is_ours = |ticket: &Ticket| ticket.holds.all().last() == Some(innermost);
        let stuck = all_stuck(&sites, |_| true);
        let others = all_stuck(&sites, |ticket| !is_ours(ticket));
        for (target, outlook) in self.targets.iter().zip(outlooks) {
            let Some(place) = &target.place else { continue };
            let Some(site) = sites.get(target.name()) else { continue };
            let is_blocked = |stuck| site.is_blocked(target.name(), place.id, stuck, &|_| true);
            if outlook.is_ready() || !is_blocked(&stuck) || is_blocked(&others) {
                continue;
            }
            let Some(holder) = target.in_the_way(&outlook.sight) else { continue };
            let held = human::held_by(target.name(), &holder.subject, &holder.judgement);
            let member = |(machine, token): &Hold| format!("{machine} (token {token})");
            let members: Vec<String> = stuck.difference(&others).map(member).collect();
            let why = format!(
                "{held}: waiting for it would close a cycle: the jobs of {} would wait for each other",
                members.join(", ")
            );
            let youngest = stuck.difference(&others).max_by_key(|(_, token)| *token);
            let is_ours = youngest.is_some_and(|hold| self.job.holds().all().contains(hold));
            let proof = if is_ours { GRACE } else { GRACE * 2 };
            return Ok(Some(Cycle { why, proof }));
        }
        Ok(None)
    }

    /// The machines on which somebody waits who is part of a job.
    fn sites(&self) -> Result<BTreeMap<MachineName, Site>, Error> {
        let mut sites = BTreeMap::new();
        for machine in self.state.machines()? {
            // One that cannot be looked at keeps nobody else from looking.
            let Ok(Some(dir)) = self.state.machine(&machine, Missing::Accept) else { continue };
            let Ok((mut ids, away)) = dir.all_waiters() else { continue };
            ids.sort_by_key(|id| (id.within.is_none(), id.within, id.number));
            let ticket = |id| Some((id, dir.ticket(id)?));
            let waiting: Vec<_> = ids.into_iter().filter_map(ticket).collect();
            if waiting.iter().any(|(_, ticket)| !ticket.holds.all().is_empty()) {
                let looked = look(&dir, self.observer, &mut Patience::default());
                let Ok(sight) = looked else { continue };
                let stays =
                    |seen: &Observed| seen.holds() && seen.judgement.verdict != Verdict::Finishing;
                let staying = sight.observed.into_iter().filter(stays);
                let holders = staying.map(|seen| seen.subject).collect();
                sites.insert(machine, Site { holders, waiting, away });
            }
        }
        Ok(sites)
    }
}

/// The runs whose jobs are stuck, as far as those tickets go that count.
fn all_stuck(
    sites: &BTreeMap<MachineName, Site>,
    counts: impl Fn(&Ticket) -> bool,
) -> BTreeSet<Hold> {
    let waiters = || {
        let all = sites.iter().flat_map(|(m, site)| site.waiting.iter().map(move |w| (m, site, w)));
        all.filter(|(_, _, (_, ticket))| counts(ticket))
    };
    let mut stuck: BTreeSet<Hold> =
        waiters().flat_map(|(.., (_, ticket))| ticket.holds.all().iter().cloned()).collect();
    loop {
        let blocked = waiters()
            .filter(|(machine, site, (id, _))| site.is_blocked(machine, *id, &stuck, &counts));
        let left: BTreeSet<Hold> =
            blocked.flat_map(|(.., (_, ticket))| ticket.holds.all().iter().cloned()).collect();
        if left == stuck {
            return stuck;
        }
        stuck = left;
    }
}

impl Site {
    /// Whether a waiter, or one before it, would not fit if only the stuck holders stayed.
    fn is_blocked(
        &self,
        machine: &MachineName,
        waiter: TicketId,
        stuck: &BTreeSet<Hold>,
        counts: &impl Fn(&Ticket) -> bool,
    ) -> bool {
        let stays = |holder: &&Subject| stuck.contains(&(machine.clone(), holder.token()));
        let holding: Vec<Standing<'_>> =
            self.holders.iter().filter(stays).map(|holder| (holder, &Verdict::Live)).collect();
        let itself = self.waiting.iter().find(|(id, _)| *id == waiter);
        let machines = itself.map_or(&[][..], |(_, ticket)| &ticket.machines);
        let alone = [machine.clone()];
        let machines = if machines.is_empty() { &alone } else { machines };
        let insiders: Vec<u64> = self.holders.iter().map(Subject::token).collect();
        let (within, before) = (waiter.within, Some(waiter.number));
        let first =
            Stretch { within, insiders: Some(&insiders), before, at_most: usize::MAX, machines };
        self.waiting.iter().any(|(id, ticket)| {
            let is_away = || self.away.contains(id) && ticket.needs_more(machines);
            let counts = || first.holds(*id) && counts(ticket) && !is_away();
            (*id == waiter || counts()) && !ticket.want(machine).fits(&holding)
        })
    }
}
