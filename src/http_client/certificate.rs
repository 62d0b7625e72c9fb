//! What is wrong with a server's certificate, in words that an operator can act on.

use crate::time::UnixSeconds;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::sync::Arc;

use super::identity::provider;
use super::trust::TrustBundle;

/// Shortest RSA key that is accepted, in bits; shorter ones can be broken.
const MIN_RSA_BITS: usize = 2048;

/// A server certificate that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRefused {
    /// The name or address that the certificate has to be for.
    pub server_name: String,
    /// Where the trusted CA certificates came from, and how many they are.
    pub trust: String,
    /// The rule that it breaks.
    pub rule: RefusalRule,
}

/// The rule that a certificate breaks (RFC 5280, RFC 6125).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalRule {
    /// No trusted certificate issued it.
    UnknownIssuer,
    /// It, or one that issued it, is no longer valid.
    Expired {
        /// End of its validity; `None` if that cannot be told.
        since: Option<UnixSeconds>,
    },
    /// It, or one that issued it, is not valid yet.
    NotYetValid {
        /// Begin of its validity; `None` if that cannot be told.
        until: Option<UnixSeconds>,
    },
    /// It is for other names.
    WrongName {
        /// The names it has; no more than the first sixteen.
        has: Vec<String>,
    },
    /// A CA certificate presented as a server's own.
    CaAsServer,
    /// X.509 version 1 or 2.
    OldVersion,
    /// An RSA key that is too short.
    WeakKey {
        /// Its length.
        bits: usize,
    },
    /// Signed with an algorithm that is not supported.
    UnsupportedSignature {
        /// The algorithm as far as it is known.
        algorithm: &'static str,
    },
    /// A signature in the chain or in the handshake is wrong.
    BadSignature,
    /// Not made for servers: its extended key usage says so.
    WrongPurpose,
    /// It cannot be decoded.
    BadEncoding,
    /// A critical extension that nobody here knows.
    CriticalExtension,
    /// A name constraint of a CA forbids its names.
    NameConstraint,
    /// Something else, in the words of the TLS library.
    Other(String),
}

