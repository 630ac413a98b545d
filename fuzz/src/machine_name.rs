//! Machine names: what is accepted becomes the name of a directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use jobguard::machine::name::MachineName;

use super::screen;

/// The input is a name, as it was typed.
pub fn check(input: &[u8]) {
    match MachineName::parse(OsStr::from_bytes(input)) {
        Ok(name) => {
            assert!(is_a_name(input), "{name} was accepted");
            assert_eq!(name.as_str().as_bytes(), input, "another name than was typed");
            assert_eq!(name.to_string(), name.as_str());
            assert_eq!(MachineName::parse(OsStr::new(name.as_str())).as_ref(), Ok(&name));
            stays_one_component(&name);
            screen::assert_one_line(name.as_str());
        }
        Err(why) => {
            assert!(!is_a_name(input), "{input:?} was refused: {why}");
            screen::assert_one_line(&why);
            assert!(why.len() < 1024, "{} bytes to say why", why.len());
        }
    }
}

/// The rule, once more.
fn is_a_name(name: &[u8]) -> bool {
    const FIRST: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_:@+";
    let is_of = |set: &str, byte: &u8| set.as_bytes().contains(byte);
    (1..=128).contains(&name.len())
        && is_of(FIRST, &name[0])
        && name[1..].iter().all(|byte| is_of(FIRST, byte) || is_of(".-", byte))
}

fn stays_one_component(name: &MachineName) {
    let dir = Path::new("/state");
    let joined = dir.join(name.as_str());
    let below: Vec<_> = joined.strip_prefix(dir).unwrap().components().collect();
    assert_eq!(below, [Component::Normal(OsStr::new(name.as_str()))]);
    assert_eq!(joined.parent(), Some(dir));
}
