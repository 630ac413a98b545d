//! The manual is generated from the command line's definition and `man/sections.roff`; here the
//! committed one is compared. `UPDATE_MAN=1 cargo test --test man` writes it anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

use std::path::Path;

use clap_mangen::Man;
use jobguard::cli::args::full_command;

fn rendered() -> String {
    let mut page = Vec::new();
    let mut command = full_command();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    page.extend_from_slice(b".SH SUBCOMMANDS\n");
    for sub in command.get_subcommands() {
        let name = sub.get_name();
        let usage = sub.clone().render_usage().to_string().replace("Usage: ", "");
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        page.extend_from_slice(
            format!(".SS {name}\n{about}.\n.PP\n.nf\n{usage}\n.fi\n").as_bytes(),
        );
        for argument in sub.get_arguments() {
            let Some(help) = argument.get_help() else { continue };
            // What every command takes stands under OPTIONS.
            if command.get_arguments().any(|general| general.get_id() == argument.get_id()) {
                continue;
            }
            page.extend_from_slice(format!(".TP\n\\fB{argument}\\fR\n{help}\n").as_bytes());
        }
    }
    page.extend_from_slice(include_bytes!("../man/sections.roff"));
    String::from_utf8(page).unwrap()
}

#[test]
fn the_committed_manual_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/jobguard.1");
    let rendered = rendered();
    if std::env::var_os("UPDATE_MAN").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, rendered, "run UPDATE_MAN=1 cargo test --test man");
}
