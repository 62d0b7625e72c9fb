//! Texts as a terminal shows them.

use crate::log::escape;
use crate::snapshot::key_beside_name;

/// The columns that a text takes in a terminal. Of an own small table: combining marks none, East Asian wide characters and
/// most emoji two (Unicode Standard Annex #11). Emoji of several characters may come out one or two columns off.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

fn width_of(character: char) -> usize {
    match u32::from(character) {
        ..0x300 => 1,
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f | 0xe31 | 0xe34..=0xe3a => 0,
        0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x200b..=0x200d
        | 0x2060
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f => 0,
        0xfeff | 0xe0000..=0xe01ef => 0,
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x33ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xa000..=0xa4cf => 2,
        0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 => 2,
        0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1f9ff | 0x1fa70..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// At most so many columns; what is left out at the end, or in the middle, becomes `…`.
pub(super) fn cut(text: &str, most: usize, middle: bool) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(1);
    let behind = if middle { room / 2 } else { 0 };
    let mut kept = fitting(text.chars(), room - behind);
    kept.push('…');
    let end = fitting(text.chars().rev(), behind);
    kept.extend(end.chars().rev());
    kept
}

fn fitting(characters: impl Iterator<Item = char>, mut room: usize) -> String {
    let fits = |character: &char| {
        let left = room.checked_sub(width_of(*character));
        room = left.unwrap_or_default();
        left.is_some()
    };
    characters.take_while(fits).collect()
}

/// A place in one text: `cluster: namespace/name:key`, or the path of a file. Control characters are escaped.
pub(super) fn place(cluster: &str, namespace: &str, name: &str, key: &str) -> String {
    let mut place = String::new();
    if !cluster.is_empty() {
        place.push_str(cluster);
        place.push_str(": ");
    }
    if !namespace.is_empty() {
        place.push_str(namespace);
        place.push('/');
    }
    place.push_str(name);
    let key = key_beside_name(namespace, name, key);
    if !key.is_empty() {
        place.push(':');
        place.push_str(key);
    }
    escape(&place).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wide_and_narrow_characters() {
        for (text, columns) in [("abc", 3), ("漢字", 4), ("e\u{301}", 1), ("한글", 4), ("🙂", 2), ("ä…", 2)] {
            assert_eq!(width(text), columns, "{text}");
        }
        assert_eq!(cut("abcdefgh", 5, false), "abcd…");
        assert_eq!(cut("abcdefgh", 5, true), "ab…gh");
        assert_eq!(cut("漢字漢字", 4, false), "漢…");
    }

    #[test]
    fn places() {
        assert_eq!(place("", "ns", "s", "k/a"), "ns/s:k/a");
        assert_eq!(place("c", "ns", "s", ""), "c: ns/s");
        assert_eq!(place("", "", "/run/token", "token"), "/run/token");
        assert_eq!(place("", "", "/run/config", "config/users/0"), "/run/config:/users/0");
        assert_eq!(place("", "n", "a\u{202e}", "token"), "n/a\\u{202e}:token");
    }

    proptest! {
        #[test]
        fn what_is_cut_fits(text in "\\PC{0,20}", most in 1usize..12, middle in any::<bool>()) {
            prop_assert!(width(&cut(&text, most, middle)) <= most);
        }
    }
}
