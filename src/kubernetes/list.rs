//! Reads a List from the API server one object at a time (Kubernetes API concepts, "Collections").
//!
//! The answer is a JSON object with `metadata` and `items`, hundreds of megabytes for a large cluster. A window moves over
//! the stream: it holds the object that is being looked at and what one read brought beyond it, and every object is lent
//! where it lies. Only brackets and quotes are looked for here, at the speed of memory; parsing is left to whoever gets
//! the object.

use crate::json;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

/// One object may have so many bytes. etcd takes 1.5 MiB unless told otherwise; base64 adds a third to a Secret's values.
pub const MAX_OBJECT_BYTES: usize = 16 * 1024 * 1024;

/// What one read asks for. A TLS record carries 16 KiB, and larger windows made nothing faster.
const READ_BYTES: usize = 64 * 1024;

/// The ListMeta of a list (apimachinery, `meta/v1.ListMeta`), as far as it is needed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ListMeta {
    /// The state that the list shows; where a watch goes on from.
    pub resource_version: String,
    /// For the next page; empty after the last.
    pub continue_token: String,
}

/// Why a list could not be read to its end. What came before has been handed over.
#[derive(Debug)]
pub enum ListError {
    /// The connection failed.
    Io(io::Error),
    /// The stream ended inside the list.
    CutOff,
    /// The answer is not a List in JSON.
    NotAList {
        /// What was expected.
        expected: &'static str,
        /// How many bytes of the answer were in order.
        at: u64,
    },
    /// One object is larger than [`MAX_OBJECT_BYTES`].
    ObjectTooLarge,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the list could not be read: {error}"),
            Self::CutOff => f.write_str("the list ended before its end: the connection was cut"),
            Self::NotAList { expected, at } => {
                write!(f, "the answer is not a list of objects in JSON: {expected} was expected at byte {at}")
            }
            Self::ObjectTooLarge => write!(f, "an object of the list has more than {MAX_OBJECT_BYTES} bytes"),
        }
    }
}

impl std::error::Error for ListError {}

/// Calls `each` with the bytes of every item of the list in `body`, reads to the end of the stream, and returns the
/// list's metadata.
///
/// # Errors
/// [`ListError`], at the first byte that is not in order.
pub fn read_list(body: impl Read, mut each: impl FnMut(&[u8])) -> Result<ListMeta, ListError> {
    let mut window = Window::new(body);
    let mut meta = ListMeta::default();
    let mut has_items = false;
    window.take(b'{', "an object")?;
    if window.peek()? != b'}' {
        loop {
            let name = window.value()?;
            let is_items = window.bytes(&name) == b"\"items\"";
            let is_metadata = window.bytes(&name) == b"\"metadata\"";
            if window.bytes(&name).first() != Some(&b'"') {
                return Err(window.not_a_list("a member's name"));
            }
            window.advance(name.end);
            window.take(b':', "a colon")?;
            if is_items {
                has_items = true;
                read_items(&mut window, &mut each)?;
            } else {
                let value = window.value()?;
                if is_metadata {
                    meta =
                        list_meta(window.bytes(&value)).ok_or_else(|| window.not_a_list("the metadata of a list"))?;
                }
                window.advance(value.end);
            }
            if !window.comma_before(b'}')? {
                break;
            }
        }
    }
    window.take(b'}', "the end of the object")?;
    if !has_items {
        return Err(window.not_a_list("a member `items`"));
    }
    // To the end of the stream: a chunked body has its last chunk behind it, and the connection can then be used again.
    window.expect_end()?;
    Ok(meta)
}

fn read_items<R: Read>(window: &mut Window<R>, each: &mut impl FnMut(&[u8])) -> Result<(), ListError> {
    if window.peek()? == b'n' {
        // Go writes an empty slice that was never made as null.
        let null = window.value()?;
        if window.bytes(&null) != b"null" {
            return Err(window.not_a_list("an array of items"));
        }
        window.advance(null.end);
        return Ok(());
    }
    window.take(b'[', "an array of items")?;
    if window.peek()? != b']' {
        loop {
            if window.peek()? != b'{' {
                return Err(window.not_a_list("an object as item"));
            }
            let item = window.value()?;
            each(window.bytes(&item));
            window.advance(item.end);
            if !window.comma_before(b']')? {
                break;
            }
        }
    }
    window.take(b']', "the end of the items")
}

