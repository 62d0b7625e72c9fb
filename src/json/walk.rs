//! A walk over JSON text (RFC 8259), as strict as `serde_json`, that says where its values lie and makes nothing of them.
//!
//! It is not generic, and knows no types: a list of Secrets goes through here three times, and a program that is compiled for size would
//! make a dozen calls of every byte of a walk that is put together from visitors.

use super::{JsonFault, MAX_DEPTH, string};
use std::borrow::Cow;

/// Told a member's name and value.
pub(super) type EachMember<'e, 'a> = &'e mut dyn FnMut(Cow<'a, str>, &'a str);

/// Told an element.
pub(super) type EachElement<'e, 'a> = &'e mut dyn FnMut(&'a str);

/// Told a member's name where its value begins, which it goes past.
type AtMember<'e, 'a> = &'e mut dyn FnMut(&mut Walk<'a>, Cow<'a, str>) -> Result<(), JsonFault>;

pub(super) fn members<'a>(object: &'a str, each: EachMember<'_, 'a>) -> Result<(), JsonFault> {
    let mut walk = Walk { text: object, at: 0 };
    walk.object(&mut |walk, name| {
        each(name, walk.value()?);
        Ok(())
    })?;
    walk.end()
}

pub(super) fn members_inside<'a>(
    object: &'a str,
    inside: &str,
    each_inside: EachMember<'_, 'a>,
    each: EachMember<'_, 'a>,
) -> Result<(), JsonFault> {
    let mut walk = Walk { text: object, at: 0 };
    walk.object(&mut |walk, name| {
        if name != inside {
            each(name, walk.value()?);
            return Ok(());
        }
        if walk.next() != Some(b'{') {
            walk.value()?;
            return Err(JsonFault::OtherShape);
        }
        walk.object(&mut |walk, name| {
            each_inside(name, walk.value()?);
            Ok(())
        })
    })?;
    walk.end()
}

pub(super) fn elements<'a>(array: &'a str, each: EachElement<'_, 'a>) -> Result<(), JsonFault> {
    let mut walk = Walk { text: array, at: 0 };
    walk.open(b'[')?;
    if walk.next() == Some(b']') {
        walk.at += 1;
    } else {
        loop {
            each(walk.value()?);
            if !walk.comma_or(b']')? {
                break;
            }
        }
    }
    walk.end()
}

struct Walk<'a> {
    text: &'a str,
    /// What lies before this has been seen, and is in order.
    at: usize,
}

impl<'a> Walk<'a> {
    #[inline(always)]
    fn here(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no white space; the walk stands before it.
    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.here() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    #[cold]
    fn fault(&self) -> JsonFault {
        let seen = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = memchr::memrchr(b'\n', seen).map_or(0, |end| end + 1);
        JsonFault::Syntax { column: (self.at + 1).min(self.text.len()).saturating_sub(line) }
    }

    /// Goes into an object or array. What is whole and JSON of another kind has another fault than what is none.
    fn open(&mut self, bracket: u8) -> Result<(), JsonFault> {
        if self.next() == Some(bracket) {
            self.at += 1;
            return Ok(());
        }
        self.value()?;
        self.end()?;
        Err(JsonFault::OtherShape)
    }

    /// Goes through an object.
    fn object(&mut self, each: AtMember<'_, 'a>) -> Result<(), JsonFault> {
        self.open(b'{')?;
        if self.next() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let name = self.string()?;
            let name = string(name).ok_or_else(|| self.fault())?;
            self.take(b':')?;
            each(self, name)?;
            if !self.comma_or(b'}')? {
                return Ok(());
            }
        }
    }

    fn end(&mut self) -> Result<(), JsonFault> {
        if self.next().is_none() { Ok(()) } else { Err(self.fault()) }
    }

    fn take(&mut self, wanted: u8) -> Result<(), JsonFault> {
        if self.next() != Some(wanted) {
            return Err(self.fault());
        }
        self.at += 1;
        Ok(())
    }

    /// Goes past a comma, or past `close`: then nothing more comes.
    fn comma_or(&mut self, close: u8) -> Result<bool, JsonFault> {
        let byte = self.next();
        if byte != Some(b',') && byte != Some(close) {
            return Err(self.fault());
        }
        self.at += 1;
        Ok(byte == Some(b','))
    }

