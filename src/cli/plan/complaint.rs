//! What is said about a command line that makes no sense.

use std::borrow::Cow;
use std::error::Error as _;

use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _, CommandFactory};

use super::Plan;
use crate::cli::args::{Place, Top};
use crate::report::escape::escape;

/// An option that only a run takes, as one types it, if one was typed.
pub(super) fn option_of_a_run(matches: &ArgMatches) -> Option<String> {
    let general = Place::augment_args(clap::Command::new("general"));
    let is_general = |id: &clap::Id| general.get_arguments().any(|arg| arg.get_id() == id);
    let typed = |arg: &&clap::Arg| {
        matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
            && !arg.is_positional()
            && !is_general(arg.get_id())
    };
    let top = Top::command();
    let arg = top.get_arguments().find(typed)?;
    let long = format!("--{}", arg.get_long()?);
    Some(arg.get_short().map_or(long.clone(), |short| format!("-{short} ({long})")))
}

/// `--help` and `--version` come as errors, too.
pub(super) fn help_or_complaint(error: &clap::Error) -> Result<Plan, String> {
    let text = error.render().to_string();
    // Our own sentence shows the value as it is; clap's would show it with its bytes replaced.
    if error.kind() == ErrorKind::ValueValidation
        && let Some(why) = error.source()
    {
        let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string);
        return Err(escape(&format!("{}: {why}", argument.unwrap_or_default())).into_owned());
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Plan::Print(text)),
        // What was typed may hold anything, and is in there.
        _ => {
            let text = text.trim_start_matches("error: ").lines().map(escape);
            // Nothing of ours takes a value that looks like an option.
            let is_of_no_help =
                |line: &str| line.starts_with("For more") || line.starts_with("  tip: to pass ");
            let told = |line: &Cow<'_, str>| !line.is_empty() && !is_of_no_help(line);
            Err(text.filter(told).collect::<Vec<_>>().join("\n"))
        }
    }
}
