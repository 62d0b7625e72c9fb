//! From a value to an [`UnverifiedJwt`]: the only place where the segments are decoded.

use super::{ClaimPaths, ClaimsSet, DecodeError, SegmentFault, Segments, without_decoration};
use crate::json;
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};
use std::borrow::Cow;
use zeroize::Zeroize as _;

/// Decodes one token after the other into the same two buffers.
#[derive(Default)]
pub struct Decoder {
    header: Vec<u8>,
    claims: Vec<u8>,
}

/// Signed or encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// JSON Web Signature: the claims set can be read by anybody.
    Jws,
    /// JSON Web Encryption: only the JOSE header can.
    Jwe,
}

impl TokenType {
    /// As the label `type` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jws => "JWS",
            Self::Jwe => "JWE",
        }
    }
}

/// A token whose parts could be read. Nobody has looked whether they are true.
#[derive(Debug, PartialEq, Eq)]
pub struct UnverifiedJwt<'a> {
    /// Signed or encrypted.
    pub token_type: TokenType,
    /// `alg` of the JOSE header, `none` included.
    pub algorithm: Cow<'a, str>,
    /// Empty for a JWE.
    pub claims: ClaimsSet<'a>,
}

impl Decoder {
    /// Decodes a value: white space around it and a leading `Bearer ` are dropped.
    ///
    /// # Errors
    /// The first thing that is wrong with the value, from left to right. Claims that have another type than expected are
    /// no error of the token; see [`ClaimsSet::has_invalid_date`].
    pub fn decode(&mut self, value: &[u8], paths: &ClaimPaths) -> Result<UnverifiedJwt<'_>, DecodeError> {
        let segments = Segments::split(without_decoration(value))?;
        let (token_type, header, claims) = match segments {
            Segments::Jws { header, claims } => (TokenType::Jws, header, Some(claims)),
            Segments::Jwe { header } => (TokenType::Jwe, header, None),
        };
        let header = decode_segment(header, &mut self.header).map_err(DecodeError::Header)?;
        let algorithm = algorithm(header)?;
        let claims = match claims {
            Some(segment) => decode_segment(segment, &mut self.claims)
                .and_then(|text| Ok(ClaimsSet::read(text, paths)?))
                .map_err(DecodeError::Claims)?,
            None => ClaimsSet::default(),
        };
        Ok(UnverifiedJwt { token_type, algorithm, claims })
    }
}

/// What was decoded last is personal data, and not ours to keep.
impl Drop for Decoder {
    fn drop(&mut self) {
        self.header.zeroize();
        self.claims.zeroize();
    }
}

pub(super) fn decode_segment<'a>(segment: &str, buffer: &'a mut Vec<u8>) -> Result<&'a str, SegmentFault> {
    let bytes = decode_base64(&URL_SAFE_NO_PAD, segment.as_bytes(), buffer).ok_or(SegmentFault::NotBase64Url)?;
    Ok(json::text(bytes)?)
}

/// Decodes base64 to the beginning of `buffer`, which grows where it has to. What lies behind is left as it is: to empty the buffer and
/// fill it with zeros before each value, as the crate's own function does, takes longer than to decode. `None` if it is no base64.
#[must_use]
pub fn decode_base64<'a>(engine: &GeneralPurpose, encoded: &[u8], buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let most = base64::decoded_len_estimate(encoded.len());
    if buffer.len() < most {
        buffer.resize(most, 0);
    }
    let length = engine.decode_slice(encoded, buffer).ok()?;
    buffer.get(..length)
}

