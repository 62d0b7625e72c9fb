//! Would this token be let in, and until when? The login rules of Vault's and OpenBao's JWT auth method (`auth/jwt/login`) and
//! Kubernetes auth method (`auth/kubernetes/login`), without any I/O: what only the world knows is handed in.
//!
//! # How it is used
//!
//! 1. A mount is put together once and kept: [`JwtMount`] from a [`JwtConfig`] and its [`JwtRole`]s, [`KubernetesMount`] from a
//!    [`KubernetesConfig`] and its [`KubernetesRole`]s. Each is parsed from a tree of fields under the API's own names, a
//!    [`json::Value`](crate::json::Value): from a configuration file by `Value::from(&yaml::Node)` with [`Origin::Written`], from a
//!    live mount's answer by `Value::parse` of its `data` with [`Origin::Read`]. What a server would refuse to be written is a
//!    [`SettingsError`] in its own words. Role names are keys in small letters.
//! 2. Where [`JwtConfig::keys`] is not [`KeySource::Static`], somebody fetches the key sets and hands them in as [`Keys`].
//! 3. `assess` is called once for each token, role and state of the keys ([`JwtMount::assess_each`] for several roles of a mount):
//!    it verifies the signature, which is what costs. The
//!    [`Assessment`] that comes out does not depend on the clock and holds nothing of the token but facts for people.
//! 4. [`Assessment::at`] tells the [`Verdict`] of an instant, at a scrape, for next to nothing; [`Assessment::window_at`] from when
//!    until when; [`Assessment::explain`] the checks in the server's order.
//! 5. For a Kubernetes mount, [`Assessment::review_needed`] says what to ask of the cluster's TokenReview once all local checks
//!    pass, and [`Assessment::namespace_needed`] whose labels to read; with the answers in [`Facts`] it is assessed again.
//!
//! The token's text is handed in as it would be sent: the servers drop white space, but take no `Bearer`.

mod bound_claims;
mod cidr;
mod claims;
mod jwt_config;
mod jwt_login;
mod jwt_role;
mod kubernetes;
mod reason;
mod server;
mod settings;
mod shared;
mod template;
mod token;
mod verdict;
mod window;

pub use bound_claims::BoundClaimsType;
pub use jwt_config::{Endpoint, JwtConfig, KeySource, Keys, Origin};
pub use jwt_login::JwtMount;
pub use jwt_role::JwtRole;
pub use kubernetes::{
    Facts, KubernetesConfig, KubernetesMount, KubernetesRole, NamespaceLabels, Review, ReviewRequest,
};
pub use reason::{Refusal, Unknown};
pub use server::{Flavour, Server};
pub use settings::SettingsError;
pub use verdict::{Assessment, Check, Step, Verdict};
pub use window::{Leeways, Window};
