//! What we do when the job stops or continues: a table, without I/O.
//!
//! A shell sees us and not the job, so what it would have seen of the job it must see of us.

use super::policy::Group;

/// What became of a job that did not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// This signal stopped it.
    Stopped(i32),
    /// It goes on.
    Continued,
}

/// Who owns the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// We have none.
    Nobody,
    /// Our process group.
    Us,
    /// The job's, or that of a shell whose background we are in.
    Others,
}

/// A job that was stopped, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// By which signal.
    pub signal: i32,
    /// Its process group.
    pub group: Group,
    /// Who owns the terminal.
    pub owner: Owner,
    /// Somebody above us does job control: our group is not orphaned, as POSIX calls it.
    pub has_shell: bool,
}

/// What to do about a stopped job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It stays stopped, and we go on.
    Nothing,
    /// Stop as well.
    Stop,
    /// Stop our whole group: the terminal told only the job's.
    StopGroup,
    /// Continue it; before that give it the terminal, if that is ours.
    Resume,
}

/// Decides about a stop.
pub fn follow(stop: Stop) -> Follow {
    let Stop { signal, group, owner, has_shell } = stop;
    match group {
        // Whoever stopped the job of a session without shell will continue the job, and not us.
        Group::Shared if !has_shell => Follow::Nothing,
        Group::Shared => Follow::Stop,
        Group::Own if owner == Owner::Nobody => Follow::Nothing,
        // Were it alone, it would be in the foreground: our group is.
        Group::Own if owner == Owner::Us && matches!(signal, libc::SIGTTIN | libc::SIGTTOU) => {
            Follow::Resume
        }
        // Alone it would be in an orphaned group, which no key stops.
        Group::Own if !has_shell && signal == libc::SIGTSTP => Follow::Resume,
        Group::Own if !has_shell => Follow::Nothing,
        Group::Own if signal == libc::SIGSTOP => Follow::Stop,
        Group::Own => Follow::StopGroup,
    }
}

#[cfg(test)]
mod tests {
    use libc::{SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
    use rstest::rstest;

    use super::*;

    #[rstest]
    // With a shell above us.
    #[case(Group::Shared, Owner::Us, true, [Follow::Stop; 4])]
    #[case(Group::Shared, Owner::Others, true, [Follow::Stop; 4])]
    #[case(Group::Shared, Owner::Nobody, true, [Follow::Stop; 4])]
    #[case(Group::Own, Owner::Us, true, [Follow::Stop, Follow::StopGroup, Follow::Resume, Follow::Resume])]
    #[case(Group::Own, Owner::Others, true, [Follow::Stop, Follow::StopGroup, Follow::StopGroup, Follow::StopGroup])]
    // Nobody who stops us would be waited for by anybody.
    #[case(Group::Own, Owner::Nobody, true, [Follow::Nothing; 4])]
    #[case(Group::Own, Owner::Nobody, false, [Follow::Nothing; 4])]
    #[case(Group::Shared, Owner::Us, false, [Follow::Nothing; 4])]
    #[case(Group::Shared, Owner::Others, false, [Follow::Nothing; 4])]
    #[case(Group::Shared, Owner::Nobody, false, [Follow::Nothing; 4])]
    #[case(Group::Own, Owner::Us, false, [Follow::Nothing, Follow::Resume, Follow::Resume, Follow::Resume])]
    #[case(Group::Own, Owner::Others, false, [Follow::Nothing, Follow::Resume, Follow::Nothing, Follow::Nothing])]
    fn stops(
        #[case] group: Group,
        #[case] owner: Owner,
        #[case] has_shell: bool,
        #[case] expected: [Follow; 4],
    ) {
        let follow = |signal| follow(Stop { signal, group, owner, has_shell });
        assert_eq!([SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU].map(follow), expected);
    }
}