fn list_meta(metadata: &[u8]) -> Option<ListMeta> {
    let mut meta = ListMeta::default();
    json::members(std::str::from_utf8(metadata).ok()?, |name, value| match &*name {
        "resourceVersion" => meta.resource_version = json::string(value).unwrap_or_default().into_owned(),
        "continue" => meta.continue_token = json::string(value).unwrap_or_default().into_owned(),
        _ => {}
    })
    .ok()?;
    Some(meta)
}

/// The part of the stream that is in memory.
struct Window<R> {
    body: R,
    buffer: Vec<u8>,
    /// What lies before this has been dealt with.
    start: usize,
    /// What lies behind this has not been read yet.
    end: usize,
    /// Bytes of the stream before the buffer.
    before: u64,
}

impl<R: Read> Window<R> {
    fn new(body: R) -> Self {
        Self { body, buffer: vec![0; READ_BYTES], start: 0, end: 0, before: 0 }
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }

    fn not_a_list(&self, expected: &'static str) -> ListError {
        ListError::NotAList { expected, at: self.before + self.start as u64 }
    }

    /// Goes on behind `end`, a position in the buffer.
    fn advance(&mut self, end: usize) {
        self.start = end;
    }

    /// Reads more. Positions behind `start` move with it to the front of the buffer: the return value says how far.
    fn read_more(&mut self) -> Result<usize, ListError> {
        let moved = self.start;
        if moved > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.before += moved as u64;
            self.end -= moved;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            if self.end >= MAX_OBJECT_BYTES {
                return Err(ListError::ObjectTooLarge);
            }
            self.buffer.resize(self.end * 2, 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.body.read(room) {
                Ok(0) => return Err(ListError::CutOff),
                Ok(read) => {
                    self.end += read;
                    return Ok(moved);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ListError::Io(error)),
            }
        }
    }

    /// The next byte that is no white space, without going past it.
    fn peek(&mut self) -> Result<u8, ListError> {
        loop {
            let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
            match rest.iter().position(|byte| !is_space(*byte)) {
                Some(at) => {
                    self.start += at;
                    return Ok(rest.get(at).copied().unwrap_or_default());
                }
                None => {
                    self.start = self.end;
                    self.read_more()?;
                }
            }
        }
    }

    fn take(&mut self, wanted: u8, expected: &'static str) -> Result<(), ListError> {
        if self.peek()? != wanted {
            return Err(self.not_a_list(expected));
        }
        self.start += 1;
        Ok(())
    }

    /// Takes a comma, or sees `close`, which is left where it is.
    fn comma_before(&mut self, close: u8) -> Result<bool, ListError> {
        match self.peek()? {
            b',' => {
                self.start += 1;
                Ok(true)
            }
            byte if byte == close => Ok(false),
            _ => Err(self.not_a_list("a comma")),
        }
    }

