//! The token as the servers read it, more leniently than RFC 7515 in places (white space, padding, JSON serialization, bits left
//! over), more strictly in others (repeated header members). What is signed is the canonical encoding of what was decoded.

use super::reason::{Refusal, Unknown};
use super::verdict::Verdict;
use crate::json::{Duplicates, Value};
use crate::jwt::PublicKey;
use crate::jwt::jwk::{BASE64URL, Jwk, certificate_chain};
use crate::jwt::signature::{Algorithm, Verification};
use base64::Engine as _;
use zeroize::Zeroizing;

/// Which parser the server holds the token against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Keys from the configuration: padding is tolerated, the header is looked at before the algorithm.
    StaticKeys,
    /// Keys from a URL: no padding, and an algorithm that never verifies is found first.
    KeySets,
    /// The Kubernetes auth method without `pem_keys`: no padding, no white space but line ends, the compact serialization only,
    /// and `crit` is not looked at.
    Unverified,
}

/// A token taken apart. Its buffers are wiped when they go.
pub(super) struct SignedToken {
    pub(super) algorithm: Algorithm,
    /// `kid`; empty if there is none.
    pub(super) key_id: String,
    pub(super) payload: Zeroizing<Vec<u8>>,
    input: Zeroizing<Vec<u8>>,
    signature: Zeroizing<Vec<u8>>,
    /// `b64: false`: the payload itself is signed, not its encoding.
    raw: bool,
}

/// The parts of a JWS (RFC 7515, section 7), decoded.
struct Parts {
    protected: Zeroizing<Vec<u8>>,
    unprotected: Option<Value>,
    payload: Zeroizing<Vec<u8>>,
    signature: Zeroizing<Vec<u8>>,
}

impl SignedToken {
    /// Takes a token apart.
    ///
    /// # Errors
    /// `malformed_token`, `unsupported_header` and `unsupported_alg`.
    pub(super) fn read(text: &str, syntax: Syntax) -> Result<Self, Refusal> {
        let compact = syntax == Syntax::Unverified;
        let dropped = |c: char| if compact { matches!(c, '\r' | '\n') } else { c.is_whitespace() };
        // Nearly always there is none: then there is nothing to look for, character by character.
        let is_whole = text.bytes().all(|byte| byte.is_ascii_graphic());
        let without = (!is_whole).then(|| Zeroizing::new(text.chars().filter(|c| !dropped(*c)).collect::<String>()));
        let text: &str = without.as_ref().map_or(text, |text| text);
        let parts = if text.starts_with('{') && !compact {
            Parts::from_json(text, syntax)
        } else {
            Parts::from_compact(text, syntax)
        };
        let Parts { protected, unprotected, payload, signature } = parts.ok_or(Refusal::MalformedToken)?;
        let protected = header(&protected).ok_or(Refusal::MalformedToken)?;
        let merged = Merged { protected: &protected.1, unprotected: unprotected.as_ref() };
        let (algorithm, key_id) = sound_header(&merged).ok_or(Refusal::MalformedToken)?;
        let (critical, raw) = critical_is_met(&merged, syntax);
        let algorithm = Algorithm::from_name(&algorithm);
        match (critical, algorithm) {
            (false, _) if syntax == Syntax::StaticKeys => Err(Refusal::UnsupportedHeader),
            (_, None) => Err(Refusal::UnsupportedAlg),
            (false, _) if syntax == Syntax::KeySets => Err(Refusal::UnsupportedHeader),
            // Where nobody verifies, an empty signature is noticed with the algorithm.
            _ if signature.is_empty() && syntax == Syntax::Unverified => Err(Refusal::UnsupportedAlg),
            (_, Some(algorithm)) => {
                let mut input = Zeroizing::new(BASE64URL.encode(protected.0).into_bytes());
                input.push(b'.');
                if raw {
                    input.extend_from_slice(&payload);
                } else {
                    input.extend_from_slice(Zeroizing::new(BASE64URL.encode(&*payload)).as_bytes());
                }
                Ok(Self { algorithm, key_id, payload, input, signature, raw })
            }
        }
    }

