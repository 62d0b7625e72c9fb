//! Public keys as mounts name them: PEM blocks with a PKIX key or a certificate (RFC 7468, RFC 5280).

use super::der::{Der, SubjectPublicKeyInfo};
use super::modular::Modulus;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// A key that may verify signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa {
        /// n
        modulus: Vec<u8>,
        /// e
        exponent: Vec<u8>,
    },
    /// A point on a curve, uncompressed: `04`, x, y.
    Ec {
        /// Which curve.
        curve: Curve,
        /// Both coordinates.
        point: Vec<u8>,
    },
    /// RFC 8032.
    Ed25519([u8; 32]),
}

/// The curves of RFC 7518, section 6.2.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1
    P256,
    /// secp384r1
    P384,
    /// secp521r1
    P521,
}

/// Why a text is no public key. Named for what the servers refuse at configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemFault {
    /// No `-----BEGIN …-----` block, or one that does not end or is not base64.
    NoBlock,
    /// Something stands behind the block: one entry is one key.
    TrailingData,
    /// Neither a PKIX public key (RSA, EC on P-256, P-384 or P-521, Ed25519) nor an X.509 certificate. PKCS#1 (`BEGIN RSA PUBLIC
    /// KEY`) is none.
    NoKey,
}

impl fmt::Display for PemFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBlock => "data does not contain any PEM block",
            Self::TrailingData => "unexpected data behind the PEM block: one entry is one key",
            Self::NoKey => {
                "neither a PKIX public key (RSA, EC on P-256, P-384 or P-521, Ed25519) nor an X.509 certificate; \
                 `RSA PUBLIC KEY` (PKCS#1) does not count"
            }
        })
    }
}

impl std::error::Error for PemFault {}

impl Curve {
    /// Bytes of a coordinate.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// As JWKs name it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "P-256" => Some(Self::P256),
            "P-384" => Some(Self::P384),
            "P-521" => Some(Self::P521),
            _ => None,
        }
    }

    /// The field's prime and the constant b (SEC 2, sections 2.4.2, 2.5.1, 2.6.1), in hexadecimal.
    fn parameters(self) -> (&'static str, &'static str) {
        match self {
            Self::P256 => (
                "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
                "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
            ),
            Self::P384 => (
                "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
                "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
            ),
            Self::P521 => (
                "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
            ),
        }
    }
}

impl PublicKey {
    /// A point of a curve, if it is one.
    #[must_use]
    pub fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Option<Self> {
        let right_size = x.len() == curve.bytes() && y.len() == curve.bytes();
        if !right_size || !is_on_curve(curve, x, y)? {
            return None;
        }
        Some(Self::Ec { curve, point: [&[4], x, y].concat() })
    }

    /// Reads one PEM block: a PKIX public key or an X.509 certificate, whose dates do not matter. The label is not looked at.
    ///
    /// # Errors
    /// [`PemFault`].
    pub fn from_pem(text: &str) -> Result<Self, PemFault> {
        let (der, rest) = pem_block(text).ok_or(PemFault::NoBlock)?;
        if !rest.trim_ascii().is_empty() {
            return Err(PemFault::TrailingData);
        }
        Self::from_spki(&der).or_else(|| Self::from_certificate(&der)).ok_or(PemFault::NoKey)
    }

    /// Reads a PKIX SubjectPublicKeyInfo.
    #[must_use]
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        SubjectPublicKeyInfo::read(der).and_then(|info| Self::of(&info))
    }

    /// Reads the key out of an X.509 certificate in DER.
    #[must_use]
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        SubjectPublicKeyInfo::of_certificate(der).and_then(|info| Self::of(&info))
    }

    /// RFC 3279, sections 2.3.1 and 2.3.5; RFC 5480, section 2; RFC 8410, section 3.
    fn of(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
        const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
        const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
        const NULL: &[u8] = &[5, 0];
        match info.algorithm {
            RSA if info.parameters == NULL => {
                let mut outer = Der::new(info.key);
                let mut key = outer.sequence()?;
                let (modulus, exponent) = (key.unsigned()?, key.unsigned()?);
                let whole = key.is_empty() && outer.is_empty() && exponent.len() <= 8;
                whole.then(|| Self::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
            }
            EC => {
                let curve = match Der::new(info.parameters).oid()? {
                    [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => Curve::P256,
                    [0x2b, 0x81, 4, 0, 0x22] => Curve::P384,
                    [0x2b, 0x81, 4, 0, 0x23] => Curve::P521,
                    _ => return None,
                };
                let (x, y) = info.key.strip_prefix(&[4])?.split_at_checked(curve.bytes())?;
                Self::ec(curve, x, y)
            }
            ED25519 if info.parameters.is_empty() => info.key.try_into().ok().map(Self::Ed25519),
            _ => None,
        }
    }

    /// Kind and size, for people: `RSA 2048`, `EC P-256`, `Ed25519`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Rsa { modulus, .. } => format!("RSA {}", modulus_bits(modulus)),
            Self::Ec { curve: Curve::P256, .. } => "EC P-256".to_owned(),
            Self::Ec { curve: Curve::P384, .. } => "EC P-384".to_owned(),
            Self::Ec { curve: Curve::P521, .. } => "EC P-521".to_owned(),
            Self::Ed25519(_) => "Ed25519".to_owned(),
        }
    }
}

/// The bits of a number without leading zero bytes.
pub(super) fn modulus_bits(modulus: &[u8]) -> usize {
    let top = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    (modulus.len() * 8).saturating_sub(top)
}