impl fmt::Display for CertificateRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server_name, trust, rule } = self;
        write!(f, "the certificate of the server, wanted for \"{server_name}\", is refused: ")?;
        match rule {
            RefusalRule::UnknownIssuer => write!(
                f,
                "no trusted CA issued it (trusted: {trust}); is this the CA of that server, and does the server send its \
                 intermediate certificates?"
            ),
            RefusalRule::Expired { since } => {
                f.write_str("it, or one that issued it, expired")?;
                if let Some(since) = since {
                    write!(f, " on {since}")?;
                }
                f.write_str("; renew the server's certificate, or correct the clock of this machine")
            }
            RefusalRule::NotYetValid { until } => {
                f.write_str("it, or one that issued it, is not valid yet")?;
                if let Some(until) = until {
                    write!(f, ", only from {until} on")?;
                }
                f.write_str("; is the clock of this machine right?")
            }
            RefusalRule::WrongName { has } if has.is_empty() => f.write_str(
                "it has no subject alternative name (a common name alone does not count); issue it again with one",
            ),
            RefusalRule::WrongName { has } => write!(
                f,
                "it is for other names ({}); use one of them in the server's URL, or set tls-server-name to one of them, \
                 or issue it again with this name",
                has.join(", ")
            ),
            RefusalRule::CaAsServer => f.write_str(
                "it is a CA certificate (CA:TRUE) used as a server's own; issue the server a certificate with CA:FALSE, or \
                 trust exactly this certificate by putting it into the CA bundle",
            ),
            RefusalRule::OldVersion => {
                f.write_str("it, or one that issued it, is X.509 version 1 or 2; issue it again as version 3")
            }
            RefusalRule::WeakKey { bits } => write!(
                f,
                "a certificate of its chain has an RSA key of {bits} bits, at least {MIN_RSA_BITS} are needed; issue it \
                 again with a longer key"
            ),
            RefusalRule::UnsupportedSignature { algorithm } => write!(
                f,
                "a certificate of its chain is signed with {algorithm}, which is not supported; issue it again with SHA-256 \
                 and RSA, ECDSA P-256 or P-384, or Ed25519"
            ),
            RefusalRule::BadSignature => f.write_str(
                "a signature is wrong; does the trusted CA only have the same name as the CA that issued it, with another \
                 key?",
            ),
            RefusalRule::WrongPurpose => f.write_str(
                "it is not made for servers (extended key usage); issue it again with serverAuth",
            ),
            RefusalRule::BadEncoding => f.write_str("it cannot be decoded; issue it again"),
            RefusalRule::CriticalExtension => {
                f.write_str("it has a critical extension that is not known here; issue it again without")
            }
            RefusalRule::NameConstraint => {
                f.write_str("a name constraint of the CA that issued it forbids its names; use another CA or other names")
            }
            RefusalRule::Other(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for CertificateRefused {}

/// webpki's verification, with an error that has all the facts, and one rule more: a certificate that stands itself in the
/// trusted bundle is known, even if it says that it is a CA's. Self-made API server certificates are often of this kind,
/// and Go's programs accept them.
#[derive(Debug)]
pub(super) struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    trust: TrustBundle,
}

impl Verifier {
    pub(super) fn new(trust: &TrustBundle) -> Result<Self, rustls::Error> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::clone(&trust.roots), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self { webpki, trust: trust.clone() })
    }

    fn refusal(&self, error: rustls::Error, server_name: &str, chain: &[&CertificateDer<'_>]) -> rustls::Error {
        let rustls::Error::InvalidCertificate(error) = error else { return error };
        let refused = CertificateRefused {
            server_name: server_name.to_owned(),
            trust: match self.trust.usable() {
                1 => format!("1 certificate of {}", self.trust.origin()),
                several => format!("{several} certificates of {}", self.trust.origin()),
            },
            rule: self.rule(&error, chain),
        };
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }

    fn rule(&self, error: &CertificateError, chain: &[&CertificateDer<'_>]) -> RefusalRule {
        match error {
            CertificateError::UnknownIssuer => RefusalRule::UnknownIssuer,
            CertificateError::Expired => RefusalRule::Expired { since: None },
            CertificateError::ExpiredContext { not_after, .. } => RefusalRule::Expired { since: seconds(*not_after) },
            CertificateError::NotValidYet => RefusalRule::NotYetValid { until: None },
            CertificateError::NotValidYetContext { not_before, .. } => {
                RefusalRule::NotYetValid { until: seconds(*not_before) }
            }
            CertificateError::NotValidForName => RefusalRule::WrongName { has: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => {
                RefusalRule::WrongName { has: presented.iter().take(16).map(|name| plain_name(name)).collect() }
            }
            CertificateError::BadSignature => match self.shortest_rsa_key(chain) {
                Some(bits) if bits < MIN_RSA_BITS => RefusalRule::WeakKey { bits },
                _ => RefusalRule::BadSignature,
            },
            CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id, .. } => {
                RefusalRule::UnsupportedSignature { algorithm: algorithm(signature_algorithm_id) }
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                RefusalRule::WrongPurpose
            }
            CertificateError::BadEncoding => RefusalRule::BadEncoding,
            CertificateError::UnhandledCriticalExtension => RefusalRule::CriticalExtension,
            // webpki's own errors sit in a crate that we do not name. Tests pin the ones that matter.
            other => match format!("{other:?}") {
                words if words.contains("CaUsedAsEndEntity") => RefusalRule::CaAsServer,
                words if words.contains("UnsupportedCertVersion") => RefusalRule::OldVersion,
                words if words.contains("NameConstraintViolation") => RefusalRule::NameConstraint,
                _ => RefusalRule::Other(other.to_string()),
            },
        }
    }

    /// Bits of the shortest RSA key among the presented and the trusted certificates; `None` if there is no RSA key. Trusted
    /// ones count only in small bundles: a cluster's own, not the system's.
    fn shortest_rsa_key(&self, chain: &[&CertificateDer<'_>]) -> Option<usize> {
        let presented = chain.iter().filter_map(|certificate| {
            let certificate = ParsedCertificate::try_from(*certificate).ok()?;
            rsa_bits(der_content(certificate.subject_public_key_info().as_ref(), 0x30)?.0)
        });
        let anchors: &[_] = if self.trust.usable() <= 8 { &self.trust.roots.roots } else { &[] };
        let trusted = anchors.iter().filter_map(|anchor| rsa_bits(anchor.subject_public_key_info.as_ref()));
        presented.chain(trusted).min()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = || -> Vec<_> { std::iter::once(end_entity).chain(intermediates).collect() };
        let name = server_name.to_str();
        let error = match self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Ok(verified) => return Ok(verified),
            Err(error) => self.refusal(error, &name, &chain()),
        };
        // webpki looks at the dates before it looks at CA:TRUE, so that those are right if this is what it complains of.
        let is_ca = refused_in(&error).is_some_and(|refused| refused.rule == RefusalRule::CaAsServer);
        if is_ca && self.trust.exact.contains(end_entity.as_ref()) {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            return rustls::client::verify_server_name(&certificate, server_name)
                .map(|()| ServerCertVerified::assertion())
                .map_err(|error| self.refusal(error, &name, &chain()));
        }
        Err(error)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signature)
            .map_err(|error| self.refusal(error, "", &[certificate])) // the caller knows the name
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signature)
            .map_err(|error| self.refusal(error, "", &[certificate])) // the caller knows the name
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Accepts whatever the server presents. Its signatures are not checked either: by a key that anybody may have made they prove
/// nothing.
#[derive(Debug)]
pub(super) struct AcceptsAnyone;

impl ServerCertVerifier for AcceptsAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The refusal inside a TLS error, if that is what it is.
pub(super) fn refused_in(error: &rustls::Error) -> Option<&CertificateRefused> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
        _ => None,
    }
}

