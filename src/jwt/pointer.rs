//! JSON Pointers (RFC 6901) into texts that are walked, not built.

use crate::json;
use std::fmt;

/// A JSON Pointer with at least one reference token, such as `/realm_access/roles/0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer {
    first: Box<str>,
    rest: Box<[Box<str>]>,
}

/// Why a text is no [`JsonPointer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerError {
    /// The empty pointer is the whole document, which is no claim.
    Empty,
    /// RFC 6901, section 3: a pointer starts with `/`.
    NoLeadingSlash,
    /// `~` stands for itself only as `~0`, and `~1` is a slash.
    BadEscape,
}

impl fmt::Display for PointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a JSON Pointer to a claim must not be empty",
            Self::NoLeadingSlash => "a JSON Pointer starts with a slash",
            Self::BadEscape => "in a JSON Pointer `~` is written `~0`, and `/` inside a name `~1`",
        })
    }
}

impl std::error::Error for PointerError {}

impl std::str::FromStr for JsonPointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Err(PointerError::Empty);
        }
        let tokens = text.strip_prefix('/').ok_or(PointerError::NoLeadingSlash)?;
        let mut tokens = tokens.split('/').map(unescape);
        // `split` yields at least one piece, also of an empty text: `/` is the member with the empty name.
        let first = tokens.next().ok_or(PointerError::Empty)??;
        Ok(Self { first, rest: tokens.collect::<Result<_, _>>()? })
    }
}

impl JsonPointer {
    /// The name of the top-level member that the pointer starts from.
    #[must_use]
    pub fn first(&self) -> &str {
        &self.first
    }

    /// Follows the rest of the pointer from the value of [`first`](Self::first), as it is written in the document.
    /// `null` is as good as absent. A repeated member: the last one counts.
    #[must_use]
    pub fn follow<'a>(&self, value: &'a str) -> Option<&'a str> {
        let found = self.rest.iter().try_fold(value, |value, token| match value.as_bytes().first()? {
            b'{' => {
                let mut found = None;
                json::members(value, |name, inner| {
                    if name == **token {
                        found = Some(inner);
                    }
                })
                .ok()?;
                found
            }
            b'[' => {
                let wanted = index(token)?;
                let (mut at, mut found) = (0usize, None);
                json::elements(value, |inner| {
                    if at == wanted {
                        found = Some(inner);
                    }
                    at += 1;
                })
                .ok()?;
                found
            }
            _ => None,
        })?;
        (found != "null").then_some(found)
    }
}

/// The written form, escaped.
impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        push_token(&mut text, &self.first);
        self.rest.iter().for_each(|token| push_token(&mut text, token));
        f.write_str(&text)
    }
}

/// RFC 6901, section 4: digits without a leading zero. `-` is the element behind the last, which never is there.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { token.parse().ok() } else { None }
}

fn unescape(token: &str) -> Result<Box<str>, PointerError> {
    let mut pieces = token.split('~');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (escaped, rest) = match piece.as_bytes().first() {
            Some(b'0') => ('~', piece.get(1..)),
            Some(b'1') => ('/', piece.get(1..)),
            _ => return Err(PointerError::BadEscape),
        };
        plain.push(escaped);
        plain.push_str(rest.unwrap_or_default());
    }
    Ok(plain.into())
}

/// Appends `name` to a pointer in its written form, escaped.
pub fn push_token(pointer: &mut String, name: &str) {
    pointer.push('/');
    for character in name.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The document of RFC 6901, section 5.
    const RFC: &str =
        r#"{"foo": ["bar", "baz"],"": 0,"a/b": 1,"c%d": 2,"e^f": 3,"g|h": 4,"i\\j": 5,"k\"l": 6," ": 7,"m~n": 8}"#;

    #[test]
    fn a_pointer_is_written_as_it_was_read() {
        for text in ["/", "/a", "/a/0/b", "/a~1b/m~0n", "//"] {
            assert_eq!(text.parse::<JsonPointer>().unwrap().to_string(), text);
        }
    }

    fn lookup<'a>(document: &'a str, pointer: &str) -> Option<&'a str> {
        let pointer: JsonPointer = pointer.parse().unwrap();
        let mut found = None;
        json::members(document, |name, value| {
            if name == pointer.first() {
                found = Some(value);
            }
        })
        .unwrap();
        pointer.follow(found?)
    }

    #[test]
    fn the_examples_of_rfc_6901() {
        for (pointer, value) in [
            ("/foo", r#"["bar", "baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(lookup(RFC, pointer), Some(value), "{pointer}");
        }
        for pointer in ["/foo/2", "/foo/-", "/foo/00", "/foo/bar", "/foo/0/x", "/nope", "/foo/99999999999999999999999"]
        {
            assert_eq!(lookup(RFC, pointer), None, "{pointer}");
        }
    }

    #[test]
    fn nested_nulls_and_repeats() {
        assert_eq!(lookup(r#"{"a":{"b":1,"b":{"c":[2]}}}"#, "/a/b/c/0"), Some("2"));
        assert_eq!(lookup(r#"{"a":null}"#, "/a"), None);
    }

    #[test]
    fn what_is_no_pointer() {
        assert_eq!("".parse::<JsonPointer>(), Err(PointerError::Empty));
        assert_eq!("scope".parse::<JsonPointer>(), Err(PointerError::NoLeadingSlash));
        for text in ["/a~", "/a~2", "/~/b"] {
            assert_eq!(text.parse::<JsonPointer>(), Err(PointerError::BadEscape), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_name_reads_back(name in "\\PC{0,20}") {
            let mut written = String::new();
            push_token(&mut written, &name);
            let pointer: JsonPointer = written.parse().unwrap();
            prop_assert_eq!(pointer.first(), name);
        }
    }
}