/// y² = x³ − 3x + b
fn is_on_curve(curve: Curve, x: &[u8], y: &[u8]) -> Option<bool> {
    let (prime, b) = curve.parameters();
    let (prime, mut b) = (from_hex(prime), from_hex(b));
    b.truncate(curve.bytes());
    let field = Modulus::new(&prime)?;
    let (Some(x), Some(y)) = (field.residue(x), field.residue(y)) else { return Some(false) };
    let b = field.residue(&b)?;
    // The three taken from x³ goes to the other side.
    let left = field.add(&field.multiply(&y, &y), &field.add(&x, &field.add(&x, &x)));
    let right = field.add(&field.power(&x, &[3]), &b);
    Some(left == right)
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}

/// The bytes of the first PEM block, and what stands behind it: as Go's `encoding/pem` finds it, whose first and last line begin
/// at the start of a line and end with it.
fn pem_block(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut rest = text;
    loop {
        let from = match rest.strip_prefix("-----BEGIN ") {
            Some(from) => from,
            None => rest.split_once("\n-----BEGIN ")?.1,
        };
        let (label, behind) = line(from);
        rest = behind;
        let Some(label) = label.strip_suffix("-----") else { continue };
        // Headers (RFC 1421, section 4.6) are the lines with a colon.
        let mut body = behind;
        while let (true, (header, below)) = (!body.is_empty(), line(body)) {
            if !header.contains(':') {
                break;
            }
            body = below;
        }
        let empty = body.strip_prefix("-----END ").map(|end| ("", end));
        let Some((body, end)) = empty.or_else(|| body.split_once("\n-----END ")) else { continue };
        let Some(end) = end.strip_prefix(label).and_then(|end| end.strip_prefix("-----")) else { continue };
        let (blank, end) = line(end);
        let body: String = body.chars().filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n')).collect();
        if let ("", Ok(der)) = (blank, STANDARD.decode(body)) {
            return Some((der, end));
        }
    }
}

/// The first line without the white space at its end, and what stands below it.
fn line(text: &str) -> (&str, &str) {
    let (line, below) = text.split_once('\n').unwrap_or((text, ""));
    (line.strip_suffix('\r').unwrap_or(line).trim_end_matches([' ', '\t']), below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7517, appendix A.1 (P-256), and the base points of the two larger curves (SEC 2).
    #[test]
    fn points_lie_on_their_curves() {
        for (curve, x, y) in [
            (
                Curve::P256,
                "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
                "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
            ),
            (
                Curve::P384,
                "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
                "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
            ),
            (
                Curve::P521,
                "00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66",
                "011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
            ),
        ] {
            let (x, mut y) = (from_hex(x), from_hex(y));
            assert!(PublicKey::ec(curve, &x, &y).is_some(), "{curve:?}");
            *y.last_mut().unwrap() ^= 1;
            assert!(PublicKey::ec(curve, &x, &y).is_none(), "{curve:?}");
            assert!(
                PublicKey::ec(curve, &x[1..], &y).is_none() && PublicKey::ec(curve, &vec![0xff; x.len()], &y).is_none()
            );
        }
    }

    #[test]
    fn certificates_and_keys_of_every_kind_give_the_same_key() {
        for (algorithm, described) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, "EC P-256"),
            (&rcgen::PKCS_ECDSA_P384_SHA384, "EC P-384"),
            (&rcgen::PKCS_ED25519, "Ed25519"),
        ] {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::new(vec!["a.test".into()]).unwrap().self_signed(&pair).unwrap();
            let key = PublicKey::from_pem(&pair.public_key_pem()).unwrap();
            assert_eq!(PublicKey::from_pem(&certificate.pem()), Ok(key.clone()));
            assert_eq!(key.describe(), described);
        }
    }

    #[test]
    fn one_entry_is_one_block() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let pem = pair.public_key_pem();
        assert!(PublicKey::from_pem(&format!("comment\n{pem}\n \n")).is_ok());
        assert!(PublicKey::from_pem(&pem.replace('\n', "\r\n")).is_ok());
        assert!(PublicKey::from_pem(&pem.replacen("KEY-----\n", "KEY-----\nProc-Type: 4\n\n", 1)).is_ok());
        assert!(PublicKey::from_pem(&pem.replacen("KEY-----\n", "KEY----- \t\r\n", 1)).is_ok());
        assert!(PublicKey::from_pem(&format!("-----BEGIN X-----\n{pem}")).is_ok());
        assert_eq!(PublicKey::from_pem(&format!("{pem}{pem}")), Err(PemFault::TrailingData));
        assert_eq!(PublicKey::from_pem(&pair.serialize_pem()), Err(PemFault::NoKey));
        for text in [
            "",
            "abc",
            "-----BEGIN PUBLIC KEY-----\nAAAA",
            &pem.replace("END", "FIN"),
            &pem.replacen('M', "*", 1),
            // One line, or not at the start of one.
            &pem.replace('\n', ""),
            &pem.replace('\n', " "),
            &format!(" {pem}"),
            &pem.replacen("-----\n", "-----", 1),
        ] {
            assert_eq!(PublicKey::from_pem(text), Err(PemFault::NoBlock), "{text}");
        }
    }

    #[test]
    fn every_cut_of_a_key_is_refused() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a.test".into()]).unwrap().self_signed(&pair).unwrap();
        for end in 0..certificate.der().len() {
            assert!(PublicKey::from_certificate(&certificate.der()[..end]).is_none(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,20}(-----BEGIN [A-Z]{0,4}-----[A-Za-z0-9+/=\n]{0,60}-----END [A-Z]{0,4}-----)?\\PC{0,5}") {
            let _ = PublicKey::from_pem(&text);
        }
    }
}
