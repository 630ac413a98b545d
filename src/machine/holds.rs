//! What a job holds, as `JOBGUARD_HOLDS` tells its descendants: `m1=TOKEN,m2=TOKEN`, outer first.
//!
//! That is about the state directory in `JOBGUARD_STATE_DIR`: in another one the same machine and the
//! same token are somebody else's. What is held in others is kept for whoever comes back to them, as
//! `m1=TOKEN@DEVICE:INODE` of the directory.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::name::MachineName;

/// Machines and the runs that hold them. A claim of somebody about himself: it counts for as much as
/// a live record says the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Holds {
    /// In one state directory, outer first.
    here: Vec<(MachineName, u64)>,
    /// In others.
    elsewhere: Vec<(MachineName, u64, DirId)>,
}

/// The device and inode of a state directory, as `259:1048633`.
pub type DirId = String;

impl Holds {
    /// The variable that says it.
    pub const VARIABLE: &'static str = "JOBGUARD_HOLDS";

    /// Parses the variable's value; what makes no sense is nobody's hold.
    pub fn parse(value: Option<&OsStr>) -> Self {
        let text = value.and_then(OsStr::to_str).unwrap_or("");
        let mut holds = Self::default();
        for part in text.split(',') {
            let Some((machine, run)) = part.rsplit_once('=') else { continue };
            let Ok(machine) = MachineName::parse(OsStr::new(machine)) else { continue };
            let (token, dir) = run.split_once('@').map_or((run, None), |(t, dir)| (t, Some(dir)));
            match (token.parse(), dir) {
                (Ok(token), None) => holds.here.push((machine, token)),
                (Ok(token), Some(dir)) => holds.elsewhere.push((machine, token, dir.to_owned())),
                (Err(_), _) => {}
            }
        }
        holds
    }

    /// What the job that we are part of holds, as seen from this state directory.
    pub fn inherited(state_dir: &Path) -> Self {
        let told = env::var_os("JOBGUARD_STATE_DIR").and_then(|path| id(Path::new(&path)));
        let value: Option<OsString> = env::var_os(Self::VARIABLE);
        Self::parse(value.as_deref()).seen_from(id(state_dir), told)
    }

    /// The same holds, which were about the directory `told`, as seen from `here`.
    fn seen_from(self, here: Option<DirId>, told: Option<DirId>) -> Self {
        let mut seen = Self::default();
        let told = self.here.into_iter().map(|(machine, token)| (machine, token, told.clone()));
        let others = self.elsewhere.into_iter().map(|(name, token, dir)| (name, token, Some(dir)));
        for (machine, token, dir) in others.chain(told) {
            match dir {
                dir if dir.is_some() && dir == here => seen.here.push((machine, token)),
                Some(dir) => seen.elsewhere.push((machine, token, dir)),
                None => {} // nobody knows where
            }
        }
        seen
    }

    /// These and one more.
    pub fn and(mut self, machine: &MachineName, token: u64) -> Self {
        self.here.push((machine.clone(), token));
        self
    }

    /// Whether the run `token` of this machine is among them.
    pub fn contains(&self, machine: &MachineName, token: u64) -> bool {
        self.of(machine).any(|held| held == token)
    }

    /// The runs of this machine, outer first.
    pub fn of(&self, machine: &MachineName) -> impl Iterator<Item = u64> {
        self.here.iter().filter(move |(name, _)| name == machine).map(|(_, token)| *token)
    }

    /// All of them in this state directory, outer first.
    pub fn all(&self) -> &[(MachineName, u64)] {
        &self.here
    }

    /// Whether there is none, anywhere.
    pub fn is_empty(&self) -> bool {
        self.here.is_empty() && self.elsewhere.is_empty()
    }
}

fn id(state_dir: &Path) -> Option<DirId> {
    let found = std::fs::metadata(state_dir).ok()?;
    Some(format!("{}:{}", found.dev(), found.ino()))
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (machine, token, dir) in &self.elsewhere {
            write!(f, "{comma}{machine}={token}@{dir}")?;
            comma = ",";
        }
        for (machine, token) in &self.here {
            write!(f, "{comma}{machine}={token}")?;
            comma = ",";
        }
        Ok(())
    }
}

impl From<Holds> for String {
    fn from(holds: Holds) -> Self {
        holds.to_string()
    }
}

impl From<String> for Holds {
    fn from(text: String) -> Self {
        Self::parse(Some(OsStr::new(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> Holds {
        Holds::parse(Some(OsStr::new(text)))
    }

    #[test]
    fn reads_what_it_writes_and_skips_what_makes_no_sense() {
        let name = |name: &str| MachineName::parse(OsStr::new(name)).unwrap();
        let holds = holds("m:0=5,junk,m2=7,=3,m2=x,m:0=9,a@b=4@1:2,c=x@1:2");
        assert_eq!(holds.to_string(), "a@b=4@1:2,m:0=5,m2=7,m:0=9");
        assert_eq!(holds.of(&name("m:0")).collect::<Vec<_>>(), [5, 9]);
        assert!(holds.contains(&name("m2"), 7) && !holds.contains(&name("m2"), 5));
        assert!(!holds.contains(&name("a@b"), 4));
        assert_eq!(holds.and(&name("a"), 1).to_string(), "a@b=4@1:2,m:0=5,m2=7,m:0=9,a=1");
        assert!(Holds::parse(None).is_empty() && Holds::default().to_string().is_empty());
    }

    #[rstest::rstest]
    #[case::the_same("m=5,m=6", "1:1", Some("1:1"), "m=5,m=6")]
    #[case::another("m=5", "2:2", Some("1:1"), "m=5@1:1")]
    #[case::and_back("m=5@1:1,m=7", "1:1", Some("2:2"), "m=7@2:2,m=5")]
    #[case::nobody_knows_where("m=5,n=6@1:1", "1:1", None, "n=6")]
    fn what_is_held_in_another_directory_is_not_held_here(
        #[case] told: &str,
        #[case] here: &str,
        #[case] about: Option<&str>,
        #[case] seen: &str,
    ) {
        let about = about.map(str::to_owned);
        assert_eq!(holds(told).seen_from(Some(here.to_owned()), about).to_string(), seen);
    }
}
