//! How a machine looks to one who wants it: who holds it, who is before us, and whether it is our turn.

use std::time::{Duration, Instant};

use super::Target;
use crate::error::Error;
use crate::identity::observe::Observed;
use crate::identity::verdict::{GRACE, Observer, Subject};
use crate::look::{Sight, look};
use crate::machine::name::MachineName;
use crate::machine::store::queue::{NEAR, Stretch, Waiters};
use crate::machine::ticket::TicketId;
use crate::protocol::want::Standing;
use crate::report::output;
use crate::summary::foremost;

/// A machine lock is kept for less.
const SHORTLY: Duration = Duration::from_millis(1);

/// How a machine looks to one who wants it.
pub(super) struct Outlook {
    pub(super) sight: Sight,
    /// Those before us. Where it cannot be had anyway, the nearest of them.
    pub(super) waiters: Waiters,
    /// For how long all those before us must let it go by from now on; `None`: it cannot be had yet.
    pub(super) due: Option<Duration>,
    /// We wait in a queue that is not ours any more.
    pub(super) is_elsewhere: bool,
    /// Somebody is there whom no record names, and was not before: probably a claim under way.
    pub(super) is_new: bool,
}

impl Outlook {
    /// How many wait before us; at least so many where it cannot be had anyway.
    pub(super) fn before(&self) -> usize {
        self.waiters.waiting.len()
    }

    /// How many wait, whatever for: `--max-pending` counts them.
    pub(super) fn pending(&self) -> usize {
        self.waiters.own + self.waiters.away.len()
    }

    /// Whether we watch those who hold it: we may be the next of our queue.
    pub(super) fn is_near(&self) -> bool {
        self.waiters.own < NEAR
    }

    /// Whether nobody is in the way but those who wait before us, if anybody.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Whether it can be had now.
    pub(super) fn is_ready(&self) -> bool {
        self.due.is_some_and(|due| due.is_zero())
    }
}

impl Target {
    /// Looks at the machine.
    pub(super) fn look(
        &mut self,
        observer: &Observer,
        machines: &[MachineName],
        counts: bool,
    ) -> Result<Outlook, Error> {
        let mut outlook = self.look_once(observer, machines, counts)?;
        // A claim that was under way then may have left the queue since: who would tell us that its
        // lifeline has become that of one whom the machine can be shared with?
        while !outlook.sight.is_settled()
            && self.dir.read()?.reading.record.revision != outlook.sight.record.revision
        {
            outlook = self.look_once(observer, machines, counts)?;
        }
        // Nor is one told who never was in our queue.
        let unrecorded = outlook.sight.holding().filter_map(|held| match held.subject {
            Subject::Unrecorded(token) => Some(token),
            _ => None,
        });
        let unrecorded = unrecorded.max();
        outlook.is_new = unrecorded > self.unrecorded;
        self.unrecorded = self.unrecorded.max(unrecorded);
        Ok(outlook)
    }

    fn look_once(
        &mut self,
        observer: &Observer,
        machines: &[MachineName],
        counts: bool,
    ) -> Result<Outlook, Error> {
        let sight = look(&self.dir, observer, &mut self.patience)?;
        let holding: Vec<Standing<'_>> = sight.holding().map(Observed::standing).collect();
        let fits = self.want.fits(&holding);
        let holders: Vec<u64> = holding.iter().map(|held| held.0.token()).collect();
        let stretch = Stretch {
            within: self.want.within(&holding),
            insiders: Some(&holders),
            before: None,
            at_most: if fits || counts { usize::MAX } else { NEAR },
            machines,
        };
        // In another queue than the one that is ours by now nobody is before us.
        let ours = self.place.as_ref().filter(|place| place.id.within == stretch.within);
        let before = ours.map(|place| place.id.number);
        let waiters = self.dir.waiters(Stretch { before, ..stretch })?;
        let passable = fits && self.was_let_go_by(&holding, &waiters.waiting);
        let due = passable.then(|| {
            let since = *self.free_since.get_or_insert_with(Instant::now);
            // Who is stopped, or frozen, is not waited for longer than it takes to wake up.
            let count = u32::try_from(waiters.waiting.len()).unwrap_or(u32::MAX);
            GRACE.saturating_mul(count).saturating_sub(since.elapsed())
        });
        if due.is_none() {
            self.free_since = None;
        }
        let is_elsewhere = self.place.is_some() && ours.is_none();
        Ok(Outlook { sight, waiters, due, is_elsewhere, is_new: false })
    }

    /// Says in the queue whether we wait for another machine than this. Until that is said those behind
    /// sleep: when to say it again, if it was not.
    pub(super) fn set_away(&mut self, away: bool) -> Option<Duration> {
        let place = self.place.as_mut()?;
        match self.dir.set_away(place, away) {
            Ok(true) => {
                self.unsaid = 0;
                return None;
            }
            Ok(false) => {}
            Err(error) if self.unsaid == 0 => output::message(error),
            Err(_) => {} // said once
        }
        self.unsaid += 1;
        Some(GRACE.min(SHORTLY * (1 << self.unsaid.min(16))))
    }

    /// Whether all of those before us could have the machine as it is now. What a ticket does not
    /// say is not waited for.
    fn was_let_go_by(&self, holding: &[Standing<'_>], waiting: &[TicketId]) -> bool {
        let fits = |id: &TicketId| {
            let ticket = self.dir.ticket(*id);
            ticket.is_none_or(|ticket| ticket.want(self.dir.name()).fits(holding))
        };
        holding.is_empty() || waiting.iter().all(fits)
    }

    /// Who is in our way, most of all.
    pub(super) fn in_the_way<'a>(&self, sight: &'a Sight) -> Option<&'a Observed> {
        foremost(sight.holding().filter(|held| !self.want.is_part_of(held.standing())))
    }
}
