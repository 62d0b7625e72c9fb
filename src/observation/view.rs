//! A Secret as a source lends it: nothing is copied, nothing outlives the call.

use super::{ExtraLabels, Logins};
use crate::jwt::decode_base64;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// No value of a Secret can be larger (Kubernetes, `MaxSecretSize`); larger ones of a manifest are not looked into.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// One Secret, read where it is kept.
#[derive(Debug)]
pub struct SecretView<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The text of the annotation that names its data keys, if it has that annotation.
    pub annotation: Option<&'a str>,
    /// Key and value.
    pub data: &'a [(Cow<'a, str>, DataValue<'a>)],
    /// What its tokens are held against.
    pub logins: Logins<'a>,
    /// Whether a selector or a name asked for just this Secret: then it is an error if there is no token in it.
    pub picked: bool,
    /// The labels that the configuration adds.
    pub extra: &'a ExtraLabels,
    /// Tells this state of the object from every other: a hash of uid and resource version, or of the content.
    pub version: u64,
}

/// One file with tokens, read where it is kept.
#[derive(Debug)]
pub struct FileView<'a> {
    /// What its samples have for `secret_name`: its path.
    pub path: &'a str,
    /// What they have for `secret_key`, before a JSON Pointer: the name of the file, as if it were the data key of a Secret
    /// that is mounted there.
    pub key: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
    /// Whether somebody named just this file: then it is an error if there is no token in it.
    pub named: bool,
    /// As that of a Secret.
    pub version: u64,
}

/// A value of the field `data`, still in base64, or of `stringData`, or of a file.
#[derive(Debug)]
pub enum DataValue<'a> {
    /// RFC 4648, section 4, as the API has it.
    Base64(Cow<'a, str>),
    /// As it is.
    Plain(Cow<'a, str>),
    /// As it is, and perhaps no text.
    Bytes(&'a [u8]),
}

/// Why the bytes of a value cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ValueFault {
    /// Over [`MAX_VALUE_BYTES`].
    TooLarge {
        /// At least this many bytes.
        bytes: usize,
    },
    /// The API server would refuse this manifest.
    NotBase64,
}

impl DataValue<'_> {
    /// The bytes; those of base64 are put into `buffer`.
    pub(super) fn bytes<'b>(&'b self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], ValueFault> {
        let encoded = match self {
            Self::Plain(text) => return plain(text.as_bytes()),
            Self::Bytes(bytes) => return plain(bytes),
            Self::Base64(encoded) => encoded,
        };
        let bytes = encoded.len() / 4 * 3;
        if bytes > MAX_VALUE_BYTES + 2 {
            return Err(ValueFault::TooLarge { bytes });
        }
        // The API server's decoder passes over line breaks, which hand-written manifests have.
        if memchr::memchr2(b'\n', b'\r', encoded.as_bytes()).is_some() {
            let unbroken: String = encoded.chars().filter(|character| !matches!(character, '\n' | '\r')).collect();
            return decode_base64(&STANDARD, unbroken.as_bytes(), buffer).ok_or(ValueFault::NotBase64);
        }
        decode_base64(&STANDARD, encoded.as_bytes(), buffer).ok_or(ValueFault::NotBase64)
    }

    /// The bytes, where they can be had.
    #[must_use]
    pub fn to_vec(&self) -> Option<Vec<u8>> {
        self.bytes(&mut Vec::new()).ok().map(<[u8]>::to_vec)
    }

    /// Whether the first bytes let a token or a document follow. Most values of a cluster are certificates, keys and
    /// archives: those are passed over without being decoded.
    #[must_use]
    pub fn is_worth_a_look(&self) -> bool {
        let mut first = [0u8; 48];
        let (start, whole) = match self {
            Self::Plain(text) => (text.as_bytes(), true),
            Self::Bytes(bytes) => (*bytes, true),
            Self::Base64(encoded) => {
                // Whole groups of four, so that no padding is cut apart.
                let prefix = encoded.as_bytes().get(..64).unwrap_or(encoded.as_bytes());
                match STANDARD.decode_slice(prefix, &mut first) {
                    Ok(length) => (first.get(..length).unwrap_or_default(), prefix.len() == encoded.len()),
                    Err(_) => return true,
                }
            }
        };
        match start.trim_ascii_start() {
            // So much white space that too little of what follows is here: the longest beginning is `current-context:`.
            cut if !whole && cut.len() < 16 => true,
            [b'B' | b'b', rest @ ..] => rest.get(..5).is_some_and(|rest| rest.eq_ignore_ascii_case(b"earer")),
            [b'e' | b'{' | b'[', ..] => true,
            start => super::document::starts_like_kubeconfig(start),
        }
    }
}

fn plain(bytes: &[u8]) -> Result<&[u8], ValueFault> {
    if bytes.len() > MAX_VALUE_BYTES { Err(ValueFault::TooLarge { bytes: bytes.len() }) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(bytes: &[u8]) -> DataValue<'static> {
        DataValue::Base64(STANDARD.encode(bytes).into())
    }

    #[test]
    fn base64_with_line_breaks_is_read() {
        let value = DataValue::Base64("aGVs\nbG8=\n".into());
        assert_eq!(value.bytes(&mut Vec::new()), Ok(&b"hello"[..]));
        let value = DataValue::Base64("aGVs*".into());
        assert_eq!(value.bytes(&mut Vec::new()), Err(ValueFault::NotBase64));
    }

    #[test]
    fn a_huge_value_is_not_decoded() {
        let mut buffer = Vec::new();
        let value = DataValue::Base64("A".repeat(MAX_VALUE_BYTES * 2).into());
        assert!(matches!(value.bytes(&mut buffer), Err(ValueFault::TooLarge { .. })));
        assert_eq!(buffer.capacity(), 0);
        assert_eq!(base64(&vec![b'x'; MAX_VALUE_BYTES]).bytes(&mut buffer).map(<[u8]>::len), Ok(MAX_VALUE_BYTES));
    }

    #[test]
    fn only_some_beginnings_are_worth_a_look() {
        for yes in
            ["eyJ", " \n eyJ", "Bearer x", "bearer x", "{", "\n[", "apiVersion: v1\nkind: Config\n", "---\nusers:\n"]
        {
            assert!(base64(yes.as_bytes()).is_worth_a_look(), "{yes}");
            assert!(DataValue::Plain(yes.into()).is_worth_a_look(), "{yes}");
        }
        for spaces in 0..100 {
            for start in ["eyJ", "Bearer x", "current-context: x", "---\nusers:\n"] {
                let value = format!("{}{start}{}", " ".repeat(spaces), "x".repeat(100));
                assert!(base64(value.as_bytes()).is_worth_a_look(), "{value}");
            }
        }
        for no in ["", "-----BEGIN CERTIFICATE-----", "H4sIAAAAAAAA", "hunter2", "Beard"] {
            assert!(!base64(no.as_bytes()).is_worth_a_look(), "{no}");
        }
        assert!(!base64(&[0x1f; 2000]).is_worth_a_look());
    }
}