    /// Whether one of the keys verifies the signature. One that might, and cannot be tried, leaves it open.
    pub(super) fn verify<'a>(&self, keys: impl Iterator<Item = &'a PublicKey>) -> Verdict {
        // `b64: false` is known, but hardly anybody signs like that: it is the header then that is wrong.
        let refusal = if self.raw { Refusal::UnsupportedHeader } else { Refusal::BadSignature };
        let mut verdict = Verdict::Refused(refusal);
        for key in keys {
            match self.algorithm.verify(key, &self.input, &self.signature) {
                Verification::Verified => return Verdict::Accepted,
                Verification::Unsupported => verdict = Verdict::Undetermined(Unknown::AlgorithmUnsupported),
                Verification::Failed => {}
            }
        }
        verdict
    }
}

fn decode(text: &str, syntax: Syntax) -> Option<Zeroizing<Vec<u8>>> {
    let text = if syntax == Syntax::StaticKeys { text.trim_end_matches('=') } else { text };
    BASE64URL.decode(text).ok().map(Zeroizing::new)
}

impl Parts {
    fn from_compact(text: &str, syntax: Syntax) -> Option<Self> {
        let mut segments = text.split('.');
        let (Some(protected), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return None;
        };
        let (protected, payload) = (decode(protected, syntax)?, decode(payload, syntax)?);
        Some(Self { protected, unprotected: None, payload, signature: decode(signature, syntax)? })
    }

    /// The flattened serialization, and the general one with one signature.
    fn from_json(text: &str, syntax: Syntax) -> Option<Self> {
        let object = Value::parse(text.as_bytes(), Duplicates::Refuse).ok()?;
        let bytes = |of: &Value, name| match of.member(name) {
            None | Some(Value::Null) => Some(Zeroizing::default()),
            Some(value) => decode(value.as_text()?, syntax),
        };
        let signed = match object.member("signatures") {
            None | Some(Value::Null) => &object,
            Some(Value::List(signatures)) => match &**signatures {
                [] => &object,
                [one] => one,
                _ => return None,
            },
            Some(_) => return None,
        };
        object.member("payload").filter(|payload| **payload != Value::Null)?;
        let unprotected = match signed.member("header") {
            None | Some(Value::Null) => None,
            Some(header @ Value::Object(_)) => Some(header.clone()),
            Some(_) => return None,
        };
        // A nonce counts only where it is signed.
        let nonce = unprotected.as_ref().and_then(|header| header.member("nonce")).and_then(Value::as_text);
        if nonce.is_some_and(|nonce| !nonce.is_empty()) {
            return None;
        }
        let (protected, payload) = (bytes(signed, "protected")?, bytes(&object, "payload")?);
        Some(Self { protected, unprotected, payload, signature: bytes(signed, "signature")? })
    }
}

/// The bytes and the tree of a protected header. Nothing at all, and null, are headers without members.
fn header(bytes: &[u8]) -> Option<(&[u8], Value)> {
    if bytes.is_empty() {
        return Some((bytes, Value::Object(Vec::new())));
    }
    match Value::parse(bytes, Duplicates::Refuse).ok()? {
        Value::Null => Some((bytes, Value::Object(Vec::new()))),
        object @ Value::Object(_) => Some((bytes, object)),
        _ => None,
    }
}

/// Both headers as one.
struct Merged<'a> {
    protected: &'a Value,
    unprotected: Option<&'a Value>,
}

impl Merged<'_> {
    /// What is protected goes first, unless it is empty.
    fn member(&self, name: &str) -> Option<&Value> {
        let protected = self.protected.member(name);
        let is_empty = protected.is_none_or(|value| *value == Value::Null || value.as_text() == Some(""));
        let unprotected = self.unprotected.filter(|_| is_empty).and_then(|header| header.member(name));
        unprotected.or(protected)
    }
}

