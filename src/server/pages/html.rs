//! Text from outside, made harmless for HTML.

use crate::log::escape;

/// A value longer than this many characters is cut where it is shown.
pub(super) const MOST_SHOWN: usize = 160;

/// Appends a text so that it is nothing but text, between tags and in a quoted attribute alike. Control characters and those
/// that turn the direction of text are spelled out.
pub(super) fn push_text(page: &mut String, text: &str) {
    for character in escape(text).chars() {
        match character {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            other => page.push(other),
        }
    }
}

/// The same, cut.
pub(super) fn push_cut(page: &mut String, text: &str) {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => {
            push_text(page, text.get(..end).unwrap_or_default());
            page.push('…');
        }
        None => push_text(page, text),
    }
}

/// The same as a value.
pub(super) fn text(value: &str) -> String {
    let mut page = String::with_capacity(value.len());
    push_text(&mut page, value);
    page
}

/// `20,000`
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, wanted) in [(0, "0"), (999, "999"), (1000, "1,000"), (20_000, "20,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), wanted);
        }
    }

    #[test]
    fn what_is_long_is_cut() {
        let mut page = String::new();
        push_cut(&mut page, &"<".repeat(MOST_SHOWN + 1));
        assert_eq!(page, "&lt;".repeat(MOST_SHOWN) + "…");
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_place(value in any::<String>()) {
            let shown = text(&value);
            let harmless = !shown.contains(['<', '>', '"', '\'', '\n', '\u{202e}', '\0']);
            prop_assert!(harmless, "{}", shown);
            let unescaped = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
            let unescaped = unescaped.replace("&amp;", "&");
            prop_assert_eq!(unescaped, escape(&value).into_owned());
        }
    }
}
