//! Public keys by strangers: a JWK Set, a PEM block, DER without its armour. What is read is used once, on a signature that cannot
//! be right.

use jwt_exporter::jwt::PublicKey;
use jwt_exporter::jwt::jwk::{JwkSet, MAX_KEYS};
use jwt_exporter::jwt::signature::{Algorithm, Verification};

/// Runs one input. Returns whether it was accepted.
pub(super) fn run(input: &[u8]) -> bool {
    let mut keys: Vec<PublicKey> = Vec::new();
    let mut accepted = false;
    if let Ok(set) = JwkSet::parse(input) {
        accepted = true;
        assert!(set.keys.len() <= MAX_KEYS);
        assert_eq!(set.candidates("").count(), set.keys.len());
        for key in &set.keys {
            assert!(set.candidates(&key.key_id).any(|candidate| candidate == key), "a key is not found by its kid");
        }
        keys.extend(set.keys.into_iter().filter_map(|jwk| jwk.key));
    }
    let pem = std::str::from_utf8(input).ok().and_then(|text| PublicKey::from_pem(text).ok());
    let bare = [PublicKey::from_spki(input), PublicKey::from_certificate(input)];
    for key in bare.into_iter().flatten().chain(pem) {
        accepted = true;
        keys.push(key);
    }
    for key in keys.iter().take(4) {
        assert!(key.describe().len() < 20);
        let length = match key {
            PublicKey::Rsa { modulus, .. } => modulus.len().min(1024),
            PublicKey::Ec { .. } => 64,
            PublicKey::Ed25519(_) => 64,
        };
        for algorithm in [Algorithm::RS384, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA] {
            let verification = algorithm.verify(key, b"input", &vec![0; length]);
            assert_ne!(verification, Verification::Verified, "zeros verify");
        }
    }
    accepted
}
