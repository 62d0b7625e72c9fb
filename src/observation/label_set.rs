//! Label sets in the text format, written once when a token is read and sent as they are at every scrape.
//! (Prometheus, "Exposition formats", text-based format: label values escape `\`, `"` and the line feed.)

pub use crate::jwt::without_tokens;

/// A label value longer than this is cut: claims may be megabytes, and every scrape would carry them.
pub const MAX_LABEL_BYTES: usize = 512;

/// What a cut value ends in; it counts towards [`MAX_LABEL_BYTES`].
const ELLIPSIS: &str = "…";

/// Appends `name="value"`, escaped and cut, and without a token in it.
pub fn push_label(set: &mut String, name: &str, value: &str) {
    set.push_str(name);
    set.push_str("=\"");
    push_value(set, &without_tokens(value));
    set.push('"');
}

fn push_value(set: &mut String, value: &str) {
    let (kept, mark) = cut(value);
    let mut rest = kept;
    while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', rest.as_bytes()) {
        let (before, special) = rest.split_at(at);
        set.push_str(before);
        set.push_str(match special.as_bytes().first() {
            Some(b'\\') => "\\\\",
            Some(b'"') => "\\\"",
            _ => "\\n",
        });
        rest = special.get(1..).unwrap_or_default();
    }
    set.push_str(rest);
    set.push_str(mark);
}

/// The part of `value` that is kept, and what follows it.
fn cut(value: &str) -> (&str, &'static str) {
    if value.len() <= MAX_LABEL_BYTES {
        return (value, "");
    }
    // A character has four bytes at most: one of these positions is the beginning of one.
    let most = MAX_LABEL_BYTES - ELLIPSIS.len();
    let kept = (most - 3..=most).rev().find_map(|end| value.get(..end));
    (kept.unwrap_or_default(), ELLIPSIS)
}

/// The value of a label in a set that [`push_label`] wrote.
#[must_use]
pub fn label_value(set: &str, name: &str) -> Option<String> {
    let mut rest = set;
    loop {
        let (found, behind) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = behind.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    escaped => value.push(escaped),
                },
                (_, character) => value.push(character),
            }
        };
        if found.trim_start_matches(',') == name {
            return Some(value);
        }
        rest = behind.get(end + 1..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn label(value: &str) -> String {
        let mut set = String::new();
        push_label(&mut set, "a", value);
        set
    }

    /// What a scraper makes of it.
    fn read_back(set: &str) -> String {
        label_value(set, "a").unwrap()
    }

    #[test]
    fn the_three_special_characters() {
        assert_eq!(label("a\\b\"c\nd\te"), "a=\"a\\\\b\\\"c\\nd\te\"");
        assert_eq!(label(""), "a=\"\"");
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        assert_eq!(read_back(&label(&"x".repeat(512))).len(), 512);
        let cut = read_back(&label(&"x".repeat(513)));
        assert_eq!(cut, format!("{}…", "x".repeat(509)));
        let cut = read_back(&label(&"é".repeat(400)));
        assert_eq!(cut, format!("{}…", "é".repeat(254)));
    }

    #[test]
    fn no_token_gets_into_a_label() {
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl";
        assert_eq!(label(token), "a=\"…\"");
        assert_eq!(label(&format!("doc.json/{token}/{token}x y")), "a=\"doc.json/…/… y\"");
        assert_eq!(label(&format!("é{token}é")), "a=\"é…é\"");
        for harmless in ["eyJ", "keyJar.a.b", "eyJhbGciOiJub25lIn0", "a.eyJ.c"] {
            assert_eq!(label(harmless), format!("a=\"{harmless}\""));
        }
    }

    #[test]
    fn one_of_several_is_found_by_its_name() {
        let mut set = String::new();
        for (name, value) in [("aa", "a=\"x\",a=\"y"), ("b", ""), ("a", "\\,\n")] {
            push_label(&mut set, name, value);
            set.push(',');
        }
        assert_eq!(label_value(&set, "a").unwrap(), "\\,\n");
        assert_eq!(label_value(&set, "b").unwrap(), "");
        for (set, name) in [(set.as_str(), "c"), ("", "a"), ("a=", "a"), ("a=\"b", "a"), ("a=\"\\", "a")] {
            assert_eq!(label_value(set, name), None, "{set}");
        }
    }

    proptest! {
        #[test]
        fn values_read_back(value in "(?s).{0,300}") {
            let read = read_back(&label(&value));
            if value.len() <= MAX_LABEL_BYTES {
                prop_assert_eq!(read, value);
            } else {
                prop_assert!(read.len() <= MAX_LABEL_BYTES && read.ends_with('…'));
            }
        }
    }
}
