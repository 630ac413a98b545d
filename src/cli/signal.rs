//! Signals on the command line: `TERM`, `SIGTERM`, `15`, `RTMIN+3`.

use std::str::FromStr;

use nix::sys::signal::Signal;

/// The first and the last realtime signal, as the C libraries count them: two below are glibc's own,
/// three musl's (signal(7)).
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Parses a signal's name, as kill(1) takes it, or its number. The error is a sentence for the user.
pub fn parse(text: &str) -> Result<i32, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i32>().ok() };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(above), _) => offset(above).map(|above| RTMIN + above).filter(|n| *n >= RTMIN),
        (_, Some(below)) => offset(below).map(|below| RTMAX + below).filter(|n| *n >= RTMIN),
        _ => Signal::from_str(&format!("SIG{name}")).ok().map(|s| s as i32).or(name.parse().ok()),
    };
    number.filter(|number| (1..=RTMAX).contains(number)).ok_or_else(|| {
        format!("'{text}' is no signal: say TERM, INT, USR1, RTMIN+1 or a number to 64")
    })
}

/// The name of a signal, as [`parse`] takes it.
pub fn name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().trim_start_matches("SIG").to_owned(),
        Err(_) if number >= RTMIN => format!("RTMIN+{}", number - RTMIN),
        Err(_) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("TERM", 15)]
    #[case("sigterm", 15)]
    #[case("9", 9)]
    #[case("SIGUSR1", 10)]
    #[case("RTMIN", 34)]
    #[case("SIGRTMIN+3", 37)]
    #[case("RTMAX-1", 63)]
    #[case("33", 33)]
    fn good(#[case] text: &str, #[case] number: i32) {
        assert_eq!(parse(text), Ok(number));
        assert_eq!(parse(&name(number)), Ok(number));
    }

    #[rstest]
    #[case("")]
    #[case("0")]
    #[case("-1")]
    #[case("65")]
    #[case("RTMIN-1")]
    #[case("RTMAX+1")]
    #[case("TERMINATE")]
    #[case("SIG")]
    fn bad(#[case] text: &str) {
        assert!(parse(text).unwrap_err().contains("is no signal"));
    }
}
