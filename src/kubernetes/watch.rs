//! Reads the stream of a watch (Kubernetes API concepts, "Efficient detection of changes"): one JSON object a line.

use super::list::MAX_OBJECT_BYTES;
use crate::json::{self, JsonFault};
use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

/// What one read asks for: events are small and come one by one.
const READ_BYTES: usize = 16 * 1024;

/// One line of a watch. Objects are lent as they are written.
#[derive(Debug, PartialEq, Eq)]
pub enum WatchEvent<'a> {
    /// `ADDED` or `MODIFIED`: the object as it is now.
    Changed(&'a str),
    /// `DELETED`, also of an object that no longer matches the selector: as it was.
    Deleted(&'a str),
    /// `BOOKMARK`: everything up to this resource version has been sent.
    Bookmark(String),
    /// `ERROR`: a Status inside of the stream; nothing useful follows.
    Error {
        /// `code` of the Status: 410 if the resource version is too old.
        code: u16,
        /// `message` of the Status, shortened.
        message: String,
        /// `details.retryAfterSeconds`: the server wants to be left alone for so long.
        retry_after: Option<Duration>,
    },
    /// A type that this program does not know: nothing to do.
    Unknown,
}

/// So much of a server's message is kept.
const MESSAGE_CHARACTERS: usize = 300;

impl<'a> WatchEvent<'a> {
    /// Reads one line.
    ///
    /// # Errors
    /// A line that is no event.
    pub fn read(line: &'a [u8]) -> Result<Self, JsonFault> {
        let text = std::str::from_utf8(line).map_err(|_| JsonFault::NotUtf8)?;
        let (mut kind, mut object) = (None, None);
        json::members(text, |name, value| match &*name {
            "type" => kind = json::string(value),
            "object" => object = Some(value),
            _ => {}
        })?;
        let (Some(kind), Some(object)) = (kind, object) else { return Err(JsonFault::OtherShape) };
        Ok(match &*kind {
            "ADDED" | "MODIFIED" => Self::Changed(object),
            "DELETED" => Self::Deleted(object),
            "BOOKMARK" => Self::Bookmark(resource_version(object).ok_or(JsonFault::OtherShape)?),
            "ERROR" => error(object)?,
            _ => Self::Unknown,
        })
    }
}

/// `metadata.resourceVersion` of an object.
#[must_use]
pub fn resource_version(object: &str) -> Option<String> {
    let mut found = None;
    json::members(object, |name, metadata| {
        if name == "metadata" {
            let _ = json::members(metadata, |name, value| {
                if name == "resourceVersion" {
                    found = json::string(value);
                }
            });
        }
    })
    .ok()?;
    found.map(std::borrow::Cow::into_owned)
}

fn error(status: &str) -> Result<WatchEvent<'static>, JsonFault> {
    let (mut code, mut message, mut retry_after) = (0, String::new(), None);
    json::members(status, |name, value| match &*name {
        "code" => code = value.parse().unwrap_or(0),
        "message" => {
            message = json::string(value).unwrap_or_default().chars().take(MESSAGE_CHARACTERS).collect();
        }
        "details" => {
            let _ = json::members(value, |name, value| {
                if name == "retryAfterSeconds" {
                    retry_after = value.parse().ok().map(Duration::from_secs);
                }
            });
        }
        _ => {}
    })?;
    Ok(WatchEvent::Error { code, message, retry_after })
}

/// Why the lines came to an end.
#[derive(Debug)]
pub enum LineError {
    /// Reading failed.
    Io(io::Error),
    /// A line is longer than any object.
    TooLong,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::TooLong => write!(f, "an event of the watch has more than {MAX_OBJECT_BYTES} bytes"),
        }
    }
}

/// Cuts a stream into lines.
pub struct Lines<R> {
    body: R,
    buffer: Vec<u8>,
    /// The next line begins here.
    start: usize,
    /// Up to here there is no line feed.
    seen: usize,
    end: usize,
}

impl<R: Read> Lines<R> {
    /// Nothing is read yet.
    pub fn new(body: R) -> Self {
        Self { body, buffer: Vec::new(), start: 0, seen: 0, end: 0 }
    }

    /// The stream, to ask it about an error.
    pub fn body(&self) -> &R {
        &self.body
    }

