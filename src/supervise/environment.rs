//! The job's environment: ours, byte for byte, plus the `JOBGUARD_*` variables.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::machine::holds::Holds;
use crate::machine::name::MachineName;

/// The variables that jobguard sets for the job.
const OURS: [&str; 4] =
    ["JOBGUARD_MACHINE", "JOBGUARD_TOKEN", "JOBGUARD_HOLDS", "JOBGUARD_STATE_DIR"];

/// An environment that lacks only the tokens of the run.
#[derive(Debug, Clone)]
pub struct Environment {
    inherited: Vec<CString>,
    machines: Vec<MachineName>,
    state_dir: CString,
    outer: Holds,
}

impl Environment {
    /// Our own environment, for a job of these machines; `outer` is what the job holds that we are
    /// part of.
    pub fn new(
        inherited: Vec<CString>,
        outer: Holds,
        machines: &[MachineName],
        state_dir: &Path,
    ) -> Self {
        let ours = |entry: &CStr| {
            let name = entry.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
            OURS.iter().any(|ours| ours.as_bytes() == name)
        };
        Self {
            outer,
            machines: machines.to_vec(),
            // A path that came from the system holds no NUL.
            state_dir: CString::new(state_dir.as_os_str().as_bytes()).unwrap_or_default(),
            inherited: inherited.into_iter().filter(|entry| !ours(entry)).collect(),
        }
    }

    /// The same, but for this variable.
    pub fn without(mut self, name: &str) -> Self {
        self.inherited.retain(|entry| value_of(entry, name).is_none());
        self
    }

    /// The job's machines, in order.
    pub fn machines(&self) -> &[MachineName] {
        &self.machines
    }

    /// What the job that we are part of holds.
    pub fn outer(&self) -> &Holds {
        &self.outer
    }

    /// The whole environment of the run that has these tokens, one for each machine.
    pub fn with_tokens(&self, tokens: &[u64]) -> Vec<CString> {
        let machines: Vec<&str> = self.machines.iter().map(MachineName::as_str).collect();
        let numbers: Vec<String> = tokens.iter().map(u64::to_string).collect();
        let runs = self.machines.iter().zip(tokens);
        let holds =
            runs.fold(self.outer.clone(), |holds, (machine, token)| holds.and(machine, *token));
        let variable = |name: &str, value: &[u8]| {
            let mut entry = format!("{name}=").into_bytes();
            entry.extend_from_slice(value);
            CString::new(entry).unwrap_or_default() // no part of it holds a NUL
        };
        let mut all = self.inherited.clone();
        all.extend([
            variable("JOBGUARD_MACHINE", machines.join(",").as_bytes()),
            variable("JOBGUARD_TOKEN", numbers.join(",").as_bytes()),
            variable(Holds::VARIABLE, holds.to_string().as_bytes()),
            variable("JOBGUARD_STATE_DIR", self.state_dir.as_bytes()),
        ]);
        all
    }
}

/// The value of the variable `name`, where this is its entry.
fn value_of<'a>(entry: &'a CStr, name: &str) -> Option<&'a [u8]> {
    entry.to_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

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
        let machine = |name: &str| MachineName::parse(OsStr::new(name)).unwrap();
        let outer = Holds::default().and(&machine("m:0"), 5).and(&machine("m2"), 7);
        let machines = [machine("m1"), machine("m3")];
        let environment =
            Environment::new(inherited, outer, &machines, Path::new("/s")).without("B");
        let all: Vec<String> = environment
            .with_tokens(&[8, 9])
            .iter()
            .map(|e| e.to_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            all,
            [
                "A=1",
                "BB=3",
                "no-equals-sign",
                "JOBGUARD_MACHINE=m1,m3",
                "JOBGUARD_TOKEN=8,9",
                "JOBGUARD_HOLDS=m:0=5,m2=7,m1=8,m3=9",
                "JOBGUARD_STATE_DIR=/s"
            ]
        );
    }
}
