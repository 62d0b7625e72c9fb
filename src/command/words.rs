//! Dates, spans of time and texts as a terminal shows them.

use crate::log::escape;
use crate::time::UnixSeconds;

/// `3 d 4 h`: the two largest units of a span. A year has 365 days.
pub(super) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 5] = [(365 * 86_400, "y"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in UNITS.iter().skip(first).take(2) {
        if rest >= *unit || parts.is_empty() {
            parts.push(format!("{} {name}", rest / unit));
        }
        rest %= unit;
    }
    parts.join(" ")
}

/// `in 3 d 4 h`, `2 h ago`, `now`.
pub(super) fn from_now(at: UnixSeconds, now: UnixSeconds) -> String {
    match at.since(now) {
        0 => "now".to_owned(),
        ahead @ 1.. => format!("in {}", span(ahead.unsigned_abs())),
        behind => format!("{} ago", span(behind.unsigned_abs())),
    }
}

/// When something expires: `in 3 d 4 h`, `expired 2 h ago`, `never`.
pub(super) fn expiry(expires: Option<UnixSeconds>, now: UnixSeconds) -> String {
    match expires {
        None => "never".to_owned(),
        Some(at) if at > now => from_now(at, now),
        Some(at) if at == now => "expired now".to_owned(),
        Some(at) => format!("expired {}", from_now(at, now)),
    }
}

/// `2026-11-22 04:30:00 UTC`
pub(super) fn date(at: UnixSeconds) -> String {
    at.to_string().replacen('T', " ", 1).replacen('Z', " UTC", 1)
}

/// `2026-11-22 04:30`, for columns whose heading says UTC.
pub(super) fn minute(at: UnixSeconds) -> String {
    let text = at.to_string().replacen('T', " ", 1);
    text.get(..text.len().saturating_sub(4)).unwrap_or(&text).to_owned()
}

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
    // Of a file, the key begins with its name.
    let file_name = if namespace.is_empty() { name.rsplit('/').next() } else { None };
    let key = match file_name.and_then(|file| key.strip_prefix(file)) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => key,
    };
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
    fn spans_have_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min 59 s"),
            (7200, "2 h"),
            (273_600, "3 d 4 h"),
            (86_400, "1 d"),
            (86_459, "1 d"),
            (10 * 365 * 86_400 + 3 * 86_400, "10 y 3 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn dates_in_words() {
        let now = UnixSeconds(1_795_321_800);
        assert_eq!(date(now), "2026-11-22 04:30:00 UTC");
        assert_eq!(minute(now), "2026-11-22 04:30");
        for (ahead, text) in [(273_600, "in 3 d 4 h"), (-7200, "expired 2 h ago"), (0, "expired now"), (1, "in 1 s")] {
            assert_eq!(expiry(Some(now.plus(ahead)), now), text);
        }
        assert_eq!(expiry(None, now), "never");
        let _ = (expiry(Some(UnixSeconds(i64::MIN)), now), minute(UnixSeconds(i64::MAX)));
    }

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
