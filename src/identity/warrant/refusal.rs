//! Why a recorded process is not signalled.

use std::fmt;

/// Why a recorded process is not signalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The record does not name it so that it could be told from another.
    NoProcess,
    /// It runs where its PID means somebody else.
    Elsewhere,
    /// It has ended.
    Over,
    /// Its PID belongs to another process by now, or always did.
    Another,
    /// The kernel would not tell.
    Unclear(String),
    /// Its user is another one than was recorded.
    User {
        /// Who is said to have started it.
        recorded: u32,
        /// Its user IDs.
        found: Vec<u32>,
    },
    /// The lifeline that was recorded is not there.
    Lifeline,
    /// The lifeline belongs to another user than was recorded.
    Owner {
        /// Who is said to have made it.
        recorded: u32,
        /// Who has.
        found: u32,
    },
    /// It is no process of this run.
    Stranger,
    /// It is another user's, whom the kernel keeps from us.
    Forbidden {
        /// Whose it is.
        uid: u32,
    },
    /// Without pidfds, or without `/proc`, it could be another process when the signal arrives.
    NoHandle,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProcess => f.write_str("its record does not say which process it is"),
            Self::Elsewhere => {
                f.write_str("it runs under another boot, or in another PID namespace")
            }
            Self::Over => f.write_str("it is over"),
            Self::Another => f.write_str("its PID belongs to another process"),
            Self::Unclear(why) => f.write_str(why),
            Self::User { recorded, found } => {
                let found: Vec<String> = found.iter().map(u32::to_string).collect();
                let found = if found.is_empty() { "unknown".into() } else { found.join(", ") };
                write!(f, "its record says uid {recorded}, and the process's are {found}")
            }
            Self::Lifeline => f.write_str("the lifeline that its record names is not there"),
            Self::Owner { recorded, found } => {
                write!(f, "its record says uid {recorded}, and its lifeline is that of uid {found}")
            }
            Self::Stranger => f.write_str("nothing but its record says that it is of this run"),
            Self::Forbidden { uid } => {
                write!(f, "it belongs to uid {uid}: only that user and root may end it")
            }
            Self::NoHandle => f.write_str("this kernel gives no handle on it"),
        }
    }
}

impl std::error::Error for Refusal {}
