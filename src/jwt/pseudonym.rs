//! Pseudonyms: what stands in the place of a claim that nobody is to read, and still tells one person from another.

use ring::hmac;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The secret that pseudonyms are made with. Its bytes are wiped with its last copy, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PseudonymKey(Arc<Zeroizing<Vec<u8>>>);

impl PseudonymKey {
    /// A shorter one could be guessed (RFC 2104, section 3, on the length of keys; 128 bits).
    pub const LEAST_BYTES: usize = 16;

    /// `None`: these are fewer than [`LEAST_BYTES`](Self::LEAST_BYTES).
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= Self::LEAST_BYTES).then(|| Self(Arc::new(Zeroizing::new(bytes.to_vec()))))
    }

    /// The first 16 hexadecimal digits of HMAC-SHA-256 (RFC 2104, FIPS 180-4) of the text. Of the empty text it is the empty
    /// text: that a claim is not there must not look like a person.
    #[must_use]
    pub fn pseudonym(&self, text: &str) -> String {
        let mut digits = String::new();
        if !text.is_empty() {
            // Made anew each time: what `ring` makes of a key is not wiped, and must not stay.
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), text.as_bytes());
            for byte in tag.as_ref().iter().take(8) {
                // Writing to a String cannot fail.
                let _ = write!(digits, "{byte:02x}");
            }
        }
        digits
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4231() {
        // Test cases 1 and 6: keys of 20 and of 131 bytes.
        let key = |byte, length| PseudonymKey::new(&vec![byte; length]).unwrap();
        assert_eq!(key(0x0b, 20).pseudonym("Hi There"), "b0344c61d8db3853");
        let text = "Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(key(0xaa, 131).pseudonym(text), "60e431591ee0b67f");
    }

    #[test]
    fn nothing_stays_nothing_and_short_keys_are_none() {
        let key = PseudonymKey::new(b"0123456789abcdef").unwrap();
        assert_eq!(key.pseudonym(""), "");
        assert_eq!(PseudonymKey::new(b"0123456789abcde"), None);
        assert!(!format!("{key:?}").contains("0123"));
    }
}
