//! Records of schema 0, as other tools wrote them: `job`, `job_pid`, `job_timestamp`.

use serde_json::{Map, Value};

/// A record of schema 0 in which somebody holds the machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Legacy {
    /// What runs, for people.
    pub job: Option<String>,
    /// Its PID; 0 and below never name a process.
    pub job_pid: Option<i32>,
    /// When it was marked as running, in seconds since the Unix epoch.
    pub job_timestamp: Option<i64>,
}

const KEYS: [&str; 3] = ["job", "job_pid", "job_timestamp"];

impl Legacy {
    /// Takes the fields of schema 0 out of an object, and leaves the others in it.
    ///
    /// Returns `None` when it has none of them, so is no such record, and `Some(None)` when nobody
    /// holds the machine: absent fields, nulls and empty strings alike mean "none".
    pub fn take(object: &mut Map<String, Value>) -> Option<Result<Option<Self>, String>> {
        if !KEYS.iter().any(|key| object.contains_key(*key)) {
            return None;
        }
        let [job, pid, timestamp] = KEYS.map(|key| object.remove(key).filter(is_something));
        Some(Self::from_values(job, pid, timestamp))
    }

    fn from_values(
        job: Option<Value>,
        pid: Option<Value>,
        timestamp: Option<Value>,
    ) -> Result<Option<Self>, String> {
        if job.is_none() && pid.is_none() {
            return Ok(None);
        }
        let job = job.map(|job| match job {
            Value::String(job) => job,
            other => other.to_string(),
        });
        // A PID that has to be rounded names nobody.
        let whole = |pid: &Value| number(pid).filter(|number| is_whole(pid, *number));
        let job_pid = match pid.map(|pid| whole(&pid).ok_or(pid)) {
            None => None,
            Some(Ok(pid)) => {
                Some(i32::try_from(pid).map_err(|_| format!("job_pid {pid} is no process ID"))?)
            }
            Some(Err(pid)) => return Err(format!("job_pid {pid} is no whole number")),
        };
        let job_timestamp = match timestamp.map(|time| number(&time).ok_or(time)) {
            None => None,
            Some(Ok(time)) => Some(time),
            Some(Err(time)) => return Err(format!("job_timestamp {time} is no number")),
        };
        Ok(Some(Self { job, job_pid, job_timestamp }))
    }
}

fn is_something(value: &Value) -> bool {
    !value.is_null() && value.as_str() != Some("")
}

/// Whether nothing was cut off.
fn is_whole(value: &Value, number: i64) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.trim().parse() == Ok(number) || text.trim().parse() == Ok(number as f64)
}

/// A whole number, written as a number or as a string; fractions of a second are cut off.
fn number(value: &Value) -> Option<i64> {
    let parse = |text: &str| {
        text.trim().parse().ok().or_else(|| {
            let number: f64 = text.trim().parse().ok()?;
            let fits = number.is_finite() && number.abs() < 9e18;
            fits.then_some(number as i64)
        })
    };
    match value {
        Value::Number(number) => parse(&number.to_string()),
        Value::String(text) => parse(text),
        _ => None,
    }
}
