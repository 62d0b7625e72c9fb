//! JSON Web Keys and sets of them (RFC 7517), read as strictly and as leniently as `go-jose` does, which is what the servers
//! use: one key that cannot be read spoils the whole set, `use`, `key_ops` and `alg` are not looked at.

use super::public_key::{Curve, PublicKey};
use crate::json::{Duplicates, Value};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, PAD};
use std::fmt;

/// More keys than this are no key set: real ones have two to ten.
pub const MAX_KEYS: usize = 1_000;

/// base64url as Go's `RawURLEncoding` reads it: no padding, and the bits that are left over may be anything.
pub(crate) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A key with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    /// `kid`; empty if it has none.
    pub key_id: String,
    /// `None` for what can be read but never verifies: symmetric and private keys.
    pub key: Option<PublicKey>,
}

/// A JWK Set (RFC 7517, section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwkSet {
    /// In the order of the document.
    pub keys: Vec<Jwk>,
}

/// Why a document is no JWK Set that could be used. Holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwkSetFault {
    /// No JSON object with a list `keys`.
    NoSet,
    /// More than [`MAX_KEYS`].
    TooManyKeys,
    /// A key that the server could not read: with it, it takes none of them.
    Key {
        /// Which one, from 1.
        position: usize,
    },
}

impl fmt::Display for JwkSetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSet => f.write_str("no JSON object with a list `keys`"),
            Self::TooManyKeys => write!(f, "more than {MAX_KEYS} keys"),
            Self::Key { position } => {
                write!(f, "key {position} cannot be read (unknown kty or crv, incomplete, or a broken x5c)")
            }
        }
    }
}

impl std::error::Error for JwkSetFault {}

impl JwkSet {
    /// Reads a document.
    ///
    /// # Errors
    /// [`JwkSetFault`].
    pub fn parse(document: &[u8]) -> Result<Self, JwkSetFault> {
        let read = |duplicates| Value::parse(document, duplicates).map_err(|_| JwkSetFault::NoSet);
        // Names may repeat outside of keys. A key with a repeated name is found by the stricter reading.
        let lenient = read(Duplicates::LastWins)?;
        let members = match &lenient {
            Value::Object(members) => members.as_slice(),
            // As good as a set without keys.
            Value::Null => &[],
            _ => return Err(JwkSetFault::NoSet),
        };
        let keys = members.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case("keys")).map(|(_, value)| value);
        let keys = match keys {
            None | Some(Value::Null) => &[][..],
            Some(Value::List(keys)) => keys,
            Some(_) => return Err(JwkSetFault::NoSet),
        };
        if keys.len() > MAX_KEYS {
            return Err(JwkSetFault::TooManyKeys);
        }
        let repeats = read(Duplicates::Refuse).is_err().then(|| repeating_key(document)).flatten();
        let mut set = Self::default();
        for (index, key) in keys.iter().enumerate() {
            let fault = JwkSetFault::Key { position: index + 1 };
            let jwk = Jwk::read(key).filter(|_| repeats != Some(index)).ok_or(fault)?;
            set.keys.push(jwk);
        }
        Ok(set)
    }

    /// The keys that a token with this `kid` is tried with: all of them if it has none, else those of exactly that name.
    pub fn candidates<'a>(&'a self, key_id: &'a str) -> impl Iterator<Item = &'a Jwk> {
        self.keys.iter().filter(move |key| key_id.is_empty() || key.key_id == key_id)
    }
}

/// The first element of `keys` that names a member twice.
fn repeating_key(document: &[u8]) -> Option<usize> {
    let text = crate::json::text(document).ok()?;
    let mut found = None;
    crate::json::members(text, |name, keys| {
        if name.eq_ignore_ascii_case("keys") {
            let (mut at, mut repeating) = (0, None);
            let _ = crate::json::elements(keys, |key| {
                if repeating.is_none() && Value::parse(key.as_bytes(), Duplicates::Refuse).is_err() {
                    repeating = Some(at);
                }
                at += 1;
            });
            found = repeating;
        }
    })
    .ok()?;
    found
}

