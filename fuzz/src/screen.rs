//! What may reach a terminal. Written apart from the product's own rule.

/// Bytes that are harmless whatever surrounds them; a table, so that a fuzzer, which watches every
/// comparison, has less to watch.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = true;
        byte += 1;
    }
    plain[b'\n' as usize] = true;
    plain
};

/// Fails when a terminal would obey something in `text`, or show it in another order than it
/// stands. A newline is allowed: the callers count their lines.
pub fn assert_harmless(text: &str) {
    if text.bytes().all(|byte| PLAIN[usize::from(byte)]) {
        return;
    }
    let harmful = |char: &char| match u32::from(*char) {
        0x0a => false,
        0x00..=0x1f | 0x7f..=0x9f => true,         // C0, DEL, C1
        0x2028 | 0x2029 => true,                   // line and paragraph separators
        0x061c | 0x200e | 0x200f => true,          // Unicode's Bidi_Control
        0x202a..=0x202e | 0x2066..=0x2069 => true, // … and the rest of it
        _ => false,
    };
    if let Some(char) = text.chars().find(harmful) {
        panic!("{char:?} would reach the screen in {text:?}");
    }
}

/// The same of a text that must be one line.
pub fn assert_one_line(text: &str) {
    assert_harmless(text);
    let line = text.strip_suffix('\n').unwrap_or(text);
    assert!(!line.contains('\n'), "more than one line: {text:?}");
}
