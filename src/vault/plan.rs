//! What the configuration says of logins, checked.

use crate::http_client::BaseUrl;
use crate::login::{JwtMount, KubernetesMount};
use std::path::PathBuf;
use std::time::Duration;

/// So often key sets are fetched where nothing else is said.
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(300);

/// So often a TokenReview is asked for where nothing else is said.
pub const DEFAULT_REVIEW: Duration = Duration::from_secs(300);

/// One entry of `logins`.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// What annotations name.
    pub name: String,
    /// Where its rules are.
    pub mount: MountPlan,
    /// Which cluster is asked whether a token is good.
    pub review: Reviewer,
    /// How often, for each token.
    pub review_interval: Duration,
}

/// Where the config and the roles of a mount come from.
#[derive(Clone, Debug, PartialEq)]
pub enum MountPlan {
    /// `jwt:`
    Jwt(Box<JwtMount>),
    /// `kubernetes:`
    Kubernetes(Box<KubernetesMount>),
    /// `vault:`, whatever kind of mount it is.
    Live(Box<LivePlan>),
}

/// A mount of a server that is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct LivePlan {
    /// The server.
    pub address: BaseUrl,
    /// `auth/jwt`
    pub mount: String,
    /// Those that are read, in small letters; empty: all of them.
    pub roles: Vec<String>,
    /// PEM of the CA that has signed the server's certificate; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// `X-Vault-Namespace`; empty for the root.
    pub namespace: String,
    /// How we get in.
    pub entry: Entry,
    /// How often the mount is read, and its key sets.
    pub refresh_interval: Duration,
}

/// How we get into a server ourselves.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Somebody else keeps a client token in this file.
    TokenFile(PathBuf),
    /// We log in at `auth/kubernetes` with a service account token that is meant for the server.
    Kubernetes {
        /// The role.
        role: String,
        /// The projected token.
        token_file: PathBuf,
    },
}

/// Which cluster answers TokenReviews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reviewer {
    /// None: no token is sent anywhere.
    Nobody,
    /// The one whose Secrets are read.
    Ours,
    /// A context of the kubeconfig.
    Context(String),
}

impl Login {
    /// How often its key sets are fetched.
    #[must_use]
    pub fn refresh_interval(&self) -> Duration {
        match &self.mount {
            MountPlan::Live(live) => live.refresh_interval,
            MountPlan::Jwt(_) | MountPlan::Kubernetes(_) => DEFAULT_REFRESH,
        }
    }
}
