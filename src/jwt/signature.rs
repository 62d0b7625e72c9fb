//! The one door to `ring`: does a key verify a signature (RFC 7518, section 3; RFC 8037, section 3.1)?
//!
//! Only `ring` says yes. Where it has no parameters for a key, the answer is [`Verification::Unsupported`] unless it is sure that
//! the signature is wrong: RSA is then worked out by [`super::modular`], which is good enough for a no.

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
            encoded.get(skipped..).is_some_and(|encoded| is_pss(self.digest(), encoded, bits, hash.as_ref()))
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
    let mut block: Vec<u8> = masked.to_vec();
    for (counter, chunk) in (0u32..).zip(block.chunks_mut(algorithm.output_len())) {
        let mut mask = Context::new(algorithm);
        mask.update(claimed);
        mask.update(&counter.to_be_bytes());
        chunk.iter_mut().zip(mask.finish().as_ref()).for_each(|(byte, mask)| *byte ^= mask);
    }
    // The bits above those of the modulus are no part of it.
    if let Some(top) = block.first_mut() {
        *top &= 0xff >> ((8 - bits % 8) % 8);
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
