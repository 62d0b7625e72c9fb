//! Where an API server is, whom we trust there, and who we are: from inside a pod, or from a kubeconfig.
//!
//! An [`Access`] is made once. Files that it names (tokens, CAs, client certificates) are read again when they change, exec
//! plugins run again when what they gave expires.

mod exec_plugin;
mod exec_plugin_error;
mod in_cluster;
mod kubeconfig;
mod kubeconfig_error;
mod kubeconfig_file;
mod kubeconfig_user;
mod material;
mod proxy_choice;

pub use exec_plugin_error::{ExecPluginError, ExecPluginProblem};
pub use in_cluster::{InClusterError, SERVICE_ACCOUNT_FOLDER};
pub use kubeconfig::Kubeconfig;
pub use kubeconfig_error::{KubeconfigError, KubeconfigProblem};
pub use material::MaterialError;
pub use proxy_choice::{ProxyChoiceError, choose as choose_proxy};

use crate::http_client::{
    Agent, AgentSettings, BaseUrl, ClientIdentity, HttpError, IdentityError, Proxy, TlsFailure, Trust, TrustBundle,
    TrustError,
};
use crate::redacted::Redacted;
use exec_plugin::{ExecCredential, ExecPlugin};
use material::{Bytes, Material};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Longest time for a connection. A server that has just come back has to be found soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The way into one API server.
#[derive(Debug)]
pub struct Access {
    pub(super) server: BaseUrl,
    /// How errors call the place where all this is configured: a file, or `in-cluster`.
    origin: String,
    trust: TrustSource,
    server_name: Option<String>,
    identity: Option<(Material, Material)>,
    login: Login,
    /// `Impersonate-*` headers.
    pub(super) impersonation: Vec<(String, String)>,
    proxy: Option<Proxy>,
    compression: bool,
    /// Names the bundle of public CAs, where it is not one of the usual files.
    ssl_cert_file: Option<PathBuf>,
}

#[derive(Debug)]
enum TrustSource {
    Bundle(Arc<Material>),
    System,
    Anyone,
}

/// What goes into the `Authorization` header, or into TLS.
#[derive(Debug)]
enum Login {
    Nobody,
    Token(Material),
    Basic(Redacted),
    Exec(ExecPlugin),
}

/// Everything that a connection is made of, as it is now. Equal pieces are the same `Arc`.
#[derive(Clone, Default)]
pub(super) struct Papers {
    pub(super) authorization: Option<Arc<Redacted>>,
    trusted: Option<Bytes>,
    identity: Option<(Bytes, Bytes)>,
    exec: Option<Arc<ExecCredential>>,
}

impl Papers {
    /// Whether the server would see the same login.
    pub(super) fn is_same_login(&self, other: &Self) -> bool {
        self.authorization == other.authorization && self.same_connection(other)
    }

    /// Whether a connection made with the one can be used with the other.
    pub(super) fn same_connection(&self, other: &Self) -> bool {
        let same = |one: &Option<Bytes>, other: &Option<Bytes>| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        let split = |papers: &Self| papers.identity.clone().unzip();
        let ((certificate, key), (other_certificate, other_key)) = (split(self), split(other));
        let exec = |papers: &Self| papers.exec.as_ref().and_then(|exec| exec.identity.clone());
        same(&self.trusted, &other.trusted)
            && same(&certificate, &other_certificate)
            && same(&key, &other_key)
            && exec(self) == exec(other)
    }
}

