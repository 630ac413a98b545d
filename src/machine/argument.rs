//! Words of command lines, and paths: bytes, not text.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// A word of a command line, or a path: bytes, a JSON string where they are UTF-8 and an array of
/// byte values where they are not, so that nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Argument(pub OsString);

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_seq(self.0.as_bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Text(text) => OsString::from(text),
            Form::Bytes(bytes) => OsString::from_vec(bytes),
        }))
    }
}

impl From<&OsStr> for Argument {
    fn from(text: &OsStr) -> Self {
        Self(text.to_owned())
    }
}
