//! The body of an answer, as it comes.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::HttpError;

/// The body of an answer, unzipped if it came gzipped. Reading blocks until something comes or time is up. After a timeout
/// of a single read the body can be read on, and nothing is lost; after the deadline of the whole exchange it cannot.
///
/// An [`io::Error`] of a read carries an [`HttpError`]: see [`Body::error`].
pub struct Body {
    pub(super) reader: ureq::BodyReader<'static>,
    pub(super) shut_down: Arc<AtomicBool>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

impl Body {
    /// What an error of reading a body says.
    #[must_use]
    pub fn error(error: io::Error) -> HttpError {
        HttpError::from_io(error)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.reader.read(buffer);
        // A shut-down socket reads as the end of the stream, which a body without a length would take for its own end.
        if self.shut_down.load(Ordering::SeqCst) && !matches!(result, Ok(1..)) && !buffer.is_empty() {
            return Err(io::Error::other(HttpError::ShutDown));
        }
        result.map_err(|error| match HttpError::from_io(error) {
            HttpError::CutOff => io::Error::new(io::ErrorKind::UnexpectedEof, HttpError::CutOff),
            timeout @ HttpError::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, timeout),
            other => io::Error::other(other),
        })
    }
}
