//! A renewal as it is configured, checked.

use super::course::Policy;
use super::template::Template;
use crate::http_client::{BaseUrl, Method};
use crate::jwt::JsonPointer;
use crate::kubernetes::Cluster;
use crate::observation::{self, ExtraLabels};
use crate::source::files::place_of;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One item of `renewals`.
#[derive(Clone, Debug, PartialEq)]
pub struct Renewal {
    /// Where the token is kept.
    pub target: TargetPlan,
    /// When it is renewed.
    pub policy: Policy,
    /// Where the values of the variables are.
    pub credentials: CredentialsPlan,
    /// How a new one is asked for.
    pub request: RequestPlan,
    /// Where the token is in the answer.
    pub token: JsonPointer,
    /// The label of the cluster, as it stands in the location of the token; empty where there is but one.
    pub cluster_label: String,
}

impl Renewal {
    /// The location labels of its metrics, the same as those of its token: of a file, as `files` shows its path.
    #[must_use]
    pub fn location(&self) -> String {
        let in_cluster = ExtraLabels::default().in_cluster(&self.cluster_label);
        match &self.target {
            TargetPlan::Secret { namespace, name, key, .. } => observation::location(namespace, name, key, &in_cluster),
            TargetPlan::File(path) => {
                let (name, key) = place_of(path);
                observation::location("", &name, &key, &in_cluster)
            }
        }
    }

    /// The clusters that it needs, by their contexts.
    pub fn contexts(&self) -> impl Iterator<Item = Option<&str>> {
        let target = match &self.target {
            TargetPlan::Secret { context, .. } => Some(context),
            TargetPlan::File(_) => None,
        };
        let credentials = match &self.credentials {
            CredentialsPlan::Secret { context, .. } => Some(context),
            CredentialsPlan::None | CredentialsPlan::Files(_) => None,
        };
        target.into_iter().chain(credentials).map(Option::as_deref)
    }
}

/// The clusters that renewals need, by the context of the kubeconfig; `None` for the one that there is without `contexts`.
#[derive(Clone, Default)]
pub struct Clusters(Vec<(Option<String>, Arc<Cluster>)>);

impl Clusters {
    /// Those that these renewals need, each once.
    ///
    /// # Errors
    /// The first of `connect`.
    pub fn of<E>(renewals: &[Renewal], mut connect: impl FnMut(Option<&str>) -> Result<Cluster, E>) -> Result<Self, E> {
        let mut clusters = Self::default();
        for context in renewals.iter().flat_map(Renewal::contexts) {
            if clusters.get(context).is_none() {
                clusters.0.push((context.map(str::to_owned), Arc::new(connect(context)?)));
            }
        }
        Ok(clusters)
    }

    /// The one of this context.
    #[must_use]
    pub fn get(&self, context: Option<&str>) -> Option<&Cluster> {
        self.0.iter().find(|(known, _)| known.as_deref() == context).map(|(_, cluster)| &**cluster)
    }
}

/// Where a token is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPlan {
    /// A data key of a Secret.
    Secret {
        /// The context of the kubeconfig, where the configuration names several clusters.
        context: Option<String>,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The data key.
        key: String,
        /// The labels of a Secret that is created; `None`: it has to be there.
        create: Option<Vec<(String, String)>>,
    },
    /// A file.
    File(PathBuf),
}

impl TargetPlan {
    /// Whether both write the same token.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Secret { context, namespace, name, key, .. },
                Self::Secret {
                    context: in_other, namespace: other_namespace, name: other_name, key: other_key, ..
                },
            ) => (context, namespace, name, key) == (in_other, other_namespace, other_name, other_key),
            (Self::File(path), Self::File(other)) => path == other,
            _ => false,
        }
    }
}

/// As messages call it: `datagate/prometheus-bearer-token (key token)`, with `, context west` behind the key where there are
/// several clusters; or the file's path.
impl fmt::Display for TargetPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { context: None, namespace, name, key, .. } => write!(f, "{namespace}/{name} (key {key})"),
            Self::Secret { context: Some(context), namespace, name, key, .. } => {
                write!(f, "{namespace}/{name} (key {key}, context {context})")
            }
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Where the values of the variables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsPlan {
    /// There are no variables.
    None,
    /// The data keys of a Secret.
    Secret {
        /// The context of the kubeconfig, where the configuration names several clusters.
        context: Option<String>,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A file for each variable.
    Files(Vec<(String, PathBuf)>),
}

/// How a token is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestPlan {
    /// `POST`, unless said otherwise.
    pub method: Method,
    /// The URL; variables stand behind the host.
    pub url: Template,
    /// Scheme, host and port of it.
    pub origin: BaseUrl,
    /// Names and values, in the order of the configuration.
    pub headers: Vec<(String, Template)>,
    /// The body.
    pub body: Option<Template>,
    /// Whom to trust instead of the system's CAs.
    pub ca_file: Option<PathBuf>,
    /// Anybody may answer.
    pub insecure_skip_verify: bool,
    /// Longest time for the whole exchange.
    pub timeout: Duration,
}

impl RequestPlan {
    /// The names of the variables in all its parts, each once.
    #[must_use]
    pub fn variables(&self) -> Vec<&str> {
        let texts = [&self.url].into_iter().chain(self.headers.iter().map(|(_, value)| value)).chain(&self.body);
        let mut names: Vec<&str> = Vec::new();
        for name in texts.flat_map(Template::variables) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Whether whoever sits on the way can read the credentials: no TLS, or any certificate will do.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.insecure_skip_verify || !self.origin.is_https()
    }
}
