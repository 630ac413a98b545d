//! What it takes to repeat a run: what was typed, where, and the part of the environment that counts.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};

use super::argument::Argument;
use super::record::SCHEMA;

/// The variables that a repeated run gets; `LC_*`, too.
const KEPT: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG"];

/// What it takes to repeat a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memo {
    /// The schema of the record beside it.
    pub schema: u64,
    /// The run that it is about.
    pub token: u64,
    /// The words after `jobguard`.
    pub words: Vec<Argument>,
    /// The working directory.
    pub cwd: Argument,
    /// The environment.
    pub environment: BTreeMap<String, Argument>,
}

impl Memo {
    /// A memo of these words, typed here and now; the token is to be filled in.
    pub fn new(
        words: &[OsString],
        cwd: OsString,
        inherited: &[impl AsRef<CStr>],
        wanted: &[OsString],
    ) -> Self {
        let kept = |entry: &CStr| {
            let bytes = entry.to_bytes();
            let (name, value) = bytes.split_at(bytes.iter().position(|byte| *byte == b'=')?);
            let is_wanted = || wanted.iter().any(|wanted| wanted.as_bytes() == name);
            let name = std::str::from_utf8(name).ok()?;
            (KEPT.contains(&name) || name.starts_with("LC_") || is_wanted())
                .then(|| (name.to_owned(), Argument::from(OsStr::from_bytes(&value[1..]))))
        };
        Self {
            schema: SCHEMA,
            token: 0,
            words: words.iter().map(|word| Argument(word.clone())).collect(),
            cwd: Argument(cwd),
            environment: inherited.iter().filter_map(|entry| kept(entry.as_ref())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_counts_is_kept_of_the_environment() {
        let inherited =
            [c"PATH=/bin:/usr/bin", c"PASSWORD=x", c"LC_ALL=C", c"WANTED=a=b", c"TZ=", c"junk"];
        let memo = Memo::new(&["-m".into()], "/".into(), &inherited, &["WANTED".into()]);
        let kept: Vec<_> = memo.environment.iter().collect();
        let expected = [("LC_ALL", "C"), ("PATH", "/bin:/usr/bin"), ("TZ", ""), ("WANTED", "a=b")];
        let expected = expected.map(|(name, value)| (name.to_owned(), Argument(value.into())));
        assert_eq!(kept, expected.iter().map(|(name, value)| (name, value)).collect::<Vec<_>>());
    }
}
