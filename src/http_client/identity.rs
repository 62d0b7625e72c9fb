//! Who we say we are: a client certificate and its private key.

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;

/// A client certificate, the chain below it, and its private key, known to belong together. Cloning is cheap.
#[derive(Clone)]
pub struct ClientIdentity(pub(super) Arc<CertifiedKey>);

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(…)")
    }
}

/// Why a certificate and a key are no identity. Nothing of either is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// No `-----BEGIN CERTIFICATE-----` in the certificate's text.
    NoCertificate,
    /// One of the certificates cannot be decoded.
    BadCertificate,
    /// No private key in the key's text.
    NoKey,
    /// The key is encrypted with a passphrase.
    EncryptedKey,
    /// The key is of a kind that is not supported, or broken.
    BadKey,
    /// The key is not the certificate's.
    Mismatch,
}

impl IdentityError {
    /// Whether the certificate is to blame; else it is the key.
    #[must_use]
    pub fn is_about_certificate(self) -> bool {
        matches!(self, Self::NoCertificate | Self::BadCertificate)
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCertificate => "no certificate in it; expected PEM text with \"-----BEGIN CERTIFICATE-----\"",
            Self::BadCertificate => "the certificate cannot be decoded; is the PEM text complete?",
            Self::NoKey => {
                "no private key in it; expected PEM text with \"-----BEGIN PRIVATE KEY-----\" (or RSA, EC PRIVATE KEY)"
            }
            Self::EncryptedKey => {
                "the private key is encrypted, and nobody is here to type a passphrase; store it decrypted \
                 (openssl pkey -in key.pem)"
            }
            Self::BadKey => {
                "the private key cannot be used; supported are RSA from 2048 bits, ECDSA P-256 and P-384, and Ed25519"
            }
            Self::Mismatch => "the private key does not belong to the client certificate",
        })
    }
}

impl std::error::Error for IdentityError {}

impl ClientIdentity {
    /// Reads a certificate with its chain, leaf first, and the leaf's key, both PEM.
    ///
    /// # Errors
    /// Whichever of the two is unusable, or that they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|_| IdentityError::BadCertificate)?;
        let leaf = chain.first().ok_or(IdentityError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
            let text = String::from_utf8_lossy(key);
            if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
                IdentityError::EncryptedKey
            } else if text.contains("PRIVATE KEY-----") {
                IdentityError::BadKey
            } else {
                IdentityError::NoKey
            }
        })?;
        let key = provider().key_provider.load_private_key(key).map_err(|_| IdentityError::BadKey)?;
        let public_key = key.public_key().map(|spki| spki.as_ref().to_vec());
        let leaf = leaf.clone();
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(IdentityError::Mismatch),
            // rustls cannot read X.509 version 1, which MicroK8s and old scripts make; only the server has to. The error's
            // variant sits in a crate that we do not name; its name is pinned by a test. The public key stands in the
            // certificate as it is, so that even there a mismatch is found.
            Err(error) if format!("{error:?}").contains("UnsupportedCertVersion") => {
                let holds = |spki: &Vec<u8>| leaf.windows(spki.len()).any(|part| part == spki);
                if !public_key.as_ref().is_some_and(holds) {
                    return Err(IdentityError::Mismatch);
                }
            }
            Err(_) => return Err(IdentityError::BadCertificate),
        }
        Ok(Self(Arc::new(certified)))
    }
}

/// The cryptography of this program, named everywhere: no process-wide default is installed or relied upon.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_client::test_server::Ca;

    // How they were made stands beside them.
    const V1_CERTIFICATE: &str = include_str!("../../tests/fixtures/tls/v1-client.crt");
    const V1_KEY: &str = include_str!("../../tests/fixtures/tls/v1-client.key");

    #[test]
    fn certificate_and_key_must_belong_together() {
        let ca = Ca::new("ca");
        let (one, other) = (ca.client("one"), ca.client("other"));
        assert!(ClientIdentity::from_pem(one.certificate.as_bytes(), one.key.as_bytes()).is_ok());
        let error = ClientIdentity::from_pem(one.certificate.as_bytes(), other.key.as_bytes()).unwrap_err();
        assert_eq!(error, IdentityError::Mismatch);
    }

    #[test]
    fn a_version_1_certificate_is_sent_like_any_other() {
        assert!(ClientIdentity::from_pem(V1_CERTIFICATE.as_bytes(), V1_KEY.as_bytes()).is_ok());
    }

    #[test]
    fn each_mistake_has_its_name() {
        let client = Ca::new("ca").client("one");
        let (certificate, key) = (client.certificate.as_str(), client.key.as_str());
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let broken_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (certificate, key, error) in [
            ("", key, IdentityError::NoCertificate),
            (key, key, IdentityError::NoCertificate),
            (broken_certificate, key, IdentityError::BadCertificate),
            (V1_CERTIFICATE, key, IdentityError::Mismatch),
            (certificate, "", IdentityError::NoKey),
            (certificate, encrypted, IdentityError::EncryptedKey),
            (certificate, broken, IdentityError::BadKey),
        ] {
            assert_eq!(ClientIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err(), error);
        }
    }
}
