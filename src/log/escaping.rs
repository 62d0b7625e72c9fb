//! Text from outside, made harmless for logs, terminals and error messages.

use std::borrow::Cow;
use std::fmt::Write;

/// Writes control characters (C0, DEL, C1), line and paragraph separators and the controls of bidirectional text as
/// escapes such as `\n`, `\x1b` and `\u{202e}`. Everything else, backslashes too, stays as it is: the result is for
/// people, not for reading back.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if u32::from(c) < 0x80 && c.is_control() => {
                let _ = write!(escaped, "\\x{:02x}", u32::from(c));
            }
            c if is_harmful(c) => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// See [`escape`].
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' // marks of direction
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // embeddings, overrides, isolates
            | '\u{2028}' | '\u{2029}') // separators of lines and paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn harmful_characters_are_spelled_out() {
        for (text, wanted) in [
            ("plain äöü 漢字 🙂 \\n", "plain äöü 漢字 🙂 \\n"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\0\x1b[31m\x7f", "\\x00\\x1b[31m\\x7f"),
            ("\u{85}\u{9b}31m", "\\u{85}\\u{9b}31m"),
            ("\u{202e}\u{2066}\u{2069}\u{200f}\u{61c}", "\\u{202e}\\u{2066}\\u{2069}\\u{200f}\\u{61c}"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
            ("", ""),
        ] {
            assert_eq!(escape(text), wanted);
        }
    }

    #[test]
    fn harmless_text_is_not_copied() {
        assert!(matches!(escape("all is well"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_one_line_without_controls(text in any::<String>()) {
            let escaped = escape(&text).into_owned();
            prop_assert!(!escaped.chars().any(char::is_control));
            prop_assert_eq!(escape(&escaped), escaped.as_str());
        }
    }
}
