//! The compact serialization: segments between dots (RFC 7515, section 7.1; RFC 7516, section 7.1).

use super::DecodeError;

/// More than this is no token: HTTP servers stop at 8 to 64 KiB of header, and a Secret ends at 1 MiB.
pub const MAX_TOKEN_BYTES: usize = 256 * 1024;

/// The segments that are read further, still base64url.
#[derive(Debug, PartialEq, Eq)]
pub enum Segments<'a> {
    /// Three segments. The signature was looked at, and is not kept.
    Jws {
        /// The JOSE header.
        header: &'a str,
        /// The claims set.
        claims: &'a str,
    },
    /// Five segments: what they protect cannot be read.
    Jwe {
        /// The JOSE header, the only part in the clear.
        header: &'a str,
    },
}

/// Drops ASCII white space at both ends and a leading `Bearer ` (RFC 6750, section 2.1; any case), as people paste them.
#[must_use]
pub fn without_decoration(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.split_at_checked(6) {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case(b"bearer") && rest.first().is_some_and(u8::is_ascii_whitespace) =>
        {
            rest.trim_ascii_start()
        }
        _ => value,
    }
}

/// Whether a value, as [`without_decoration`] leaves it, is meant to be a token: three or five segments over the base64
/// alphabets, the first one opening a JSON object. Host names and versions have dots too; a damaged token should be
/// reported rather than passed over, so padding and the ordinary base64 characters do not speak against it.
#[must_use]
pub fn looks_like_jwt(value: &[u8]) -> bool {
    if !opens_json_object(value) || value.len() > MAX_TOKEN_BYTES {
        return false;
    }
    let mut dots = 0;
    for &byte in value {
        match byte {
            b'.' => dots += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'+' | b'/' | b'=' => {}
            _ => return false,
        }
    }
    dots == 2 || dots == 4
}

/// Whether base64url text begins with `{` and what can follow it in JSON: a quote, a closing brace or white space.
fn opens_json_object(encoded: &[u8]) -> bool {
    let [first, second, third, ..] = encoded else { return false };
    // `{` is 0x7b, 011110 11: the first character is `e` (30), the second has 11 for its upper two bits.
    let (Some(30), Some(second @ 48..), Some(third)) = (sextet(*first), sextet(*second), sextet(*third)) else {
        return false;
    };
    matches!((second & 0x0f) << 4 | third >> 2, b'"' | b'}' | b' ' | b'\t' | b'\n' | b'\r')
}

/// The value of a base64 character of either alphabet (RFC 4648, sections 4 and 5).
fn sextet(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'-' | b'+' => Some(62),
        b'_' | b'/' => Some(63),
        _ => None,
    }
}

impl<'a> Segments<'a> {
    /// Splits an undecorated value.
    ///
    /// # Errors
    /// All [`DecodeError`]s that come before the JOSE header is decoded.
    pub fn split(value: &'a [u8]) -> Result<Self, DecodeError> {
        if value.is_empty() {
            return Err(DecodeError::Empty);
        }
        if value.len() > MAX_TOKEN_BYTES {
            return Err(DecodeError::TooLarge { bytes: value.len() });
        }
        let text = std::str::from_utf8(value).map_err(|_| DecodeError::NotUtf8)?;
        let mut parts = text.split('.');
        let five = [(); 5].map(|()| parts.next());
        match five {
            [Some(header), Some(claims), Some(signature), None, _] => {
                if !is_base64url(signature) {
                    return Err(DecodeError::NotBase64Url { segment: 3 });
                }
                Ok(Self::Jws { header, claims })
            }
            [Some(header), Some(key), Some(nonce), Some(ciphertext), Some(tag)] if parts.next().is_none() => {
                match [key, nonce, ciphertext, tag].iter().position(|segment| !is_base64url(segment)) {
                    Some(at) => Err(DecodeError::NotBase64Url { segment: at + 2 }),
                    None => Ok(Self::Jwe { header }),
                }
            }
            _ => Err(DecodeError::SegmentCount { found: text.split('.').count() }),
        }
    }
}

/// The alphabet of RFC 4648, section 5, and a length that whole octets can have. The bytes themselves are never made.
fn is_base64url(segment: &str) -> bool {
    segment.len() % 4 != 1 && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decoration_goes() {
        for (value, bare) in [
            (&b" \t\r\nabc\n"[..], &b"abc"[..]),
            (b"Bearer abc", b"abc"),
            (b"\nbearer\t  abc ", b"abc"),
            (b"Bearerabc", b"Bearerabc"),
            (b"Bearer", b"Bearer"),
            (b"Bearer ", b"Bearer"),
            (b"", b""),
        ] {
            assert_eq!(without_decoration(value), bare);
        }
    }

    #[test]
    fn segments_are_counted() {
        assert_eq!(Segments::split(b"a.b.c"), Err(DecodeError::NotBase64Url { segment: 3 }));
        assert_eq!(Segments::split(b"aa.bb.cc"), Ok(Segments::Jws { header: "aa", claims: "bb" }));
        assert_eq!(Segments::split(b"aa.bb."), Ok(Segments::Jws { header: "aa", claims: "bb" }));
        assert_eq!(Segments::split(b"aa..bb.cc.dd"), Ok(Segments::Jwe { header: "aa" }));
        assert_eq!(Segments::split(b"aa..bb.c=.dd"), Err(DecodeError::NotBase64Url { segment: 4 }));
        for (text, found) in [("aa", 1), ("aa.bb", 2), ("aa.bb.cc.dd", 4), ("aa.bb.cc.dd.ee.ff", 6), (".....", 6)] {
            assert_eq!(Segments::split(text.as_bytes()), Err(DecodeError::SegmentCount { found }), "{text}");
        }
        assert_eq!(Segments::split(b"\xff.a.b"), Err(DecodeError::NotUtf8));
        assert_eq!(
            Segments::split(&vec![b'a'; MAX_TOKEN_BYTES + 1]),
            Err(DecodeError::TooLarge { bytes: MAX_TOKEN_BYTES + 1 })
        );
    }

    #[test]
    fn what_looks_like_a_token() {
        for yes in [
            "eyJhbGciOiJub25lIn0.e30.",
            "ewogfQ.x.y",
            "eyAK.x.",
            "e30.e30.",
            "eyJ.a.b.c.d",
            "eyJhbGciOiJub25lIn0=.e30.x",
        ] {
            assert!(looks_like_jwt(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "eyJ",
            "eyJ.a",
            "www.example.com",
            "exa.mple.com",
            "1.2.3",
            "eyJ.a.b c",
            "evil.a.b",
            "eyJ.a.b.c",
            "eyJ.a.é",
        ] {
            assert!(!looks_like_jwt(no.as_bytes()), "{no}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Segments::split(without_decoration(&value));
            let _ = looks_like_jwt(&value);
        }

        #[test]
        fn every_object_looks_like_one(text in "\\{[\"} \t\r\n][ -~]{0,40}") {
            use base64::Engine as _;
            let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&text);
            let token = format!("{header}.e30.c2ln");
            prop_assert!(looks_like_jwt(token.as_bytes()));
        }
    }
}
