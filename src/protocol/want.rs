//! Who may have a machine beside whom.
//!
//! Exclusive is the default: nobody. Shared holders go beside shared ones, and where everybody
//! agreed to a number of slots so many go beside each other. A run that is part of a holder's job
//! (nested) goes beside that one always: it holds the machine for it.

use std::collections::BTreeSet;

use crate::identity::verdict::{Subject, Verdict};
use crate::machine::record::{Holder, MAX_HOLDERS, Mode};

/// How a newcomer wants a machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Want {
    /// How it shares.
    pub mode: Mode,
    /// How many holders it agrees to, itself included.
    pub slots: u32,
    /// The runs of this machine that it is part of, by token, as `JOBGUARD_HOLDS` says it; the
    /// innermost last. Only those that hold the machine count.
    pub holds: Vec<u64>,
}

/// Somebody whom a record names, and what that one is.
pub type Standing<'a> = (&'a Subject, &'a Verdict);

impl Default for Want {
    /// Alone, and part of nothing.
    fn default() -> Self {
        Self { mode: Mode::Exclusive, slots: 1, holds: Vec::new() }
    }
}

impl Want {
    /// Whether `standing` is a holder that this one is part of. One whose job is over is not: what
    /// is left of it is a stranger.
    pub fn is_part_of(&self, (subject, verdict): Standing<'_>) -> bool {
        matches!(verdict, Verdict::Live | Verdict::Unverifiable(_))
            && matches!(subject, Subject::Holder(_) | Subject::Unrecorded(_))
            && self.holds.contains(&subject.token())
    }

    /// Whether `standing` may be a holder that this one is part of: nobody can tell who it is.
    pub fn may_be_part_of(&self, (subject, _): Standing<'_>) -> bool {
        !self.holds.is_empty()
            && matches!(subject, Subject::Torn(_) | Subject::Unreadable(_) | Subject::Newer(_))
    }

