//! Whom we believe: bundles of CA certificates, given or the system's.

use crate::whole_file;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where Linux distributions keep their bundle of public CAs: Debian and Alpine, Fedora, openSUSE, RHEL, and the path that
/// OpenSSL itself uses.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A bundle of public CAs has about 250 KiB; this is far beyond.
const MAX_BUNDLE_BYTES: usize = 16 << 20;

/// Which server certificates are accepted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those that lead to a certificate of the bundle and are for the server's name.
    Bundle(TrustBundle),
    /// Every one: `insecure-skip-tls-verify`. Whoever sits on the way reads and changes everything.
    Anyone,
}

/// CA certificates, at least one of them usable. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct TrustBundle {
    pub(super) roots: Arc<RootCertStore>,
    /// The certificates as they are: a server that presents one of them is known, whatever the certificate says of its use.
    pub(super) exact: Arc<HashSet<Vec<u8>>>,
    origin: String,
    unusable: usize,
}

/// Why there is nobody to trust. `origin` says where the bundle came from: a file, or a key of a kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustError {
    /// No `-----BEGIN CERTIFICATE-----` in it.
    NoCertificate {
        /// Where the bundle came from.
        origin: String,
    },
    /// Certificates, but none that could be used.
    NoneUsable {
        /// Where the bundle came from.
        origin: String,
        /// How many there were.
        found: usize,
    },
    /// `SSL_CERT_FILE` names a file that cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: String,
    },
    /// None of the usual files of the system is there.
    NoSystemBundle,
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate { origin } => write!(
                f,
                "{origin}: no certificate in it; expected PEM text with at least one \"-----BEGIN CERTIFICATE-----\""
            ),
            Self::NoneUsable { origin, found } => write!(
                f,
                "{origin}: none of its {found} certificates can be used; is the file complete, and are they X.509 certificates?"
            ),
            Self::Unreadable { path, cause } => {
                write!(f, "SSL_CERT_FILE: {}: {cause}; make it readable or unset the variable", path.display())
            }
            Self::NoSystemBundle => write!(
                f,
                "no CA certificate is configured and the system has no bundle (looked for {}); name the cluster's CA in the \
                 kubeconfig (certificate-authority), or install the package ca-certificates, or set SSL_CERT_FILE",
                SYSTEM_BUNDLES.join(", ")
            ),
        }
    }
}

impl std::error::Error for TrustError {}

impl TrustBundle {
    /// Reads PEM text; other sections than certificates are passed over. `origin` names it in errors, and in what is said
    /// of a refused certificate.
    ///
    /// # Errors
    /// If no certificate is in it, or none can be used.
    pub fn from_pem(pem: &[u8], origin: &str) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        let mut exact = HashSet::new();
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            found += 1;
            let Ok(certificate) = certificate else { continue };
            if roots.add(certificate.clone()).is_ok() {
                exact.insert(certificate.to_vec());
            }
        }
        if found == 0 {
            return Err(TrustError::NoCertificate { origin: origin.to_owned() });
        }
        if roots.is_empty() {
            return Err(TrustError::NoneUsable { origin: origin.to_owned(), found });
        }
        let unusable = found - roots.len();
        Ok(Self { roots: Arc::new(roots), exact: Arc::new(exact), origin: origin.to_owned(), unusable })
    }

    /// The system's public CAs: the file that `SSL_CERT_FILE` names (`ssl_cert_file`), else the first of the usual files
    /// that can be used.
    ///
    /// # Errors
    /// If there is none.
    pub fn system(ssl_cert_file: Option<&Path>) -> Result<Self, TrustError> {
        if let Some(path) = ssl_cert_file {
            let pem = whole_file::read(path, MAX_BUNDLE_BYTES)
                .map_err(|error| TrustError::Unreadable { path: path.to_owned(), cause: error.to_string() })?;
            return Self::from_pem(&pem, &format!("SSL_CERT_FILE: {}", path.display()));
        }
        SYSTEM_BUNDLES
            .iter()
            .find_map(|path| {
                let pem = whole_file::read(Path::new(path), MAX_BUNDLE_BYTES).ok()?;
                // No server is itself in the system's bundle, and a copy of all of it is not small.
                Self::from_pem(&pem, path).ok().map(|bundle| Self { exact: Arc::default(), ..bundle })
            })
            .ok_or(TrustError::NoSystemBundle)
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many of its certificates are usable.
    #[must_use]
    pub fn usable(&self) -> usize {
        self.roots.len()
    }

    /// How many of its certificates are not, which deserves a warning if it is more than none.
    #[must_use]
    pub fn unusable(&self) -> usize {
        self.unusable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_client::test_server::Ca;

    #[test]
    fn a_bundle_counts_what_it_cannot_use() {
        let pem = format!(
            "# a comment\n{}-----BEGIN CERTIFICATE-----\nMAoCAQE=\n-----END CERTIFICATE-----\n{}",
            Ca::new("one").pem(),
            Ca::new("two").pem()
        );
        let bundle = TrustBundle::from_pem(pem.as_bytes(), "ca.crt").unwrap();
        assert_eq!((bundle.usable(), bundle.unusable(), bundle.origin()), (2, 1, "ca.crt"));
    }

    #[test]
    fn a_bundle_without_a_usable_certificate_is_an_error() {
        for (pem, error) in [
            ("", TrustError::NoCertificate { origin: "x".into() }),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                TrustError::NoCertificate { origin: "x".into() },
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                TrustError::NoneUsable { origin: "x".into(), found: 1 },
            ),
            ("-----BEGIN CERTIFICATE-----\n!!!!\n", TrustError::NoneUsable { origin: "x".into(), found: 1 }),
        ] {
            assert_eq!(TrustBundle::from_pem(pem.as_bytes(), "x").unwrap_err(), error, "{pem}");
        }
    }

    #[test]
    fn ssl_cert_file_is_the_only_place_when_it_is_set() {
        let error = TrustBundle::system(Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
        assert!(error.to_string().starts_with("SSL_CERT_FILE: /nowhere/ca.pem: No such file"), "{error}");
    }
}