/// `alg` and `kid` of a header whose members have the right types. `typ`, `cty` and strangers may be anything.
fn sound_header(header: &Merged<'_>) -> Option<(String, String)> {
    let text = |name| match header.member(name) {
        None | Some(Value::Null) => Some(String::new()),
        Some(value) => value.as_text().map(str::to_owned),
    };
    text("nonce")?;
    match header.member("jwk") {
        None | Some(Value::Null) => {}
        // Never trusted, but it has to be a public key.
        Some(jwk) => {
            Jwk::read(jwk)?.key?;
        }
    }
    for certificate in certificate_chain(header.member("x5c"))? {
        PublicKey::from_certificate(&certificate)?;
    }
    Some((text("alg")?, text("kid")?))
}

/// Whether all that `crit` names is known, which is `b64` alone (RFC 7797); and whether `b64` is false. With key sets, `crit` has to
/// stand in the protected header.
fn critical_is_met(header: &Merged<'_>, syntax: Syntax) -> (bool, bool) {
    let known = match header.member("crit") {
        None | Some(Value::Null) => true,
        Some(Value::List(names)) => names.iter().all(|name| name.as_text() == Some("b64")),
        Some(_) => false,
    };
    let unprotected = header.unprotected.and_then(|header| header.member("crit"));
    let misplaced = syntax == Syntax::KeySets && unprotected.is_some();
    (known && !misplaced, header.protected.member("b64") == Some(&Value::Boolean(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [&str; 3] = ["eyJhbGciOiJSUzI1NiJ9", "eyJhIjoxfQ", "AAAA"];

    fn read(text: &str, syntax: Syntax) -> Result<(), Refusal> {
        SignedToken::read(text, syntax).map(|_| ())
    }

    /// As a real OpenBao 2.7.2 took them: static keys, a key set, the Kubernetes method without keys.
    #[test]
    fn three_parsers_of_three_leniencies() {
        let [header, payload, signature] = PARTS;
        let plain = PARTS.join(".");
        let json = format!(r#"{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}"#);
        for (text, taken) in [
            (plain.clone(), [true, true, true]),
            (format!("{plain}\n"), [true, true, true]),
            (format!("{header}\n.\r\n{payload}.{signature}"), [true, true, true]),
            (format!(" {plain}"), [true, true, false]),
            (format!("{plain}\t"), [true, true, false]),
            (format!("{plain}\u{2028}"), [true, true, false]),
            (format!("{header}.eyJh IjoxfQ.{signature}"), [true, true, false]),
            (format!("{plain}\u{200b}"), [false, false, false]),
            (format!("{header}.{payload}==.{signature}"), [true, false, false]),
            (format!("{header}.eyJh=IjoxfQ.{signature}"), [false, false, false]),
            (json, [true, true, false]),
            (format!("{plain}.x"), [false, false, false]),
            (format!("{plain}."), [false, false, false]),
            (format!("{header}.{payload}"), [false, false, false]),
            (format!("Bearer {plain}"), [false, false, false]),
            (format!("\"{plain}\""), [false, false, false]),
            (" ".to_owned(), [false, false, false]),
        ] {
            for (syntax, taken) in [Syntax::StaticKeys, Syntax::KeySets, Syntax::Unverified].into_iter().zip(taken) {
                let wanted = if taken { Ok(()) } else { Err(Refusal::MalformedToken) };
                assert_eq!(read(&text, syntax), wanted, "{text} {syntax:?}");
            }
        }
        let unsigned = format!("{header}.{payload}.");
        assert_eq!(read(&unsigned, Syntax::StaticKeys), Ok(()));
        assert_eq!(read(&unsigned, Syntax::Unverified), Err(Refusal::UnsupportedAlg));
    }

    fn json(protected: &str, header: &str) -> String {
        format!(
            r#"{{"payload":"e30","protected":"{}","header":{header},"signature":"AAAA"}}"#,
            BASE64URL.encode(protected)
        )
    }

    #[test]
    fn of_two_headers_what_is_protected_counts_unless_it_is_empty() {
        for (protected, header, key_id) in [
            (r#"{"alg":"RS256","kid":"a"}"#, r#"{"kid":"b"}"#, "a"),
            (r#"{"alg":"RS256","kid":""}"#, r#"{"kid":"b"}"#, "b"),
            (r#"{"alg":"RS256","kid":null}"#, r#"{"kid":"b"}"#, "b"),
            (r#"{"kid":"a"}"#, r#"{"alg":"RS256"}"#, "a"),
            (r#"{"alg":"","kid":null}"#, r#"{"alg":"RS256","kid":null}"#, ""),
        ] {
            let token = SignedToken::read(&json(protected, header), Syntax::KeySets);
            assert_eq!(token.map(|token| token.key_id).ok().as_deref(), Some(key_id), "{protected} {header}");
        }
        let unsigned = json(r#"{"alg":"RS256"}"#, r#"{"crit":["b64"]}"#);
        assert_eq!(read(&unsigned, Syntax::KeySets), Err(Refusal::UnsupportedHeader));
        assert_eq!(read(&unsigned, Syntax::StaticKeys), Ok(()));
    }

    #[test]
    fn two_headers_of_many_members_are_read_in_a_moment() {
        let begun = std::time::Instant::now();
        let members = |of: &str| (0..40_000).map(|n| format!(r#""{of}{n}":1"#)).collect::<Vec<_>>().join(",");
        let protected = format!(r#"{{{},"alg":"RS256"}}"#, members("a"));
        assert_eq!(read(&json(&protected, &format!("{{{}}}", members("b"))), Syntax::KeySets), Ok(()));
        // Not each member of the one against each of the other: that takes minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn headers_that_no_server_takes() {
        let of = |header: &str, syntax| read(&format!("{}.e30.AAAA", BASE64URL.encode(header)), syntax);
        use Refusal::{MalformedToken, UnsupportedAlg, UnsupportedHeader};
        for (header, fixed, set, unverified) in [
            (r#"{"alg":"RS256","typ":5,"cty":[]}"#, Ok(()), Ok(()), Ok(())),
            (r#"{"alg":"RS256","kid":5}"#, Err(MalformedToken), Err(MalformedToken), Err(MalformedToken)),
            (r#"{"alg":"RS256","a":1,"a":2}"#, Err(MalformedToken), Err(MalformedToken), Err(MalformedToken)),
            (r#"{"alg":"RS256","x5c":["x"]}"#, Err(MalformedToken), Err(MalformedToken), Err(MalformedToken)),
            (r#"{"alg":"RS256","jwk":{"kty":"x"}}"#, Err(MalformedToken), Err(MalformedToken), Err(MalformedToken)),
            (r#"{"alg":"RS256","jku":"https://x","x5u":"https://x"}"#, Ok(()), Ok(()), Ok(())),
            (r#"{"alg":"RS256","crit":["exp"]}"#, Err(UnsupportedHeader), Err(UnsupportedHeader), Ok(())),
            (r#"{"alg":"RS256","crit":["b64"],"b64":true}"#, Ok(()), Ok(()), Ok(())),
            (r#"{"alg":"HS256"}"#, Err(UnsupportedAlg), Err(UnsupportedAlg), Err(UnsupportedAlg)),
            (r#"{"alg":"none"}"#, Err(UnsupportedAlg), Err(UnsupportedAlg), Err(UnsupportedAlg)),
            (r#"{"alg":"rs256"}"#, Err(UnsupportedAlg), Err(UnsupportedAlg), Err(UnsupportedAlg)),
            (r#"{"alg":"HS256","crit":["exp"]}"#, Err(UnsupportedHeader), Err(UnsupportedAlg), Err(UnsupportedAlg)),
            ("{}", Err(UnsupportedAlg), Err(UnsupportedAlg), Err(UnsupportedAlg)),
            ("[]", Err(MalformedToken), Err(MalformedToken), Err(MalformedToken)),
        ] {
            assert_eq!(of(header, Syntax::StaticKeys), fixed, "{header}");
            assert_eq!(of(header, Syntax::KeySets), set, "{header}");
            assert_eq!(of(header, Syntax::Unverified), unverified, "{header}");
        }
    }
}
