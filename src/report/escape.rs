//! Makes text safe to show: no terminal obeys what somebody wrote into a record.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Escapes control characters, and those that reorder text or cannot be seen.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_as(text, |char| char.escape_default().to_string())
}

/// Does to JSON what [`escape`] does to text, in JSON's own way: all of it stands in strings.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    escape_as(json, |char| {
        let mut units = [0; 2];
        char.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    })
}

fn escape_as(text: &str, how: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if is_unsafe(char) {
            shown.push_str(&how(char));
        } else {
            shown.push(char);
        }
    }
    Cow::Owned(shown)
}

/// Control characters (category Cc), format characters and separators (Cf, Zl, Zp), and what else
/// is to be ignored by default (Default_Ignorable_Code_Point) or is blank without being a space.
fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Escapes bytes that are not UTF-8 as `\xNN`, and what [`escape`] does.
pub fn escape_os(text: &OsStr) -> String {
    let mut shown = String::new();
    for chunk in text.as_bytes().utf8_chunks() {
        shown.push_str(&escape(chunk.valid()));
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// Escapes a path.
pub fn escape_path(path: &Path) -> String {
    escape_os(path.as_os_str())
}

/// A word of a command line as one would type it, quoted where it must be.
pub fn quote(word: &OsStr) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    if !word.is_empty() && word.as_bytes().iter().all(plain) {
        return escape_os(word);
    }
    format!("'{}'", escape_os(word).replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_nothing_to_obey() {
        assert_eq!(escape("a\x1b[2Jb\r\n\u{202e}"), "a\\u{1b}[2Jb\\r\\n\\u{202e}");
        assert_eq!(escape("größe 漢"), "größe 漢");
        assert_eq!(escape("\u{61c}\u{200f}\u{2066}"), "\\u{61c}\\u{200f}\\u{2066}");
        assert_eq!(escape_os(OsStr::from_bytes(b"a\xffb\n")), "a\\xffb\\n");
    }

    /// JSON itself escapes no more than the first 32 characters; U+009B begins a command, too.
    #[test]
    fn terminals_get_nothing_to_obey_in_json() {
        let json = serde_json::json!("a\x1b\x7f\u{9b}2J\u{202e}é");
        let shown = escape_json(&json.to_string()).into_owned();
        assert_eq!(shown, r#""a\u001b\u007f\u009b2J\u202eé""#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), json);
    }

    #[test]
    fn words_are_quoted_only_where_they_must_be() {
        assert_eq!(quote(OsStr::new("--level=3")), "--level=3");
        assert_eq!(quote(OsStr::new("")), "''");
        assert_eq!(quote(OsStr::new("it's")), "'it'\\''s'");
    }
}
