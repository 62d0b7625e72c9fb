//! Walks over the members and elements of a JSON text without building a tree.
//!
//! Every value is lent as the text that stands in the document, so that a walk costs one pass and no allocation, and only what is
//! wanted is read further. Skipped values are not entered recursively.

mod value;
mod walk;

pub use value::{Duplicates, NotJson, Value};

use serde::de::{Deserializer as _, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Why bytes are not the JSON that was asked for. Never holds a piece of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// Not UTF-8.
    NotUtf8,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// JSON of another shape: no object, or no array, where one was expected.
    OtherShape,
    /// Not JSON.
    Syntax {
        /// Where, counted in bytes from one; of its line, if there are several.
        column: usize,
    },
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("is not UTF-8"),
            Self::TooDeep => write!(f, "is nested deeper than {MAX_DEPTH} levels"),
            Self::OtherShape => f.write_str("is not a JSON object"),
            Self::Syntax { column } => write!(f, "is not JSON (byte {column})"),
        }
    }
}

impl std::error::Error for JsonFault {}

/// Arrays and objects within one another. Tokens of this world have two or three levels.
pub const MAX_DEPTH: usize = 64;

/// Reads bytes as UTF-8 JSON text of bounded depth.
///
/// # Errors
/// [`JsonFault::NotUtf8`] and [`JsonFault::TooDeep`]; syntax is left to the walk.
pub fn text(bytes: &[u8]) -> Result<&str, JsonFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonFault::NotUtf8)?;
    if has_many_brackets(bytes) && depth(bytes) > MAX_DEPTH { Err(JsonFault::TooDeep) } else { Ok(text) }
}

/// Whether there are more opening brackets than can be too deep, wherever they stand. Nearly no text of a token has so many, and to count
/// them takes a tenth of the time of [`depth`].
fn has_many_brackets(bytes: &[u8]) -> bool {
    memchr::memchr2_iter(b'{', b'[', bytes).nth(MAX_DEPTH).is_some()
}

/// The deepest nesting of brackets outside of strings; exact for JSON, some number for anything else.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for &byte in bytes {
        if in_string {
            (escaped, in_string) = (byte == b'\\' && !escaped, byte != b'"' || escaped);
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Calls `each` with every member of a JSON object: its name, and its value as it is written. A repeated name comes again.
///
/// # Errors
/// [`JsonFault::OtherShape`], [`JsonFault::Syntax`], and [`JsonFault::TooDeep`] for a value that is nested deeper than [`MAX_DEPTH`]; what came
/// before the fault has been seen by `each`.
pub fn members<'a>(object: &'a str, mut each: impl FnMut(Cow<'a, str>, &'a str)) -> Result<(), JsonFault> {
    walk::members(object, &mut each)
}

/// The same, but goes into the member of the name `inside`, which must be an object, and calls `each_inside` with what is in it.
///
/// # Errors
/// As [`members`].
pub fn members_inside<'a>(
    object: &'a str,
    inside: &str,
    mut each_inside: impl FnMut(Cow<'a, str>, &'a str),
    mut each: impl FnMut(Cow<'a, str>, &'a str),
) -> Result<(), JsonFault> {
    walk::members_inside(object, inside, &mut each_inside, &mut each)
}

/// Calls `each` with every element of a JSON array, as it is written.
///
/// # Errors
/// As [`members`].
pub fn elements<'a>(array: &'a str, mut each: impl FnMut(&'a str)) -> Result<(), JsonFault> {
    walk::elements(array, &mut each)
}

/// The text of a JSON string, borrowed unless it has escapes; `None` for any other value. The value is one that [`members`] or
/// [`elements`] lent: that it is well-formed is not looked at again.
#[must_use]
pub fn string(value: &str) -> Option<Cow<'_, str>> {
    if !value.starts_with('"') {
        return None;
    }
    // Nearly every text, and every value of a Secret: nothing in it has to be replaced.
    if let Some(inner) = value.get(1..).and_then(|rest| rest.strip_suffix('"'))
        && memchr::memchr(b'\\', inner.as_bytes()).is_none()
    {
        return Some(Cow::Borrowed(inner));
    }
    let mut deserializer = serde_json::Deserializer::from_str(value);
    deserializer.deserialize_str(Text).ok()
}

/// A string that borrows from the document where it can. (`Cow<str>` itself always copies in serde.)
struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn walk(object: &str) -> Result<Vec<(String, String)>, JsonFault> {
        let mut seen = Vec::new();
        members(object, |name, value| seen.push((name.into_owned(), value.to_owned()))).map(|()| seen)
    }

    #[test]
    fn texts_with_and_without_escapes() {
        for (value, wanted) in [
            (r#""""#, Some("")),
            (r#""a b""#, Some("a b")),
            ("\"\u{7f}é\"", Some("\u{7f}é")),
            (r#""a\"b""#, Some("a\"b")),
            (r#""\u00e9\n""#, Some("é\n")),
            ("\"", None),
            (r#""\""#, None),
            ("7", None),
            ("", None),
        ] {
            assert_eq!(string(value).as_deref(), wanted, "{value}");
        }
    }

    #[test]
    fn values_are_lent_as_they_are_written() {
        let seen = walk(r#" {"a": 1.50, "b\u0062":[1, {"x":"}"}] ,"a":"\n"} "#).unwrap();
        let seen: Vec<(&str, &str)> = seen.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(seen, [("a", "1.50"), ("bb", r#"[1, {"x":"}"}]"#), ("a", r#""\n""#)]);
    }

    #[test]
    fn other_shapes_and_no_shape() {
        for text in ["[]", "null", "1", r#""x""#, " true"] {
            assert_eq!(walk(text), Err(JsonFault::OtherShape), "{text}");
        }
        for text in ["", "{", "{}}", "{} x", "x", r#"{"a":}"#, r#"{"a":1,}"#, "{'a':1}"] {
            assert!(matches!(walk(text), Err(JsonFault::Syntax { .. })), "{text}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        assert_eq!(depth(br#"{"a":[[]],"b":"[[[[\"[["}"#), 3);
        assert_eq!(depth(br#""\\"[[]]"#), 2);
        let deep = "[".repeat(100_000);
        assert_eq!(text(deep.as_bytes()), Err(JsonFault::TooDeep));
        let just = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(text(just.as_bytes()), Ok(just.as_str()));
    }

    proptest! {
        #[test]
        fn no_text_panics(document in "\\PC{0,60}") {
            let _ = walk(&document);
            let _ = string(&document);
            let _ = elements(&document, |_| ());
        }
    }
}