/// Why there is no way into an API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// A kubeconfig that cannot be used.
    Kubeconfig(KubeconfigError),
    /// Not in a cluster, or not as expected.
    InCluster(InClusterError),
    /// A proxy of the environment that cannot be used.
    Proxy(ProxyChoiceError),
    /// A file of credentials that cannot be read.
    Material(MaterialError),
    /// No CA certificate that can be used.
    Trust(TrustError),
    /// A client certificate or key that cannot be used.
    Identity {
        /// Where it is configured.
        origin: String,
        /// What is wrong with it.
        error: IdentityError,
    },
    /// A token that cannot be sent.
    Token {
        /// Where it is configured.
        origin: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// The exec plugin gave nothing.
    Exec(ExecPluginError),
    /// TLS cannot be set up.
    Http {
        /// Where it is configured.
        origin: String,
        /// What is wrong.
        error: HttpError,
    },
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig(error) => error.fmt(f),
            Self::InCluster(error) => error.fmt(f),
            Self::Proxy(error) => error.fmt(f),
            Self::Material(error) => error.fmt(f),
            Self::Trust(error) => error.fmt(f),
            Self::Identity { origin, error } => write!(f, "{origin}: {error}"),
            Self::Token { origin, cause } => write!(f, "{origin}: {cause}"),
            Self::Exec(error) => error.fmt(f),
            Self::Http { origin, error } => write!(f, "{origin}: {error}"),
        }
    }
}

impl std::error::Error for AccessError {}

