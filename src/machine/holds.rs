//! What a job holds, as `JOBGUARD_HOLDS` tells its descendants: `m1=TOKEN,m2=TOKEN`, outer first.

use std::ffi::OsStr;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::MachineName;

/// Machines and the runs that hold them. A claim of somebody about himself: it counts for as much as
/// a live record says the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Holds(Vec<(MachineName, u64)>);

impl Holds {
    /// The variable that says it.
    pub const VARIABLE: &'static str = "JOBGUARD_HOLDS";

    /// Parses the variable's value; what makes no sense is nobody's hold.
    pub fn parse(value: Option<&OsStr>) -> Self {
        let text = value.and_then(OsStr::to_str).unwrap_or("");
        let pair = |part: &str| {
            let (machine, token) = part.rsplit_once('=')?;
            Some((MachineName::parse(OsStr::new(machine)).ok()?, token.parse().ok()?))
        };
        Self(text.split(',').filter_map(pair).collect())
    }

    /// What the job that we are part of holds.
    pub fn inherited() -> Self {
        Self::parse(std::env::var_os(Self::VARIABLE).as_deref())
    }

    /// These and one more.
    pub fn and(mut self, machine: &MachineName, token: u64) -> Self {
        self.0.push((machine.clone(), token));
        self
    }

    /// Whether the run `token` of this machine is among them.
    pub fn contains(&self, machine: &MachineName, token: u64) -> bool {
        self.of(machine).any(|held| held == token)
    }

    /// The runs of this machine, outer first.
    pub fn of(&self, machine: &MachineName) -> impl Iterator<Item = u64> {
        self.0.iter().filter(move |(name, _)| name == machine).map(|(_, token)| *token)
    }

    /// All of them, outer first.
    pub fn all(&self) -> &[(MachineName, u64)] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (machine, token)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{machine}={token}")?;
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

    #[test]
    fn reads_what_it_writes_and_skips_what_makes_no_sense() {
        let name = |name: &str| MachineName::parse(OsStr::new(name)).unwrap();
        let holds = Holds::parse(Some(OsStr::new("m:0=5,junk,m2=7,=3,m2=x,m:0=9")));
        assert_eq!(holds.to_string(), "m:0=5,m2=7,m:0=9");
        assert_eq!(holds.of(&name("m:0")).collect::<Vec<_>>(), [5, 9]);
        assert!(holds.contains(&name("m2"), 7) && !holds.contains(&name("m2"), 5));
        assert_eq!(holds.and(&name("a"), 1).to_string(), "m:0=5,m2=7,m:0=9,a=1");
        assert!(Holds::parse(None).is_empty() && Holds::default().to_string().is_empty());
    }
}
