//! Ways to break the protocol on purpose. A model that does not notice proves nothing.

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Nothing.
    None,
    /// The gate is opened before the record is in place.
    OpenTheGateFirst,
    /// A lock file that was replaced is not noticed.
    IgnoreTheInode,
    /// Taut lifelines that no record names are not heeded.
    IgnoreLifelines,
    /// A release removes whomever the record names.
    ReleaseAnybody,
    /// A record that changed is not noticed, neither when it is read again nor right before it is
    /// replaced.
    IgnoreChanges,
    /// A release that is due counts as never coming at once, and a live job as gone.
    CallTheLivingDead,
}
