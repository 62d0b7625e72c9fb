//! Kubernetes auth mounts: `POST auth/kubernetes/config`, `…/role/:name` and `…/login`.

mod account;
mod config;
mod login;
mod role;

pub use config::KubernetesConfig;
pub use login::{Facts, KubernetesMount, NamespaceLabels, Review, ReviewRequest};
pub use role::KubernetesRole;