    /// Goes past a value: it as it is written.
    fn value(&mut self) -> Result<&'a str, JsonFault> {
        self.next();
        let start = self.at;
        // The arrays and objects around the place where the walk stands: the lowest bit is the innermost one, and set for an object.
        let (mut around, mut depth) = (0u64, 0);
        loop {
            let first = self.next();
            match first {
                Some(b'"') => self.skip_string()?,
                Some(b'-' | b'0'..=b'9') => self.skip_number()?,
                Some(b't') => self.skip_word("true")?,
                Some(b'f') => self.skip_word("false")?,
                Some(b'n') => self.skip_word("null")?,
                Some(b'{' | b'[') => {
                    self.at += 1;
                    let is_object = first == Some(b'{');
                    if self.next() != Some(if is_object { b'}' } else { b']' }) {
                        if depth == MAX_DEPTH {
                            return Err(JsonFault::TooDeep);
                        }
                        (around, depth) = (around << 1 | u64::from(is_object), depth + 1);
                        if is_object {
                            self.skip_name()?;
                        }
                        continue;
                    }
                    self.at += 1;
                }
                _ => return Err(self.fault()),
            }
            // A value has ended, and perhaps what it is in.
            loop {
                if depth == 0 {
                    return Ok(self.text.get(start..self.at).unwrap_or_default());
                }
                let in_object = around & 1 == 1;
                if self.comma_or(if in_object { b'}' } else { b']' })? {
                    if in_object {
                        self.skip_name()?;
                    }
                    break;
                }
                (around, depth) = (around >> 1, depth - 1);
            }
        }
    }

    /// A member's name, and the colon.
    fn skip_name(&mut self) -> Result<(), JsonFault> {
        self.string()?;
        self.take(b':')
    }

    /// Goes past a string: it as it is written, with its quotes.
    fn string(&mut self) -> Result<&'a str, JsonFault> {
        if self.next() != Some(b'"') {
            return Err(self.fault());
        }
        let start = self.at;
        self.skip_string()?;
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// From the opening quote past the closing one.
    fn skip_string(&mut self) -> Result<(), JsonFault> {
        self.at += 1;
        loop {
            self.at += plain_bytes(self.text.as_bytes().get(self.at..).unwrap_or_default());
            match self.here() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.skip_escape()?,
                _ => return Err(self.fault()),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), JsonFault> {
        self.at += 1;
        let digits = match self.here() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            _ => return Err(self.fault()),
        };
        self.at += 1;
        for _ in 0..digits {
            if !self.here().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                return Err(self.fault());
            }
            self.at += 1;
        }
        Ok(())
    }

    fn skip_word(&mut self, word: &str) -> Result<(), JsonFault> {
        if !self.text.as_bytes().get(self.at..).unwrap_or_default().starts_with(word.as_bytes()) {
            return Err(self.fault());
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), JsonFault> {
        if self.here() == Some(b'-') {
            self.at += 1;
        }
        // No digit stands behind a zero at the beginning.
        if self.here() == Some(b'0') {
            self.at += 1;
        } else {
            self.skip_digits()?;
        }
        if self.here() == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if matches!(self.here(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.here(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    /// At least one.
    fn skip_digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while self.here().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault()) } else { Ok(()) }
    }
}

/// How many bytes stand before the first quote, backslash or control character (RFC 8259, section 7). Eight at a time are a number: in each
/// byte of a difference the highest bit says that it went below zero. A borrow spoils only what stands behind the first one found.
fn plain_bytes(bytes: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x80 * EACH;
    let mut at = 0;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let eight = u64::from_le_bytes(*eight);
        let (quote, backslash) = (eight ^ (EACH * b'"' as u64), eight ^ (EACH * b'\\' as u64));
        let control = eight.wrapping_sub(EACH * 0x20) & !eight;
        let found = (control | quote.wrapping_sub(EACH) & !quote | backslash.wrapping_sub(EACH) & !backslash) & HIGHEST;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands() {
        for special in (0..0x20).chain([b'"', b'\\']) {
            for at in 0..40 {
                // Neighbours of the special ones, and the highest bytes.
                let mut bytes: Vec<u8> = [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xa2, 0xdc, 0xff].repeat(5);
                assert_eq!(plain_bytes(&bytes), bytes.len());
                bytes[at] = special;
                bytes[at + 1] = b'"';
                assert_eq!(plain_bytes(&bytes), at, "{special:x}");
            }
        }
    }

    #[test]
    fn a_fault_says_where_it_is() {
        for (text, column) in [
            ("", 0),
            ("{", 1),
            ("{\"a\":tru}", 6),
            ("{\"a\":1,}", 8),
            ("{\n\"a\" 1}", 5),
            ("{} x", 4),
            ("{\"\\x\":1}", 4),
        ] {
            assert_eq!(members(text, &mut |_, _| ()), Err(JsonFault::Syntax { column }), "{text}");
        }
    }

    #[test]
    fn one_member_is_gone_into() {
        let walk = |text: &str| {
            let mut seen = Vec::new();
            let seen_twice = std::cell::RefCell::new(&mut seen);
            let end = members_inside(
                text,
                "m",
                &mut |name, value| seen_twice.borrow_mut().push(format!("m/{name}={value}")),
                &mut |name, value| seen_twice.borrow_mut().push(format!("{name}={value}")),
            );
            end.map(|()| seen.join(" "))
        };
        assert_eq!(walk(r#"{"a":1,"m":{"b":[2],"m":{}} ,"c":{"m":3}}"#).unwrap(), r#"a=1 m/b=[2] m/m={} c={"m":3}"#);
        assert_eq!(walk(r#"{"m":{}}"#).unwrap(), "");
        assert_eq!(walk(r#" {"m":[],"a":1}"#), Err(JsonFault::OtherShape));
        assert_eq!(walk(r#"{"m":null}"#), Err(JsonFault::OtherShape));
        assert_eq!(walk(r#"{"m":{"b":1}"#), Err(JsonFault::Syntax { column: 12 }));
        assert_eq!(walk(r#"{"m":{"b":1]}"#), Err(JsonFault::Syntax { column: 12 }));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("[{}{}]", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(elements(&nested(MAX_DEPTH + 1), &mut |_| ()), Ok(()), "of empty ones the innermost is not entered");
        assert_eq!(elements(&nested(MAX_DEPTH + 2), &mut |_| ()), Err(JsonFault::TooDeep));
        assert_eq!(elements(&"[".repeat(100_000), &mut |_| ()), Err(JsonFault::TooDeep));
    }

    /// What `serde_json` says of a text.
    fn theirs(text: &str) -> Result<Vec<(String, String)>, bool> {
        type Lent<'a> = std::collections::BTreeMap<String, serde_json::Value>;
        match serde_json::from_str::<Lent<'_>>(text) {
            Ok(members) => Ok(members.into_iter().map(|(name, value)| (name, value.to_string())).collect()),
            Err(_) => Err(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()),
        }
    }

    fn ours(text: &str) -> Result<Vec<(String, String)>, bool> {
        let mut found = std::collections::BTreeMap::new();
        let parsed = |value: &str| serde_json::from_str::<serde_json::Value>(value).map(|value| value.to_string());
        match members(text, &mut |name, value| {
            found.insert(name.into_owned(), parsed(value).unwrap_or_else(|_| value.to_owned()));
        }) {
            Ok(()) => Ok(found.into_iter().collect()),
            Err(fault) => Err(fault == JsonFault::OtherShape),
        }
    }

    proptest! {
        #[test]
        fn what_serde_reads_reads_the_same(
            text in prop_oneof![
                "[\\[\\]{}\",:0-9a-cnultrefs\\\\. \n-]{0,40}",
                "\\{\"[ab]\":(-?[0-9.eE+]{1,6}|\"[ab\\\\\"nu0-9\t]{0,9}\"|\\[[0-9,{}\\[\\]]{0,9}\\]|[truefalsn]{4,5})(,\"c\":1)?\\}",
            ]
        ) {
            let (ours, theirs) = (ours(&text), theirs(&text));
            // Numbers too large for a double and halves of surrogate pairs are a matter of reading, not of the walk.
            if theirs.is_ok() || ours.is_err() {
                prop_assert_eq!(ours, theirs);
            } else {
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
            }
        }
    }
}