    /// The next line that is not empty, without its line feed; `None` at the end of the stream, where a line without its line
    /// feed is dropped: it was cut.
    ///
    /// # Errors
    /// [`LineError`]. After an [`LineError::Io`] that was only a pause, this can be called again.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineError> {
        loop {
            let rest = self.buffer.get(self.seen..self.end).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', rest) {
                let line = self.start..self.seen + at;
                self.start = line.end + 1;
                self.seen = self.start;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(self.buffer.get(line).unwrap_or_default()));
            }
            self.seen = self.end;
            if !self.read_more()? {
                return Ok(None);
            }
        }
    }

    fn read_more(&mut self) -> Result<bool, LineError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.seen -= self.start;
        self.start = 0;
        if self.end == 0 && self.buffer.len() > READ_BYTES {
            // A large event has passed: its memory goes back.
            self.buffer = Vec::new();
        }
        if self.end >= MAX_OBJECT_BYTES {
            return Err(LineError::TooLong);
        }
        if self.buffer.len() < self.end + READ_BYTES {
            // Twice as much, and never more than the longest line needs.
            let doubled = (self.end * 2).min(MAX_OBJECT_BYTES);
            self.buffer.resize(doubled.max(self.end + READ_BYTES), 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.body.read(room) {
                Ok(read) => {
                    self.end += read;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LineError::Io(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_event() {
        let read = |line: &'static str| WatchEvent::read(line.as_bytes());
        assert_eq!(read(r#"{"type":"ADDED","object":{"a":1}}"#), Ok(WatchEvent::Changed(r#"{"a":1}"#)));
        assert_eq!(read(r#"{"object":{} ,"type":"MODIFIED"}"#), Ok(WatchEvent::Changed("{}")));
        assert_eq!(read(r#"{"type":"DELETED","object":{}}"#), Ok(WatchEvent::Deleted("{}")));
        assert_eq!(
            read(r#"{"type":"BOOKMARK","object":{"kind":"Secret","metadata":{"resourceVersion":"12","name":""}}}"#),
            Ok(WatchEvent::Bookmark("12".into()))
        );
        assert_eq!(
            read(r#"{"type":"ERROR","object":{"kind":"Status","message":"too old","reason":"Expired","code":410}}"#),
            Ok(WatchEvent::Error { code: 410, message: "too old".into(), retry_after: None })
        );
        assert_eq!(
            read(r#"{"type":"ERROR","object":{"code":429,"details":{"retryAfterSeconds":7},"message":"later"}}"#),
            Ok(WatchEvent::Error { code: 429, message: "later".into(), retry_after: Some(Duration::from_secs(7)) })
        );
        assert_eq!(read(r#"{"type":"NEW","object":{}}"#), Ok(WatchEvent::Unknown));
        assert_eq!(read(r#"{"type":"BOOKMARK","object":{}}"#), Err(JsonFault::OtherShape));
        for line in ["", "{}", "[]", "x", r#"{"type":"ADDED"}"#, r#"{"type":7,"object":{}}"#] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    /// Hands out `step` bytes at a time, with a pause of a reader's time limit before each.
    struct Drip<'a> {
        rest: &'a [u8],
        step: usize,
        paused: bool,
    }

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.paused = !self.paused;
            if self.paused {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let length = self.step.min(buffer.len()).min(self.rest.len());
            let (now, later) = self.rest.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.rest = later;
            Ok(length)
        }
    }

    fn lines(text: &str, step: usize) -> Vec<String> {
        let mut lines = Lines::new(Drip { rest: text.as_bytes(), step, paused: false });
        let mut all = Vec::new();
        loop {
            match lines.next_line() {
                Ok(Some(line)) => all.push(String::from_utf8(line.to_vec()).unwrap()),
                Ok(None) => return all,
                Err(LineError::Io(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_stream_is_cut_into_lines_and_reads_on_after_a_pause() {
        let long = "x".repeat(100_000);
        let text = format!("a\n\n{long}\nbc\nhalf");
        for step in [1, 2, 7, 1000, 1_000_000] {
            assert_eq!(lines(&text, step), ["a", long.as_str(), "bc"], "{step}");
        }
    }

    #[test]
    fn an_endless_line_ends() {
        struct Endless;
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                Ok(buffer.len())
            }
        }
        assert!(matches!(Lines::new(Endless).next_line(), Err(LineError::TooLong)));
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_text(parts in proptest::collection::vec("[a-z]{1,30}", 0..20), step in 1usize..40) {
            let text: String = parts.iter().map(|part| format!("{part}\n")).collect();
            prop_assert_eq!(lines(&text, step), parts);
        }
    }
}
