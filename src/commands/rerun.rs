//! `jobguard rerun NAME`: repeats the last run that was lost, by becoming it.
//!
//! Whoever may write to a machine's directory can write any command line into its record. So what is
//! run comes from a file that nobody but its user can have made (see
//! [`crate::machine::store::memos`]), and the record only says which.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{execve, getuid};

use super::{At, at_machine, clear};
use crate::cli::plan::Ask;
use crate::cli::settings::Settings;
use crate::error::Error;
use crate::identity::observe::Patience;
use crate::look::look;
use crate::machine::holds::Holds;
use crate::machine::memo::Memo;
use crate::machine::name::MachineName;
use crate::report::escape::escape_os;
use crate::report::{human, output};
use crate::sys::startup;

/// Becomes the run that was lost, if there is one.
pub(super) fn rerun(machine: &MachineName, settings: Settings) -> Result<u8, Error> {
    let ask = Ask { json: false, settings };
    let (found, _) = at_machine(machine, &ask.settings, |at| lost(at, &ask))?;
    let Some((memo, state_dir)) = found.flatten() else {
        output::message(format!("{machine}: no run was lost that is to be repeated"));
        return Ok(0);
    };
    Err(become_again(&memo, &state_dir))
}

/// The memo of the last run that was lost, and the state directory. A phantom is cleared first: it may be that one.
fn lost(at: &At<'_>, ask: &Ask) -> Result<Option<(Memo, PathBuf)>, Error> {
    let At { dir, observer, .. } = *at;
    let mut patience = Patience::default();
    clear::sweep(dir, observer, &mut patience, ask);
    let Some(lost) = look(dir, observer, &mut patience)?.record.lost else { return Ok(None) };
    if lost.uid != getuid().as_raw() {
        let user = human::user_name(lost.user.as_deref(), lost.uid);
        return Err(Error::State(format!(
            "{}: the lost run is of user {user}, and to be repeated by nobody else",
            dir.name()
        )));
    }
    let state_dir = dir.path().parent().unwrap_or(dir.path()).to_owned();
    Ok(dir.memo(lost.token)?.map(|memo| (memo, state_dir)))
}

/// Returns only when that cannot be.
fn become_again(memo: &Memo, state_dir: &Path) -> Error {
    if let Err(error) = std::env::set_current_dir(&memo.cwd.0) {
        let cwd = escape_os(&memo.cwd.0);
        return Error::io(format!("go to the lost run's directory '{cwd}'"))(error);
    }
    let entry = |name: &str, value: &[u8]| CString::new([name.as_bytes(), b"=", value].concat());
    let mut environment: Vec<_> =
        memo.environment.iter().map(|(name, value)| entry(name, value.0.as_bytes())).collect();
    environment.push(entry("JOBGUARD_STATE_DIR", state_dir.as_os_str().as_bytes()));
    let kept = [Holds::VARIABLE, "JOBGUARD_HOST_ID"].map(|name| format!("{name}="));
    let is_kept =
        |entry: &CString| kept.iter().any(|name| entry.to_bytes().starts_with(name.as_bytes()));
    environment.extend(startup::environment().into_iter().filter(is_kept).map(Ok));
    let first = ["jobguard".to_owned(), format!("--repeat-of={}", memo.token)];
    let first = first.map(CString::new).into_iter();
    let words = first.chain(memo.words.iter().map(|word| CString::new(word.0.as_bytes())));
    let (Ok(words), Ok(environment)) = (
        words.collect::<Result<Vec<_>, _>>(),
        environment.into_iter().collect::<Result<Vec<_>, _>>(),
    ) else {
        return Error::State("the memo of the lost run holds a NUL byte".to_owned());
    };
    match execve(c"/proc/self/exe", &words, &environment) {
        Err(errno) => Error::io("start again: is /proc mounted?")(errno),
        Ok(never) => match never {},
    }
}
