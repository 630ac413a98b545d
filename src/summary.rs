//! What a machine is, all its holders taken together.

use crate::identity::observe::Observed;
use crate::identity::verdict::Verdict;
use crate::look::Sight;

/// A machine in one word, and the holder that decides it.
#[derive(Debug)]
pub enum Summary<'a> {
    /// Nobody is recorded.
    Free,
    /// The most decisive holder: a live one before an unverifiable one, before one that finishes,
    /// before a phantom.
    Held(&'a Observed),
}

/// Sums a machine up.
pub fn summarize(sight: &Sight) -> Summary<'_> {
    foremost(sight.observed.iter()).map_or(Summary::Free, Summary::Held)
}

/// The most decisive of these.
pub fn foremost<'a>(observed: impl Iterator<Item = &'a Observed>) -> Option<&'a Observed> {
    let rank = |observed: &&Observed| match observed.judgement.verdict {
        Verdict::Live => 0,
        Verdict::Unverifiable(_) => 1,
        Verdict::Finishing => 2,
        Verdict::Phantom(_) => 3,
    };
    observed.min_by_key(rank)
}

impl Summary<'_> {
    /// The exit status of `status`: the LSB codes of init scripts. 0 live or finishing, 1 phantom,
    /// 3 free, 4 unverifiable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Free => 3,
            Self::Held(observed) => match observed.judgement.verdict {
                Verdict::Live | Verdict::Finishing => 0,
                Verdict::Phantom(_) => 1,
                Verdict::Unverifiable(_) => 4,
            },
        }
    }
}
