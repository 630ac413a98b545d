//! Sizes on the command line: `4096`, `64K`, `10M`, `1G`.

/// Parses a number of bytes, with units of 1024. The error is a sentence for the user.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no size: say 4096, 64K, 10M or 1G");
    let (digits, unit) = match text.as_bytes().last().ok_or_else(wrong)? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1_u64),
    };
    let count = digits.parse::<u64>().map_err(|_| wrong())?;
    count.checked_mul(unit).filter(|size| *size > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1", 1)]
    #[case("4096", 4096)]
    #[case("64K", 65_536)]
    #[case("10m", 10_485_760)]
    #[case("2G", 2_147_483_648)]
    fn good(#[case] text: &str, #[case] bytes: u64) {
        assert_eq!(parse(text), Ok(bytes));
    }

    #[rstest]
    #[case("")]
    #[case("0")]
    #[case("K")]
    #[case("-1")]
    #[case("1.5M")]
    #[case("10 apples")]
    #[case("10MB")]
    #[case("1ä")]
    #[case("99999999999999999999")]
    #[case("99999999999G")]
    fn bad(#[case] text: &str) {
        assert!(parse(text).unwrap_err().contains("is no size"));
    }
}