/// `alg` of a JOSE header (RFC 7515, section 4.1.1; RFC 7516, section 4.1.1), which must be there and a text.
fn algorithm(header: &str) -> Result<Cow<'_, str>, DecodeError> {
    let mut algorithm = None;
    json::members(header, |name, value| {
        if name == "alg" {
            algorithm = Some(value);
        }
    })
    .map_err(|fault| DecodeError::Header(fault.into()))?;
    algorithm.and_then(json::string).ok_or(DecodeError::NoAlgorithm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::JsonFault;
    use crate::time::UnixSeconds;
    use proptest::prelude::*;

    fn encode(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn decode<T>(value: &[u8], read: impl FnOnce(Result<UnverifiedJwt<'_>, DecodeError>) -> T) -> T {
        read(Decoder::default().decode(value, &ClaimPaths::default()))
    }

    /// RFC 7519, section 3.1 (the same as RFC 7515, appendix A.1).
    const RFC7519: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    /// RFC 7519, section 6.1 (RFC 7515, appendix A.5).
    const UNSECURED: &str = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";

    #[test]
    fn the_signed_examples_of_the_rfcs() {
        for (token, algorithm) in [(RFC7519, "HS256"), (UNSECURED, "none")] {
            decode(token.as_bytes(), |jwt| {
                let jwt = jwt.unwrap();
                assert_eq!((jwt.token_type, &*jwt.algorithm), (TokenType::Jws, algorithm));
                assert_eq!(jwt.claims.issuer, "joe");
                assert_eq!(jwt.claims.expires.at(), Some(UnixSeconds(1_300_819_380)));
            });
        }
    }

    #[test]
    fn the_encrypted_example_of_rfc_7516() {
        // Appendix A.1, the segments behind the header shortened: they are not looked into.
        let token = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGe.48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6ji.XFBoMYUZodetZdvTiFvSkQ";
        decode(token.as_bytes(), |jwt| {
            let jwt = jwt.unwrap();
            assert_eq!((jwt.token_type, &*jwt.algorithm), (TokenType::Jwe, "RSA-OAEP"));
            assert_eq!(jwt.claims, ClaimsSet::default());
        });
    }

    #[test]
    fn white_space_and_bearer_are_dropped() {
        for value in [format!("\n {RFC7519}\r\n"), format!("Bearer {RFC7519}"), format!(" bearer \t{RFC7519}\n")] {
            decode(value.as_bytes(), |jwt| assert!(jwt.is_ok(), "{:?}", jwt.err()));
        }
    }

    #[test]
    fn a_fault_says_where_it_is() {
        use DecodeError::{Claims, Empty, Header, NoAlgorithm, SegmentCount};
        let good = encode(r#"{"alg":"none"}"#);
        let deep = encode(&format!(r#"{{"a":{}{}}}"#, "[".repeat(70), "]".repeat(70)));
        let not_utf8 = URL_SAFE_NO_PAD.encode(b"{\"a\":\"\xff\"}");
        for (value, wanted) in [
            (String::new(), Empty),
            (" \n".into(), Empty),
            ("hello".into(), SegmentCount { found: 1 }),
            (format!("{good}=.e30."), Header(SegmentFault::NotBase64Url)),
            (format!("{}.e30.", encode("[]")), Header(SegmentFault::Json(JsonFault::OtherShape))),
            (format!("{}.e30.", encode("{")), Header(SegmentFault::Json(JsonFault::Syntax { column: 1 }))),
            (".e30.".into(), Header(SegmentFault::Json(JsonFault::Syntax { column: 0 }))),
            (format!("{}.e30.", encode("{}")), NoAlgorithm),
            (format!("{}.e30.", encode(r#"{"alg":7}"#)), NoAlgorithm),
            (format!("{}.e30.", encode(r#"{"alg":"none","alg":null}"#)), NoAlgorithm),
            (format!("{good}.e31.x"), DecodeError::NotBase64Url { segment: 3 }),
            (format!("{good}.e31."), Claims(SegmentFault::NotBase64Url)),
            (format!("{good}.."), Claims(SegmentFault::Json(JsonFault::Syntax { column: 0 }))),
            (format!("{good}.{}.", encode("null")), Claims(SegmentFault::Json(JsonFault::OtherShape))),
            (format!("{good}.{}.", encode("\"x\"")), Claims(SegmentFault::Json(JsonFault::OtherShape))),
            (format!("{good}.{deep}."), Claims(SegmentFault::Json(JsonFault::TooDeep))),
            (format!("{good}.{not_utf8}."), Claims(SegmentFault::Json(JsonFault::NotUtf8))),
        ] {
            decode(value.as_bytes(), |jwt| assert_eq!(jwt.map(|_| ()), Err(wanted), "{value}"));
        }
    }

    #[test]
    fn every_prefix_of_a_token_is_refused() {
        // A cut inside the signature leaves a well-formed token: nobody verifies it here. Every earlier one is seen.
        let signature = RFC7519.rfind('.').unwrap() + 1;
        for end in 0..signature {
            decode(&RFC7519.as_bytes()[..end], |jwt| {
                let cut_before_signature = end == signature;
                assert_eq!(jwt.is_ok(), cut_before_signature, "{end}");
            });
        }
        decode(&RFC7519.as_bytes()[..signature], |jwt| assert!(jwt.is_ok()));
    }

    #[test]
    fn no_error_quotes_the_token() {
        let secret = encode(r#"{"sub":"hunter2", oops"#);
        let token = format!("{}.{secret}.", encode(r#"{"alg":"none"}"#));
        decode(token.as_bytes(), |jwt| {
            let error = jwt.unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("oops") && !shown.contains(&secret), "{shown}");
        });
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            decode(&value, |_| ());
        }

        #[test]
        fn no_claims_panic(claims in "\\{[\"a-z:,0-9\\[\\]{} .-]{0,80}\\}") {
            let token = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims));
            decode(token.as_bytes(), |_| ());
        }

        #[test]
        fn texts_come_through_unchanged(sub in "\\PC{0,40}", exp in -1_000_000_000i64..10_000_000_000) {
            let claims = serde_json::json!({"sub": sub, "exp": exp, "scope": [sub]}).to_string();
            let token = format!("{}.{}.c2ln", encode(r#"{"alg":"ES256"}"#), encode(&claims));
            decode(token.as_bytes(), |jwt| {
                let jwt = jwt.unwrap();
                assert_eq!(jwt.claims.subject, sub);
                assert_eq!(jwt.claims.scopes, [sub.as_str()]);
                assert_eq!(jwt.claims.expires.at(), Some(UnixSeconds(exp)));
            });
        }
    }
}
