//! A token opened for people: header and claims set as they are written, for whoever wants to see all of them.

use super::decoder::decode_segment;
use super::{DecodeError, SegmentFault, Segments, TokenType, without_decoration};
use crate::json;
use std::fmt;
use zeroize::Zeroizing;

/// The two readable parts of a token. The signature is not among them.
pub struct OpenedJwt {
    /// Signed or encrypted.
    pub token_type: TokenType,
    /// The JOSE header: the text of a JSON object.
    pub header: Zeroizing<String>,
    /// The claims set, likewise; a JWE shows none.
    pub claims: Option<Result<Zeroizing<String>, SegmentFault>>,
    /// A signature is there. Nobody has looked whether it is a good one.
    pub is_signed: bool,
    /// Of the compact serialization.
    pub bytes: usize,
}

impl OpenedJwt {
    /// Opens a value: white space around it and a leading `Bearer ` are dropped.
    ///
    /// # Errors
    /// What keeps even the JOSE header from being read. A header without `alg` is no error here.
    pub fn open(value: &[u8]) -> Result<Self, DecodeError> {
        let bare = without_decoration(value);
        let (token_type, header, claims) = match Segments::split(bare)? {
            Segments::Jws { header, claims } => (TokenType::Jws, header, Some(claims)),
            Segments::Jwe { header } => (TokenType::Jwe, header, None),
        };
        Ok(Self {
            token_type,
            header: object(header).map_err(DecodeError::Header)?,
            claims: claims.map(object),
            is_signed: token_type == TokenType::Jws && !bare.ends_with(b"."),
            bytes: bare.len(),
        })
    }
}

/// Claims are personal data: none of them in a debug message.
impl fmt::Debug for OpenedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenedJwt({}, {} bytes)", self.token_type.as_str(), self.bytes)
    }
}

fn object(segment: &str) -> Result<Zeroizing<String>, SegmentFault> {
    let mut buffer = Zeroizing::new(Vec::new());
    let text = decode_segment(segment, &mut buffer)?;
    json::members(text, |_, _| ())?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    #[test]
    fn both_parts_are_there_and_the_signature_is_not() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("Bearer {}.{}.c2lnbmF0dXJl\n", encode(r#"{"kid":"a"}"#), encode(r#"{"a":1,"a":2}"#));
        let opened = OpenedJwt::open(token.as_bytes()).unwrap();
        assert_eq!((opened.token_type, opened.is_signed), (TokenType::Jws, true));
        assert_eq!(opened.header.as_str(), r#"{"kid":"a"}"#);
        assert_eq!(opened.claims.unwrap().unwrap().as_str(), r#"{"a":1,"a":2}"#);

        let broken = OpenedJwt::open(format!("{}.{}.", encode("{}"), encode("[]")).as_bytes()).unwrap();
        assert!(!broken.is_signed && matches!(&broken.claims, Some(Err(SegmentFault::Json(_)))));
        let jwe = OpenedJwt::open(format!("{}....", encode(r#"{"alg":"dir"}"#)).as_bytes()).unwrap();
        assert!(jwe.token_type == TokenType::Jwe && jwe.claims.is_none() && !jwe.is_signed);
        assert!(matches!(OpenedJwt::open(b"e30x.e30."), Err(DecodeError::Header(_))));
        assert!(!format!("{jwe:?}").contains("dir"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..80), text in "[eyJ0-9.]{0,40}") {
            let _ = OpenedJwt::open(&value);
            let _ = OpenedJwt::open(text.as_bytes());
        }
    }
}
