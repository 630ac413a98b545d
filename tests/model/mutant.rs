//! Ways to break the protocol on purpose. A model that does not notice proves nothing.

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static [Mutant]);

impl Broken {
    pub const NOTHING: Self = Self(&[]);

    pub fn by(self, mutant: Mutant) -> bool {
        self.0.contains(&mutant)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The gate is opened before the record is in place.
    OpenTheGateFirst,
    /// The gate of another attempt is opened before the record is in place.
    OpenTheSecondGateFirst,
    /// A run that tries again holds its machine only as long as its job.
    HoldByTheJob,
    /// A lock file that was replaced is not noticed.
    IgnoreTheInode,
    /// Taut lifelines that no record names are not heeded.
    IgnoreLifelines,
    /// The gate is opened when the first of several records is in place.
    OpenAfterOneRecord,
    /// The first of several records stays in place when another cannot be put.
    KeepTheFirstRecord,
    /// Every other process takes the locks of its machines in reverse.
    ClaimOutOfOrder,
    /// Locks are held while another is waited for.
    WaitWithLocks,
    /// Who waits for several machines takes a ticket of the first only.
    EnqueueOnce,
    /// A release removes whomever the record names.
    ReleaseAnybody,
    /// A clear by force removes whomever the record names.
    IgnoreTheToken,
    /// Nobody before us in the queue is heeded.
    JumpTheQueue,
    /// Whoever holds the machine counts as sharing it.
    TakeWritersForReaders,
    /// A run whose place was taken goes on as if it had it.
    RunAllTheSame,
    /// A slack lifeline counts as proof before the job can have died with its supervisor.
    ShortGrace,
    /// A record that changed is not noticed, neither when it is read again nor right before it is
    /// replaced.
    IgnoreChanges,
    /// A release that is due counts as never coming at once, and a live job as gone.
    CallTheLivingDead,
}
