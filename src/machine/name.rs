//! Machine names.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};

use crate::report::escape::escape_os;

/// The name of a machine: 1 to 128 bytes of `A-Za-z0-9._:@+-`, not starting with `.` or `-`.
///
/// It becomes a directory's name, so nothing that a path or a shell would understand is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MachineName(String);

impl From<MachineName> for String {
    fn from(name: MachineName) -> Self {
        name.0
    }
}

impl TryFrom<String> for MachineName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::parse(OsStr::new(&name))
    }
}

impl MachineName {
    /// The longest name, in bytes.
    pub const MAX: usize = 128;

    /// Checks a name; the error is a sentence for the user.
    pub fn parse(name: &OsStr) -> Result<Self, String> {
        let shown = || escape_os(name);
        let bytes = name.as_bytes();
        if bytes.is_empty() {
            return Err("a machine name cannot be empty".to_owned());
        }
        if bytes.len() > Self::MAX {
            return Err(format!(
                "machine name of {} bytes is too long: at most {} are allowed",
                bytes.len(),
                Self::MAX
            ));
        }
        if matches!(bytes[0], b'.' | b'-') {
            return Err(format!("machine name '{}' cannot start with '.' or '-'", shown()));
        }
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:@+-".contains(byte);
        if !bytes.iter().all(allowed) {
            return Err(format!(
                "machine name '{}' may hold only letters, digits and . _ : @ + -",
                shown()
            ));
        }
        // All bytes are ASCII by now.
        Ok(Self(name.to_string_lossy().into_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("m1")]
    #[case("A-Za-z0-9._:@+-")]
    #[case("_")]
    #[case("a..b")]
    fn good(#[case] name: &str) {
        assert_eq!(MachineName::parse(OsStr::new(name)).unwrap().as_str(), name);
    }

    #[rstest]
    #[case("", "empty")]
    #[case(".", "start with")]
    #[case("..", "start with")]
    #[case("-m", "start with")]
    #[case("a/b", "only letters")]
    #[case("a b", "only letters")]
    #[case("é", "only letters")]
    #[case("a\n\x1b[31m", "a\\n\\u{1b}[31m")]
    fn bad(#[case] name: &str, #[case] says: &str) {
        let error = MachineName::parse(OsStr::new(name)).unwrap_err();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn length_is_counted_in_bytes() {
        let name = |length| "x".repeat(length);
        assert!(MachineName::parse(OsStr::new(&name(128))).is_ok());
        assert!(MachineName::parse(OsStr::new(&name(129))).unwrap_err().contains("129"));
        assert!(MachineName::parse(OsStr::from_bytes(b"\xff")).is_err());
    }
}