fn seconds(at: UnixTime) -> Option<UnixSeconds> {
    i64::try_from(at.as_secs()).ok().map(UnixSeconds)
}

/// webpki writes `DnsName("a.example")` and `IpAddress(10.0.0.1)`; people want what is inside. It comes from the network:
/// only what a name can hold is kept.
fn plain_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.chars().filter(|c| c.is_ascii_graphic() && *c != '"').take(253).collect()
}

/// What stands in one DER element of the given tag, and what follows it (X.690, section 8.1).
fn der_content(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = rest.split_first()?;
    let (length, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        let (digits, rest) =
            rest.split_at_checked(usize::from(*length & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
        (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
    };
    rest.split_at_checked(length)
}

/// Length of an RSA key's modulus, from the inside of a SubjectPublicKeyInfo (RFC 3279, section 2.3.1).
fn rsa_bits(spki: &[u8]) -> Option<usize> {
    const RSA_ENCRYPTION: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let (algorithm, rest) = der_content(spki, 0x30)?;
    if !algorithm.starts_with(RSA_ENCRYPTION) {
        return None;
    }
    let (bits, _) = der_content(rest, 0x03)?;
    let (key, _) = der_content(bits.get(1..)?, 0x30)?;
    let (modulus, _) = der_content(key, 0x02)?;
    let digits = modulus.iter().skip_while(|digit| **digit == 0);
    let leading = digits.clone().next()?.leading_zeros() as usize;
    Some(digits.count() * 8 - leading)
}

/// The algorithms that are still met, by the content of their object identifiers (RFC 3279, RFC 4055, RFC 5758).
fn algorithm(id: &[u8]) -> &'static str {
    const RSADSI: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    let id = der_content(id, 0x06).map_or(id, |(content, _)| content);
    match id.strip_prefix(&RSADSI) {
        Some([0x04, ..]) => return "MD5 with RSA",
        Some([0x05, ..]) => return "SHA-1 with RSA",
        Some([0x0a, ..]) => return "RSA-PSS",
        Some([0x0e, ..]) => return "SHA-224 with RSA",
        _ => {}
    }
    match id {
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01, ..] => "ECDSA with SHA-1",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x01, ..] => "ECDSA with SHA-224",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 | 0x03, ..] => "ECDSA over a curve that is not its own",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04, ..] => "ECDSA with SHA-512",
        [0x2b, 0x65, 0x71, ..] => "Ed448",
        _ => "an algorithm",
    }
}
