//! What a job holds, as `JOBGUARD_HOLDS` tells its descendants: `m1=TOKEN@DIR,m2=TOKEN@DIR`, outer first.
//!
//! `DIR` is the device and inode of the state directory: in another one the same machine and the same
//! token are somebody else's. (`JOBGUARD_STATE_DIR` would not do to tell: users set it, too.)

use std::ffi::OsStr;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::MachineName;

/// Machines and the runs that hold them, as seen from one state directory. A claim of somebody about
/// himself: it counts for as much as a live record says the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Holds {
    /// In this directory, outer first.
    here: Vec<(MachineName, u64)>,
    /// In others, as it was told.
    elsewhere: Vec<String>,
    /// This directory, as `259:1048633`.
    dir: Option<String>,
}

impl Holds {
    /// The variable that says it.
    pub const VARIABLE: &'static str = "JOBGUARD_HOLDS";

    /// What this value of the variable says, as seen from this state directory, if one is known. What
    /// makes no sense is nobody's hold; what names no directory may be one of this.
    pub fn told(value: Option<&OsStr>, dir: Option<String>) -> Self {
        let text = value.and_then(OsStr::to_str).unwrap_or("");
        let mut holds = Self { dir, ..Self::default() };
        for part in text.split(',') {
            let Some((machine, run)) = part.rsplit_once('=') else { continue };
            let Ok(machine) = MachineName::parse(OsStr::new(machine)) else { continue };
            let (token, dir) = run.split_once('@').map_or((run, None), |(t, dir)| (t, Some(dir)));
            match token.parse() {
                Ok(token) if dir.is_none() || dir == holds.dir.as_deref() => {
                    holds.here.push((machine, token));
                }
                Ok(_) => holds.elsewhere.push(part.to_owned()),
                Err(_) => {}
            }
        }
        holds
    }

    /// Those in this directory alone, as something in it may name them.
    pub fn local(&self) -> Self {
        Self { here: self.here.clone(), ..Self::default() }
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

    /// All of them in this directory, outer first.
    pub fn all(&self) -> &[(MachineName, u64)] {
        &self.here
    }

    /// Whether there is none, anywhere.
    pub fn is_empty(&self) -> bool {
        self.here.is_empty() && self.elsewhere.is_empty()
    }
}

/// How a hold names the state directory with this device and inode.
pub fn dir_id(device: u64, inode: u64) -> String {
    format!("{device}:{inode}")
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.elsewhere.join(","))?;
        let mut comma = if self.elsewhere.is_empty() { "" } else { "," };
        for (machine, token) in &self.here {
            write!(f, "{comma}{machine}={token}")?;
            if let Some(dir) = &self.dir {
                write!(f, "@{dir}")?;
            }
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
        Self::told(Some(OsStr::new(&text)), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_from(dir: &str, told: &str) -> Holds {
        Holds::told(Some(OsStr::new(told)), Some(dir.to_owned()))
    }

    #[test]
    fn reads_what_it_writes_and_skips_what_makes_no_sense() {
        let name = |name: &str| MachineName::parse(OsStr::new(name)).unwrap();
        let holds = seen_from("1:1", "m:0=5,junk,m2=7@1:1,=3,m2=x,m:0=9,a@b=4@1:2,c=x@1:2");
        assert_eq!(holds.to_string(), "a@b=4@1:2,m:0=5@1:1,m2=7@1:1,m:0=9@1:1");
        assert_eq!(seen_from("1:1", &holds.to_string()), holds);
        assert_eq!(holds.of(&name("m:0")).collect::<Vec<_>>(), [5, 9]);
        assert!(holds.contains(&name("m2"), 7) && !holds.contains(&name("m2"), 5));
        assert!(!holds.contains(&name("a@b"), 4));
        assert_eq!(holds.local().to_string(), "m:0=5,m2=7,m:0=9");
        assert_eq!(Holds::from(holds.local().to_string()), holds.local());
        assert_eq!(holds.local().and(&name("a"), 1).to_string(), "m:0=5,m2=7,m:0=9,a=1");
        assert!(Holds::default().is_empty() && Holds::default().to_string().is_empty());
    }

    #[test]
    fn what_is_held_in_another_directory_is_not_held_here_and_is_not_forgotten() {
        let machine = MachineName::parse(OsStr::new("m")).unwrap();
        let first = seen_from("1:1", "").and(&machine, 5);
        let second = seen_from("2:2", &first.to_string());
        assert!(!second.contains(&machine, 5));
        let second = second.and(&machine, 7);
        assert_eq!(second.to_string(), "m=5@1:1,m=7@2:2");
        let back = seen_from("1:1", &second.to_string());
        assert_eq!(back.all(), [(machine, 5)]);
    }
}
