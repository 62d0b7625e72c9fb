//! Credentials that cannot be printed by accident and are wiped when they go.

use std::fmt;
use std::io::{self, Read};
use zeroize::Zeroizing;

/// A password, bearer token or private key. Neither [`Debug`](fmt::Debug) nor an error ever shows it; its memory is
/// overwritten when it is dropped. There is no `Display`: whoever needs the text says [`Redacted::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(Zeroizing<String>);

impl Redacted {
    /// Takes ownership of the secret text.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret itself, for the one place that has to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::hash::Hash for Redacted {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl From<String> for Redacted {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}

impl<'de> serde::Deserialize<'de> for Redacted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redacted(…)")
    }
}

/// Most values have room in this.
const FIRST: usize = 4 * 1024;

/// Reads to the end, but no more than `most` bytes and one: whoever gets more than `most` knows that there was too much. A buffer
/// that has become too small is wiped too.
///
/// # Errors
/// Those of the reader.
pub fn read_wiped(reader: &mut dyn Read, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut read = Zeroizing::new(vec![0; FIRST]);
    let mut length = 0;
    loop {
        if length > most {
            break;
        }
        if length == read.len() {
            let mut larger = Zeroizing::new(vec![0; 2 * length]);
            if let Some(front) = larger.get_mut(..length) {
                front.copy_from_slice(&read);
            }
            read = larger;
        }
        let end = read.len().min(most + 1);
        match reader.read(read.get_mut(length..end).unwrap_or_default()) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    read.truncate(length);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read_up_to_the_bound_and_one_byte() {
        for length in [0, 1, FIRST - 1, FIRST, FIRST + 1, 99_999, 100_000, 100_001, 300_000] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let read = read_wiped(&mut bytes.as_slice(), 100_000).unwrap();
            assert_eq!(*read, bytes[..length.min(100_001)], "{length}");
        }
        assert_eq!(*read_wiped(&mut &b"abc"[..], 2).unwrap(), b"abc");
        assert_eq!(*read_wiped(&mut &b"abcd"[..], 2).unwrap(), b"abc");
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let shown = format!("{:?} {:#?}", Redacted::new("hunter2".into()), Some(Redacted::new("hunter2".into())));
        assert!(!shown.contains("hunter2") && !shown.contains("hunt"), "{shown}");
    }
}