impl Jwk {
    /// Reads one key. `None` for what `go-jose` refuses.
    #[must_use]
    pub fn read(jwk: &Value) -> Option<Self> {
        if !matches!(jwk, Value::Object(_)) {
            return None;
        }
        let members = Members(jwk);
        // Members that another kind of key has have their types all the same.
        for name in ["use", "alg", "x5u", "crv"] {
            members.text(name)?;
        }
        for name in ["n", "e", "x", "y", "k", "p", "q", "dp", "dq", "qi"] {
            members.bytes(name)?;
        }
        let key_id = members.text("kid")?.to_owned();
        let certificates = members.certificates()?;
        let certified = match certificates.first() {
            Some(der) => Some(PublicKey::from_certificate(der)?),
            None => None,
        };
        for certificate in &certificates {
            PublicKey::from_certificate(certificate)?;
        }
        let is_private = members.bytes("d")?.is_some();
        let public = match members.text("kty")? {
            "RSA" => {
                let (modulus, exponent) = (members.bytes("n")??, members.bytes("e")??);
                if is_private {
                    members.bytes("p")??;
                    members.bytes("q")??;
                }
                PublicKey::Rsa { modulus: without_zeros(modulus), exponent: without_zeros(exponent) }
            }
            "EC" => {
                let curve = Curve::from_name(members.text("crv")?)?;
                let key = PublicKey::ec(curve, &members.bytes("x")??, &members.bytes("y")??)?;
                if is_private && members.bytes("d")??.len() != curve.bytes() {
                    return None;
                }
                key
            }
            "OKP" if members.text("crv")? == "Ed25519" => {
                // Too short a key is filled with zeros, too long a one is cut.
                let mut key = [0; 32];
                for (to, from) in key.iter_mut().zip(members.bytes("x")??) {
                    *to = from;
                }
                PublicKey::Ed25519(key)
            }
            "oct" if certified.is_none() => {
                members.bytes("k")??;
                return Some(Self { key_id, key: None });
            }
            _ => return None,
        };
        let agrees = certified.is_none_or(|certified| certified == public);
        (agrees && members.thumbprints_fit()?).then_some(Self { key_id, key: (!is_private).then_some(public) })
    }
}

fn without_zeros(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// The members of a key with the types they must have.
struct Members<'a>(&'a Value);

impl<'a> Members<'a> {
    /// A string; empty if it is absent or null, `None` if it is anything else.
    fn text(&self, name: &str) -> Option<&'a str> {
        match self.0.member(name) {
            None | Some(Value::Null) => Some(""),
            Some(value) => value.as_text(),
        }
    }

    /// base64url; `Some(None)` if it is absent or null.
    #[allow(clippy::option_option)] // absent and unreadable are two things here
    fn bytes(&self, name: &str) -> Option<Option<Vec<u8>>> {
        match self.0.member(name) {
            None | Some(Value::Null) => Some(None),
            Some(value) => Some(Some(BASE64URL.decode(value.as_text()?).ok()?)),
        }
    }

    /// `x5c`: standard base64 of DER, the leaf first (RFC 7517, section 4.7).
    fn certificates(&self) -> Option<Vec<Vec<u8>>> {
        certificate_chain(self.0.member("x5c"))
    }

    /// `x5t` and `x5t#S256` have the length of their digest, or twice that in hexadecimal.
    fn thumbprints_fit(&self) -> Option<bool> {
        let fits = |name, length: usize| {
            let thumbprint = BASE64URL.decode(self.text(name)?).ok()?;
            let hexadecimal = thumbprint.len() == length * 2 && thumbprint.iter().all(u8::is_ascii_hexdigit);
            Some(thumbprint.is_empty() || thumbprint.len() == length || hexadecimal)
        };
        Some(fits("x5t", 20)? && fits("x5t#S256", 32)?)
    }
}

/// The certificates of an `x5c`; `None` if it is no list of base64.
pub(crate) fn certificate_chain(x5c: Option<&Value>) -> Option<Vec<Vec<u8>>> {
    let padded = GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_allow_trailing_bits(true));
    match x5c {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::List(items)) => items.iter().map(|item| padded.decode(item.as_text()?).ok()).collect(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each as a real server took the set, or refused all of it.
    #[test]
    fn one_key_that_cannot_be_read_spoils_the_set() {
        let ed25519 = r#""kty":"OKP","crv":"Ed25519","x":"fLtE1pIbagYug54hP8zY2WuUfAoR0gfiN3_nBCST7zk""#;
        let key = |fault: &str| format!(r#"{{"keys":[{{{ed25519}}},{{{ed25519}{fault}}}]}}"#);
        for (document, wanted) in [
            (key(r#","use":"enc","alg":"x","key_ops":[5]"#), Some(2)),
            (key(r#","e":null,"x5t":"""#), Some(2)),
            ("null".to_owned(), Some(0)),
            ("{}".to_owned(), Some(0)),
            (r#"{"keys":null}"#.to_owned(), Some(0)),
            (r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#.to_owned(), Some(1)),
            // Members of other kinds of keys have their types, too.
            (key(r#","e":5"#), None),
            (key(r#","n":"*""#), None),
            (key(r#","crv2":1,"use":5"#), None),
            (key(r#","x5c":["x"]"#), None),
            (key(r#","kid":5"#), None),
            (key(r#","x":"AA""#), None),
            (r#"{"keys":[{"kty":"OKP","crv":"X25519","x":"AAAA"}]}"#.to_owned(), None),
            (r#"{"keys":[{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}]}"#.to_owned(), None),
            (r#"{"keys":[{"kty":"RSA","n":"AQAB"}]}"#.to_owned(), None),
            (r#"{"keys":{}}"#.to_owned(), None),
            ("[]".to_owned(), None),
        ] {
            let keys = JwkSet::parse(document.as_bytes()).ok().map(|set| set.keys.len());
            assert_eq!(keys, wanted, "{document}");
        }
    }
}
