//! Keys that sign, on P-256.

use crate::support::token::base64url;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

pub struct Key {
    pair: EcdsaKeyPair,
    pem: String,
    pub kid: String,
}

impl Key {
    pub fn new(kid: &str) -> Self {
        let generated = rcgen::KeyPair::generate().unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &generated.serialize_der(),
            &SystemRandom::new(),
        );
        Self { pair: pair.unwrap(), pem: generated.public_key_pem(), kid: kid.to_owned() }
    }

    /// The public key, PKIX.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "x": base64url(x), "y": base64url(y)})
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({"alg": "ES256", "kid": self.kid}), claims)
    }

    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(header, &claims.to_string())
    }

    /// The claims set as it is written.
    pub fn sign_text(&self, header: &Value, claims: &str) -> String {
        let input = [header.to_string().as_bytes(), claims.as_bytes()].map(base64url).join(".");
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", base64url(signature.as_ref()))
    }
}

/// The set with these keys.
pub fn key_set(keys: &[&Key]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}