impl Access {
    /// The way that a kubeconfig describes: its `context`, or its current context. The environment gives the proxy where the
    /// kubeconfig names none.
    ///
    /// # Errors
    /// What is wrong with the file, or with the proxy's variables.
    pub fn from_kubeconfig(
        path: &Path,
        context: Option<&str>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, AccessError> {
        Kubeconfig::load(path)
            .and_then(|kubeconfig| kubeconfig.access(context))
            .map_err(AccessError::Kubeconfig)?
            .with_environment(environment)
    }

    /// The way that every pod has: the service account's files in `folder` ([`SERVICE_ACCOUNT_FOLDER`]), the server's address
    /// in the environment. No proxy: the address is inside the cluster, and proxies are for what is outside.
    ///
    /// # Errors
    /// If this is no pod, or it has no service account token.
    pub fn in_cluster(folder: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, AccessError> {
        in_cluster::access(folder, environment).map_err(AccessError::InCluster)
    }

    fn with_environment(mut self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, AccessError> {
        if self.proxy.is_none() {
            self.proxy = proxy_choice::choose(&self.server, environment).map_err(AccessError::Proxy)?;
        }
        self.ssl_cert_file = environment("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(self)
    }

    /// The server's URL.
    #[must_use]
    pub fn server(&self) -> &BaseUrl {
        &self.server
    }

    /// The proxy that is used.
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// What deserves a warning at start.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if matches!(self.trust, TrustSource::Anyone) && self.server.is_https() {
            warnings.push(format!(
                "{}: insecure-skip-tls-verify: the certificate of {} is not verified; whoever sits on the way can read our \
                 credentials and every Secret; name the cluster's CA (certificate-authority) instead",
                self.origin, self.server
            ));
        }
        if !self.server.is_https() && !matches!(self.login, Login::Nobody) {
            warnings.push(format!(
                "{}: {} is reached without TLS; our credentials and every Secret can be read on the way",
                self.origin, self.server
            ));
        }
        warnings
    }

    /// Whether a request needs an exec plugin to be run.
    pub(super) fn runs_a_plugin(&self) -> bool {
        matches!(self.login, Login::Exec(_))
    }

    /// Whether reading everything again, as after a 401, can make a difference.
    pub(super) fn can_be_renewed(&self) -> bool {
        let is_file = |material: &Material| material.is_file();
        self.identity.as_ref().is_some_and(|(certificate, key)| is_file(certificate) || is_file(key))
            || match &self.login {
                Login::Token(token) => is_file(token),
                Login::Exec(_) => true,
                Login::Nobody | Login::Basic(_) => false,
            }
    }

    /// Reads everything as it is now; `again` reads what may not look changed, too, and makes an exec plugin forget what it
    /// gave. `cancelled` ends the wait for a plugin.
    pub(super) fn papers(&self, again: bool, cancelled: &AtomicBool) -> Result<Papers, AccessError> {
        let mut papers = Papers::default();
        if let TrustSource::Bundle(bundle) = &self.trust {
            papers.trusted = Some(bundle.read(again).map_err(AccessError::Material)?);
        }
        if let Some((certificate, key)) = &self.identity {
            let read = |material: &Material| material.read(again).map_err(AccessError::Material);
            papers.identity = Some((read(certificate)?, read(key)?));
        }
        papers.authorization = match &self.login {
            Login::Nobody => None,
            Login::Basic(header) => Some(Arc::new(header.clone())),
            Login::Token(token) => {
                let bytes = token.read(again).map_err(AccessError::Material)?;
                let error = |cause| AccessError::Token { origin: token.origin().to_owned(), cause };
                Some(Arc::new(bearer(&bytes).map_err(error)?))
            }
            Login::Exec(plugin) => {
                let credential =
                    plugin.credential(again, papers.trusted.as_deref(), cancelled).map_err(AccessError::Exec)?;
                let header = credential.authorization.clone();
                papers.exec = Some(credential);
                header
            }
        };
        Ok(papers)
    }

    /// An agent that connects with these papers.
    pub(super) fn agent(&self, papers: &Papers) -> Result<Agent, AccessError> {
        let trust = match (&self.trust, &papers.trusted) {
            _ if !self.server.is_https() => Trust::Anyone,
            (TrustSource::Bundle(material), Some(pem)) => Trust::Bundle(self.bundle(pem, material.origin())?),
            (TrustSource::Anyone, _) => Trust::Anyone,
            _ => Trust::Bundle(self.system_bundle()?),
        };
        let identity = match (&self.identity, &papers.identity, &papers.exec) {
            (Some((certificate, key)), Some((certificate_pem, key_pem)), _) => {
                Some(ClientIdentity::from_pem(certificate_pem, key_pem).map_err(|error| AccessError::Identity {
                    origin: if error.is_about_certificate() { certificate } else { key }.origin().to_owned(),
                    error,
                })?)
            }
            (_, _, Some(exec)) => exec.client_identity().map_err(AccessError::Exec)?,
            _ => None,
        };
        Agent::new(&AgentSettings {
            trust,
            identity,
            server_name: self.server_name.clone(),
            proxy: self.proxy.clone(),
            proxy_trust: self
                .proxy
                .as_ref()
                .filter(|proxy| proxy.is_https())
                .map(|_| self.system_bundle())
                .transpose()?,
            compression: self.compression,
            connect_timeout: CONNECT_TIMEOUT,
        })
        .map_err(|error| AccessError::Http {
            origin: match error {
                HttpError::Tls { failure: TlsFailure::NoName, .. } => format!("{}: tls-server-name", self.origin),
                _ => self.origin.clone(),
            },
            error,
        })
    }

    fn system_bundle(&self) -> Result<TrustBundle, AccessError> {
        TrustBundle::system(self.ssl_cert_file.as_deref()).map_err(AccessError::Trust)
    }

    fn bundle(&self, pem: &[u8], origin: &str) -> Result<TrustBundle, AccessError> {
        let bundle = TrustBundle::from_pem(pem, origin).map_err(AccessError::Trust)?;
        if bundle.unusable() > 0 {
            log::warn!(
                "{origin}: {} of {} certificates cannot be used and are passed over",
                bundle.unusable(),
                bundle.unusable() + bundle.usable()
            );
        }
        Ok(bundle)
    }
}

/// The `Authorization` header of a bearer token (RFC 6750, section 2.1), white space around the token dropped.
fn bearer(token: &[u8]) -> Result<Redacted, &'static str> {
    let token = std::str::from_utf8(token).map_err(|_| "the token is not UTF-8")?.trim();
    if token.is_empty() {
        return Err("the token is empty");
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token holds white space or other characters that no token has; is it the right value?");
    }
    Ok(Redacted::new(format!("Bearer {token}")))
}