    /// The innermost holder that this one is part of, as the record names them.
    pub fn within(&self, holding: &[Standing<'_>]) -> Option<u64> {
        let is_recorded = |held: &Standing<'_>| matches!(held.0, Subject::Holder(_));
        let own = |token: &u64| {
            let mut recorded = holding.iter().filter(|held| is_recorded(held));
            recorded.any(|held| held.0.token() == *token && self.is_part_of(*held))
        };
        self.holds.iter().rev().copied().find(own)
    }

    /// Whether the machine can be had beside these, who hold it.
    pub fn fits(&self, holding: &[Standing<'_>]) -> bool {
        let mut others = Vec::new();
        for held in holding.iter().filter(|held| !self.is_part_of(**held)) {
            match held.0 {
                Subject::Holder(holder) => others.push(&**holder),
                _ => return false, // whatever that is, it agreed to nothing
            }
        }
        let agreed = others.iter().map(|other| other.slots).fold(self.slots, u32::min);
        let tokens: BTreeSet<u64> = others.iter().map(|other| other.token).collect();
        // Who is nested in another of them has no slot of its own.
        let nested = |other: &Holder| other.parent.is_some_and(|parent| tokens.contains(&parent));
        let taken = others.iter().filter(|other| !nested(other)).count();
        let shares = |other: &&Holder| other.mode == self.mode;
        let has_a_slot = others.is_empty()
            || others.iter().all(shares) && u32::try_from(taken).is_ok_and(|taken| taken < agreed);
        has_a_slot && holding.len() < MAX_HOLDERS
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::protocol::fixtures::holder;

    const E: Mode = Mode::Exclusive;
    const S: Mode = Mode::Shared;

    /// A holder: token, mode, slots, parent.
    type Held = (u64, Mode, u32, Option<u64>);

    #[rstest]
    #[case::free(&[], (E, 1), &[], true)]
    #[case::exclusive(&[(1, E, 1, None)], (E, 1), &[], false)]
    #[case::readers(&[(1, S, 256, None), (2, S, 256, None)], (S, 256), &[], true)]
    #[case::reader_beside_writer(&[(1, E, 1, None)], (S, 256), &[], false)]
    #[case::writer_beside_reader(&[(1, S, 256, None)], (E, 1), &[], false)]
    #[case::few_readers(&[(1, S, 256, None), (2, S, 2, None)], (S, 256), &[], false)]
    #[case::slot(&[(1, E, 2, None)], (E, 2), &[], true)]
    #[case::no_slot(&[(1, E, 2, None), (2, E, 2, None)], (E, 2), &[], false)]
    #[case::newcomer_agrees_to_less(&[(1, E, 3, None), (2, E, 3, None)], (E, 2), &[], false)]
    #[case::holder_agreed_to_less(&[(1, E, 3, None), (2, E, 2, None)], (E, 3), &[], false)]
    #[case::slots_are_no_readers(&[(1, S, 256, None)], (E, 5), &[], false)]
    #[case::own(&[(1, E, 1, None)], (E, 1), &[1], true)]
    #[case::old_token(&[(2, E, 1, None)], (E, 1), &[1], false)]
    #[case::sibling(&[(1, E, 1, None), (2, E, 1, Some(1))], (E, 1), &[1], false)]
    #[case::deeper(&[(1, E, 1, None), (2, E, 1, Some(1))], (E, 1), &[1, 2], true)]
    #[case::upgrade(&[(1, S, 256, None), (2, S, 256, None)], (E, 1), &[1], false)]
    #[case::nested_reader(&[(1, S, 256, None), (2, S, 256, None)], (S, 256), &[1], true)]
    #[case::nested_need_no_slot(&[(1, E, 2, None), (2, E, 2, Some(1))], (E, 2), &[], true)]
    #[case::left_by_its_outer(&[(2, E, 2, Some(1)), (3, E, 2, Some(1))], (E, 2), &[], false)]
    fn table(
        #[case] held: &[Held],
        #[case] (mode, slots): (Mode, u32),
        #[case] holds: &[u64],
        #[case] fits: bool,
    ) {
        let subjects: Vec<Subject> = held
            .iter()
            .map(|(token, mode, slots, parent)| {
                let agreed =
                    Holder { mode: *mode, slots: *slots, parent: *parent, ..holder(*token) };
                Subject::Holder(Box::new(agreed))
            })
            .collect();
        let holding: Vec<Standing<'_>> = subjects.iter().map(|s| (s, &Verdict::Live)).collect();
        let want = Want { mode, slots, holds: holds.to_vec() };
        assert_eq!(want.fits(&holding), fits);
        assert_eq!(
            want.within(&holding).is_some(),
            holds.iter().any(|t| held.iter().any(|h| h.0 == *t))
        );
    }

    #[test]
    fn nobody_goes_beside_what_agreed_to_nothing() {
        let want = Want { mode: S, slots: 256, holds: vec![0] };
        for subject in [Subject::Newer(2), Subject::Unrecorded(5), Subject::Torn(String::new())] {
            assert!(!want.fits(&[(&subject, &Verdict::Live)]));
        }
        let full = Subject::Holder(Box::new(Holder { mode: S, slots: 999, ..holder(1) }));
        let want = Want { slots: 999, ..want };
        assert!(want.fits(&vec![(&full, &Verdict::Live); MAX_HOLDERS - 1]));
        assert!(!want.fits(&vec![(&full, &Verdict::Live); MAX_HOLDERS]));
    }

    #[test]
    fn who_lost_its_record_is_not_in_the_way_of_its_parts() {
        let lost = Subject::Unrecorded(7);
        let want = Want { holds: vec![7], ..Want::default() };
        assert!(want.fits(&[(&lost, &Verdict::Live)]));
        assert_eq!(want.within(&[(&lost, &Verdict::Live)]), None, "as a claim sees it");
        assert!(!Want::default().fits(&[(&lost, &Verdict::Live)]));
    }

    #[test]
    fn a_job_that_is_over_is_nobodys_part() {
        let outer = Subject::Holder(Box::new(holder(1)));
        let want = Want { holds: vec![1], ..Want::default() };
        assert!(!want.fits(&[(&outer, &Verdict::Finishing)]));
        assert_eq!(want.within(&[(&outer, &Verdict::Finishing)]), None);
    }
}
