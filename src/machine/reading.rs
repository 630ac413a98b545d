//! What the bytes of a record file say: a record, or why it is none.

use serde_json::Value;

use super::legacy::Legacy;
use super::record::{Holder, Record, SCHEMA};
use crate::identity::verdict::Subject;

/// What the bytes of a record file say.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What a rewrite starts from: the record, or a new one that keeps what could be kept.
    pub record: Record,
    /// Whom to judge.
    pub subjects: Vec<Subject>,
}

impl Reading {
    /// Of a machine whose record does not exist yet.
    pub fn absent(machine: &str) -> Self {
        Self { record: Record::new(machine), subjects: Vec::new() }
    }

    /// Of a record that says nothing but what `subject` says.
    pub fn only(machine: &str, subject: Subject) -> Self {
        Self { record: Record::new(machine), subjects: vec![subject] }
    }

    /// Parses the bytes of a record.
    pub fn parse(machine: &str, bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::only(machine, Subject::Torn("its record is empty".to_owned()));
        }
        Self::try_parse(machine, bytes).unwrap_or_else(|why| {
            Self::only(machine, Subject::Torn(format!("its record cannot be parsed: {why}")))
        })
    }

    fn try_parse(machine: &str, bytes: &[u8]) -> Result<Self, String> {
        if is_overgrown(bytes) {
            let why = "its record has more in it than any record".to_owned();
            return Ok(Self::only(machine, Subject::Unreadable(why)));
        }
        // As it mostly is. All else takes a second reading, to say what it is. Straight from the bytes: a
        // name that stands twice, so that readers could differ about who holds the machine, is an error.
        match serde_json::from_slice::<Record>(bytes) {
            Ok(record) if record.schema == SCHEMA => Ok(Self::of(machine, record)),
            Err(error) if error.is_syntax() || error.is_eof() => Err(error.to_string()),
            read => Self::parse_another(machine, bytes, read.err()),
        }
    }

    /// Of a record of this schema.
    fn of(machine: &str, record: Record) -> Self {
        if record.machine != machine {
            let why = format!("its record is that of another machine, {}", record.machine);
            return Self::only(machine, Subject::Unreadable(why));
        }
        if let Some(why) = record.contradiction() {
            return Self::only(machine, Subject::Unreadable(format!("its record {why}")));
        }
        let holder = |holder: &Holder| Subject::Holder(Box::new(holder.clone()));
        let subjects = record.holders.iter().map(holder).collect();
        Self { record, subjects }
    }

    /// Of what is no record of this schema; `error`: why it cannot be read as one, if it cannot.
    fn parse_another(
        machine: &str,
        bytes: &[u8],
        error: Option<serde_json::Error>,
    ) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| error.to_string();
        let value: Value = serde_json::from_slice(bytes).map_err(wrong)?;
        let Value::Object(mut object) = value else {
            return Err("it is no JSON object".to_owned());
        };
        match object.get("schema").map(|schema| schema.as_u64().ok_or(schema)) {
            Some(Ok(SCHEMA)) => {
                Err(error.map_or_else(|| "its schema stands twice".to_owned(), wrong))
            }
            Some(Ok(newer)) if newer > SCHEMA => Ok(Self::only(machine, Subject::Newer(newer))),
            Some(Err(schema)) => Err(format!("schema {schema} is no whole number")),
            None | Some(Ok(_)) => {
                object.remove("schema");
                let legacy = Legacy::take(&mut object).ok_or("it has no schema")??;
                let mut record = Record::new(machine);
                let own = serde_json::to_value(&record).map_err(|error| error.to_string())?;
                object.retain(|key, _| own.get(key).is_none());
                record.unknown = object;
                Ok(Self { record, subjects: legacy.map(Subject::Legacy).into_iter().collect() })
            }
        }
    }
}

/// Whether JSON has more parts than any record of ours: few bytes of it can become a hundred times
/// as many in memory, and whoever looks must not choke on what somebody planted.
///
/// Bytes of a command line that is not UTF-8 are numbers, as many as execve(2) takes; of all else
/// there is little.
pub fn is_overgrown(bytes: &[u8]) -> bool {
    const MAX_NUMBERS: usize = 1 << 21;
    const MAX_PARTS: usize = 1 << 16;
    if bytes.len() <= MAX_PARTS {
        return false; // each takes a byte
    }
    let (mut numbers, mut parts) = (0, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b',' => numbers += 1,
            b'{' | b'[' | b':' => parts += 1,
            _ => {}
        }
    }
    numbers > MAX_NUMBERS || parts > MAX_PARTS
}

#[cfg(test)]
mod tests;
