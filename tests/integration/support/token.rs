//! JSON Web Tokens for tests that never verify them: the signature is random, and so unlike any other text.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};

/// A token in compact serialization (RFC 7515, section 7.1) of this header and these claims, with a random signature.
pub fn jwt(header: &Value, claims: &Value) -> String {
    let signature: Vec<u8> = (0..4_u8).flat_map(|part| RandomState::new().hash_one(part).to_be_bytes()).collect();
    [header.to_string().as_bytes(), claims.to_string().as_bytes(), &signature].map(base64url).join(".")
}

/// The same with the header `{"alg":"HS256","typ":"JWT"}`.
pub fn hs256(claims: &Value) -> String {
    jwt(&json!({"alg": "HS256", "typ": "JWT"}), claims)
}

/// Base64url without padding (RFC 7515, section 2).
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Now, as a NumericDate.
pub fn now() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_secs()).unwrap()
}
