//! Durations on the command line: `90`, `0.5`, `5m`, `1h30m`.

use std::time::Duration;

/// Parses a duration: bare seconds, fractions allowed, as flock(1) takes them; else numbers with
/// units. The error is a sentence for the user.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = |why: &str| format!("'{text}' is no duration{why}: say 90, 0.5, 5m or 1h30m");
    match text.parse::<f64>() {
        Ok(seconds) => match Duration::try_from_secs_f64(seconds) {
            // 0 means no limit.
            Ok(Duration::ZERO) if seconds != 0.0 => Err(wrong(" (it is too short)")),
            Ok(duration) => Ok(duration),
            Err(_) if seconds < 0.0 => Err(wrong(" (it is negative)")),
            Err(_) => Err(wrong(" (it is out of range)")),
        },
        Err(_) => humantime::parse_duration(text).map_err(|_| wrong("")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("90", 90_000)]
    #[case("0.5", 500)]
    #[case(".5", 500)]
    #[case("0", 0)]
    #[case("5m", 300_000)]
    #[case("1h30m", 5_400_000)]
    #[case("250ms", 250)]
    fn good(#[case] text: &str, #[case] milliseconds: u64) {
        assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)));
    }

    #[rstest]
    #[case("")]
    #[case("-1")]
    #[case("nan")]
    #[case("inf")]
    #[case("1e30")]
    #[case("1e-30")]
    #[case("5 apples")]
    #[case("m")]
    #[case("99999999999999999999y")]
    fn bad(#[case] text: &str) {
        assert!(parse(text).unwrap_err().contains("is no duration"));
    }
}
