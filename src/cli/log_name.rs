//! The name of a log, as it is typed: with placeholders in braces. A `%` would have to be written
//! otherwise in a crontab, and in a unit file.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::machine::name::MachineName;
use crate::report::escape::escape_os;

/// A path in which placeholders stand for what is known later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogName(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Machine,
    Token,
    Date,
    Time,
}

const PLACEHOLDERS: &str = "{machine}, {token}, {date} and {time}; a brace is {{ or }}";

impl LogName {
    /// Reads it. The error is a sentence for the user.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        let shown = || escape_os(text);
        let mut bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err("'' is no file name".to_owned());
        }
        let mut parts = Vec::new();
        while let [first, rest @ ..] = bytes {
            let part = match (first, rest) {
                (b'{', [b'{', after @ ..]) | (b'}', [b'}', after @ ..]) => {
                    bytes = after;
                    Part::Text(vec![*first])
                }
                (b'{', _) => {
                    let end = rest.iter().position(|byte| *byte == b'}');
                    let end = end.ok_or_else(|| {
                        format!(
                            "'{}' has a brace that nothing closes: there are {PLACEHOLDERS}",
                            shown()
                        )
                    })?;
                    bytes = &rest[end + 1..];
                    placeholder(&rest[..end]).ok_or_else(|| {
                        let name = escape_os(OsStr::from_bytes(&rest[..end]));
                        format!(
                            "'{}' has a placeholder {{{name}}}: there are {PLACEHOLDERS}",
                            shown()
                        )
                    })?
                }
                (b'}', _) => {
                    return Err(format!(
                        "'{}' has a brace that nothing opens: there are {PLACEHOLDERS}",
                        shown()
                    ));
                }
                _ => {
                    let brace = |byte: &u8| matches!(byte, b'{' | b'}');
                    let end = bytes.iter().position(brace).unwrap_or(bytes.len());
                    let (text, after) = bytes.split_at(end);
                    bytes = after;
                    Part::Text(text.to_vec())
                }
            };
            parts.push(part);
        }
        Ok(Self(parts))
    }

    /// The path of the run with these tokens that began at `time` (RFC 3339 UTC). Of several machines the
    /// names, and the tokens, are joined by commas, as in the job's environment.
    pub fn of_run(&self, machines: &[MachineName], tokens: &[u64], time: &str) -> PathBuf {
        let tokens = tokens.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        // The same in every language's date functions, and no colon: rsync would take it for a host.
        let (date, time) = (time.get(..10).unwrap_or(time), basic(time));
        let path = self.fill(machines, |part| match part {
            Part::Token => Some(&tokens),
            Part::Date => Some(date),
            _ => Some(&time),
        });
        path.unwrap_or_default() // every part is known
    }

    /// The path, where it is known before a run begins.
    pub fn of_any_run(&self, machines: &[MachineName]) -> Option<PathBuf> {
        self.fill(machines, |_| None)
    }

    /// The directory, where it is known before a run begins; empty: the current one.
    pub fn directory(&self, machines: &[MachineName]) -> Option<PathBuf> {
        let slash = |part: &Part| match part {
            Part::Text(text) => text.iter().rposition(|byte| *byte == b'/'),
            _ => None,
        };
        let last =
            self.0.iter().enumerate().rev().find_map(|(index, part)| Some((index, slash(part)?)));
        let Some((index, at)) = last else { return Some(PathBuf::new()) };
        let mut parts = self.0[..=index].to_vec();
        if let Some(Part::Text(text)) = parts.last_mut() {
            text.truncate(if index == 0 { at.max(1) } else { at }); // the root is a slash
        }
        Self(parts).of_any_run(machines)
    }

    fn fill<'a>(
        &'a self,
        machines: &[MachineName],
        known: impl Fn(&Part) -> Option<&'a str>,
    ) -> Option<PathBuf> {
        let names: Vec<&str> = machines.iter().map(MachineName::as_str).collect();
        let names = names.join(",");
        let mut path = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => path.extend_from_slice(text),
                Part::Machine => path.extend_from_slice(names.as_bytes()),
                part => path.extend_from_slice(known(part)?.as_bytes()),
            }
        }
        Some(PathBuf::from(OsString::from_vec(path)))
    }
}

fn placeholder(name: &[u8]) -> Option<Part> {
    Some(match name {
        b"machine" => Part::Machine,
        b"token" => Part::Token,
        b"date" => Part::Date,
        b"time" => Part::Time,
        _ => return None,
    })
}

/// `2026-11-20T15:30:45.123Z` as `20261120T153045Z`.
fn basic(time: &str) -> String {
    let whole = time.split('.').next().unwrap_or_default();
    let digits: String = whole.chars().filter(|char| !matches!(char, '-' | ':' | 'Z')).collect();
    digits + "Z"
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TIME: &str = "2026-11-20T15:30:45.123Z";

    fn machines(names: &[&str]) -> Vec<MachineName> {
        names.iter().map(|name| MachineName::parse(OsStr::new(name)).unwrap()).collect()
    }

    #[rstest]
    #[case("plain.log", "plain.log", Some("plain.log"), Some(""))]
    #[case("/a/{machine}/b", "/a/m1,m2/b", Some("/a/m1,m2/b"), Some("/a/m1,m2"))]
    #[case("/a/{machine}.{token}", "/a/m1,m2.8,9", None, Some("/a"))]
    #[case("/{date}/{time}.log", "/2026-11-20/20261120T153045Z.log", None, None)]
    #[case("{token}/x{machine}", "8,9/xm1,m2", None, None)]
    #[case("x{{token}}100%", "x{token}100%", Some("x{token}100%"), Some(""))]
    #[case("/a/", "/a/", Some("/a/"), Some("/a"))]
    #[case("/x", "/x", Some("/x"), Some("/"))]
    #[case("{machine}/x", "m1,m2/x", Some("m1,m2/x"), Some("m1,m2"))]
    fn names(
        #[case] typed: &str,
        #[case] of_run: &str,
        #[case] before: Option<&str>,
        #[case] directory: Option<&str>,
    ) {
        let name = LogName::parse(OsStr::new(typed)).unwrap();
        let machines = machines(&["m1", "m2"]);
        assert_eq!(name.of_run(&machines, &[8, 9], TIME), PathBuf::from(of_run));
        assert_eq!(name.of_any_run(&machines), before.map(PathBuf::from));
        assert_eq!(name.directory(&machines), directory.map(PathBuf::from));
    }

    #[rstest]
    #[case("", "is no file name")]
    #[case("a{", "nothing closes")]
    #[case("a{machine", "nothing closes")]
    #[case("a}", "nothing opens")]
    #[case("a{}", "a placeholder {}")]
    #[case("a{host}", "a placeholder {host}")]
    #[case("a{Token}", "a placeholder {Token}")]
    fn mistakes(#[case] typed: &str, #[case] why: &str) {
        let said = LogName::parse(OsStr::new(typed)).unwrap_err();
        assert!(said.contains(why), "{said}");
    }

    #[test]
    fn what_is_no_text_stays_as_it_is() {
        let typed = OsStr::from_bytes(b"a\xff{machine}\xfe");
        let path = LogName::parse(typed).unwrap().of_any_run(&machines(&["m1"])).unwrap();
        assert_eq!(path.as_os_str().as_bytes(), b"a\xffm1\xfe");
    }
}
