//! Reading what holds credentials into memory that is wiped.

use std::io::{self, Read};
use zeroize::Zeroizing;

/// Most values have room in this.
const FIRST: usize = 16 * 1024;

/// Reads to the end, but no more than `most` bytes and one: whoever gets more than `most` knows that there was too much. A buffer
/// that has become too small is wiped too.
///
/// # Errors
/// Those of the reader.
pub(super) fn read(reader: &mut dyn Read, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
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
            let read = read(&mut bytes.as_slice(), 100_000).unwrap();
            assert_eq!(*read, bytes[..length.min(100_001)], "{length}");
        }
        assert_eq!(*read(&mut &b"abc"[..], 2).unwrap(), b"abc");
        assert_eq!(*read(&mut &b"abcd"[..], 2).unwrap(), b"abc");
    }
}