    /// Where the value that comes next lies, read whole. Its inside may be anything with brackets and quotes in order.
    fn value(&mut self) -> Result<Range<usize>, ListError> {
        let first = self.peek()?;
        let mut at = self.start;
        match first {
            b'{' | b'[' => {
                let mut depth = 0usize;
                loop {
                    let Some(&byte) = self.buffer.get(at..self.end).and_then(<[u8]>::first) else {
                        at -= self.read_more()?;
                        continue;
                    };
                    match byte {
                        b'"' => {
                            at = self.string_end(at)?;
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                    at += 1;
                    if depth == 0 {
                        return Ok(self.start..at);
                    }
                }
            }
            b'"' => {
                at = self.string_end(at)?;
                Ok(self.start..at)
            }
            _ => loop {
                // A number or a word: until something that cannot belong to it.
                let rest = self.buffer.get(at..self.end).unwrap_or_default();
                match rest.iter().position(|byte| is_space(*byte) || b",:]}[{\"".contains(byte)) {
                    Some(0) if at == self.start => return Err(self.not_a_list("a value")),
                    Some(length) => return Ok(self.start..at + length),
                    None => {
                        at = self.end;
                        at -= self.read_more()?;
                    }
                }
            },
        }
    }

    /// The position behind the string whose opening quote is at `at`.
    fn string_end(&mut self, mut at: usize) -> Result<usize, ListError> {
        at += 1;
        loop {
            let rest = self.buffer.get(at..self.end).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                Some(found) if rest.get(found) == Some(&b'"') => return Ok(at + found + 1),
                // A backslash takes the next byte along, which may not be there yet.
                Some(found) if found + 1 < rest.len() => at += found + 2,
                Some(found) => {
                    at += found;
                    at -= self.read_more()?;
                }
                None => {
                    at = self.end;
                    at -= self.read_more()?;
                }
            }
        }
    }

    /// White space until the stream ends.
    fn expect_end(&mut self) -> Result<(), ListError> {
        match self.peek() {
            Err(ListError::CutOff) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(self.not_a_list("the end of the answer")),
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hands out `step` bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len()).min(self.0.len());
            let (now, later) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    fn items(text: &str, step: usize) -> Result<(Vec<String>, ListMeta), ListError> {
        let mut items = Vec::new();
        let meta =
            read_list(Drip(text.as_bytes(), step), |item| items.push(String::from_utf8(item.to_vec()).unwrap()))?;
        Ok((items, meta))
    }

    const LIST: &str = r#" {"kind":"SecretList","apiVersion":"v1", "metadata" : {"resourceVersion":"7","continue":"abc","remainingItemCount":3},
        "items":[{"a":"\"}]\\"},{"b":[{},[1.5,null]]} , {}], "x":-1e3 } "#;

    #[test]
    fn a_list_in_pieces_of_every_size() {
        for step in 1..LIST.len() {
            let (items, meta) = items(LIST, step).unwrap();
            assert_eq!(items, [r#"{"a":"\"}]\\"}"#, r#"{"b":[{},[1.5,null]]}"#, "{}"], "{step}");
            assert_eq!(meta, ListMeta { resource_version: "7".into(), continue_token: "abc".into() }, "{step}");
        }
    }

    #[test]
    fn every_prefix_is_cut_off() {
        let list = LIST.trim();
        for end in 0..list.len() {
            assert!(matches!(items(&list[..end], 7), Err(ListError::CutOff)), "{end}");
        }
    }

    #[test]
    fn lists_without_items() {
        for text in [r#"{"items":null}"#, r#"{"items":[]}"#, r#"{"items":[ ],"metadata":{}}"#] {
            assert_eq!(items(text, 3).unwrap(), (vec![], ListMeta::default()), "{text}");
        }
    }

    #[test]
    fn what_is_no_list() {
        for text in [
            "[]",
            "<html>",
            "null",
            "{}",
            r#"{"kind":"Status"}"#,
            r#"{"items":{}}"#,
            r#"{"items":[1]}"#,
            r#"{"items":[{} {}]}"#,
            r#"{"items":[{}]} x"#,
            r#"{"items":[{},]}"#,
            r#"{items:[]}"#,
            r#"{"metadata":7,"items":[]}"#,
            r#"{"items":[],"metadata":}"#,
            r#"{"items":nul}"#,
            r#"{1:2}"#,
        ] {
            assert!(matches!(items(text, 5), Err(ListError::NotAList { .. })), "{text}: {:?}", items(text, 5));
        }
    }

    #[test]
    fn the_window_grows_to_one_object_and_no_further() {
        let big = "x".repeat(300_000);
        let text = format!(r#"{{"items":[{{"a":"{big}"}},{{}}]}}"#);
        assert_eq!(items(&text, 10_000).unwrap().0[0].len(), 300_000 + 8);

        struct Endless;
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                Ok(buffer.len())
            }
        }
        let endless = br#"{"items":[{"a":""#.chain(Endless);
        assert!(matches!(read_list(endless, |_| ()), Err(ListError::ObjectTooLarge)));
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_read(values in proptest::collection::vec("\\PC{0,20}", 0..20), step in 1usize..50, pretty in any::<bool>()) {
            let objects: Vec<_> = values.iter().map(|value| serde_json::json!({"v": value, "w": [value]})).collect();
            let list = serde_json::json!({"items": objects, "metadata": {"resourceVersion": "1"}});
            let text = if pretty { serde_json::to_string_pretty(&list).unwrap() } else { list.to_string() };
            let (items, _) = items(&text, step).unwrap();
            let read: Vec<serde_json::Value> = items.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
            prop_assert_eq!(read, objects);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in "\\{\"items\":\\[[\\[\\]{}\",:a\\\\ ]{0,40}") {
            let _ = read_list(&bytes[..], |_| ());
            let _ = read_list(text.as_bytes(), |_| ());
        }
    }
}
