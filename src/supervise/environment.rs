//! The job's environment: ours, byte for byte, plus the `JOBGUARD_*` variables.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::machine::name::MachineName;

/// The variables that jobguard sets for the job.
const OURS: [&str; 4] =
    ["JOBGUARD_MACHINE", "JOBGUARD_TOKEN", "JOBGUARD_HOLDS", "JOBGUARD_STATE_DIR"];

/// An environment that lacks only the token of the run.
#[derive(Debug, Clone)]
pub struct Environment {
    inherited: Vec<CString>,
    machine: MachineName,
    state_dir: CString,
    outer: Holds,
}

/// What the job that we are started by holds, from `JOBGUARD_HOLDS`: `m1=TOKEN,…`, outer first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds(Vec<(String, u64)>);

impl Holds {
    /// Parses the variable's value; what makes no sense is nobody's hold.
    pub fn parse(value: Option<&OsStr>) -> Self {
        let text = value.and_then(OsStr::to_str).unwrap_or("");
        let pair = |part: &str| {
            let (machine, token) = part.rsplit_once('=')?;
            Some((machine.to_owned(), token.parse().ok()?))
        };
        Self(text.split(',').filter_map(pair).collect())
    }

    /// Whether the run `token` of this machine is among them.
    pub fn contains(&self, machine: &MachineName, token: u64) -> bool {
        self.0.iter().any(|(name, held)| name == machine.as_str() && *held == token)
    }
}

impl Environment {
    /// Our own environment, for a job of this machine.
    pub fn new(inherited: Vec<CString>, machine: &MachineName, state_dir: &Path) -> Self {
        let ours = |entry: &CStr| {
            let name = entry.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
            OURS.iter().any(|ours| ours.as_bytes() == name)
        };
        let outer = inherited
            .iter()
            .find_map(|entry| entry.to_bytes().strip_prefix(b"JOBGUARD_HOLDS="))
            .map(OsStr::from_bytes);
        Self {
            outer: Holds::parse(outer),
            machine: machine.clone(),
            // A path that came from the system holds no NUL.
            state_dir: CString::new(state_dir.as_os_str().as_bytes()).unwrap_or_default(),
            inherited: inherited.into_iter().filter(|entry| !ours(entry)).collect(),
        }
    }

    /// The same, but for this variable.
    pub fn without(mut self, name: &str) -> Self {
        let is_it = |entry: &CString| {
            let value = entry.to_bytes().strip_prefix(name.as_bytes());
            value.is_some_and(|value| value.starts_with(b"="))
        };
        self.inherited.retain(|entry| !is_it(entry));
        self
    }

    /// What the job that started us holds.
    pub fn outer(&self) -> &Holds {
        &self.outer
    }

    /// The whole environment of the run `token`.
    pub fn with_token(&self, token: u64) -> Vec<CString> {
        let machine = self.machine.as_str();
        let outer: String =
            self.outer.0.iter().map(|(name, held)| format!("{name}={held},")).collect();
        let variable = |name: &str, value: &[u8]| {
            let mut entry = format!("{name}=").into_bytes();
            entry.extend_from_slice(value);
            CString::new(entry).unwrap_or_default() // no part of it holds a NUL
        };
        let mut all = self.inherited.clone();
        all.extend([
            variable("JOBGUARD_MACHINE", machine.as_bytes()),
            variable("JOBGUARD_TOKEN", token.to_string().as_bytes()),
            variable("JOBGUARD_HOLDS", format!("{outer}{machine}={token}").as_bytes()),
            variable("JOBGUARD_STATE_DIR", self.state_dir.as_bytes()),
        ]);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_environment_is_ours_plus_four_variables() {
        let inherited = [
            "A=1",
            "B=2",
            "BB=3",
            "no-equals-sign",
            "JOBGUARD_HOLDS=m:0=5,junk,m2=7",
            "JOBGUARD_TOKEN=9",
        ];
        let inherited = inherited.map(|entry| CString::new(entry).unwrap()).to_vec();
        let machine = MachineName::parse(OsStr::new("m1")).unwrap();
        let environment = Environment::new(inherited, &machine, Path::new("/s")).without("B");
        assert!(environment.outer().contains(&MachineName::parse(OsStr::new("m:0")).unwrap(), 5));
        assert!(!environment.outer().contains(&machine, 5));
        let all: Vec<String> =
            environment.with_token(8).iter().map(|e| e.to_str().unwrap().to_owned()).collect();
        assert_eq!(
            all,
            [
                "A=1",
                "BB=3",
                "no-equals-sign",
                "JOBGUARD_MACHINE=m1",
                "JOBGUARD_TOKEN=8",
                "JOBGUARD_HOLDS=m:0=5,m2=7,m1=8",
                "JOBGUARD_STATE_DIR=/s"
            ]
        );
    }
}
