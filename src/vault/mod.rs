//! What logins need of the world: mounts that are read, key sets that are fetched, TokenReviews that are asked for. One thread
//! does all of it, works out the verdicts and publishes them; polls and scrapes never wait for it.
//!
//! | file | subject |
//! | --- | --- |
//! | `plan` | what the configuration says |
//! | `fetch` | bounded requests to servers of strangers |
//! | `keys` | key sets, from URLs that a mount's config names |
//! | `mount` | a live mount: getting in, its config and its roles |
//! | `review` | the cluster: TokenReviews, labels of namespaces |
//! | `answers` | what servers say, once it is JSON |
//! | `mounted` | one login: what is known of it, and when it has to be read again |
//! | `case` | one token and one role |
//! | `errand` | the thread |
//! | `foresight` | what it says of tokens that are yet to come |
//!
//! A token is sent to the TokenReview of the cluster that the configuration names, and nowhere else. What a server of ours
//! cannot be asked again is kept as it was; its age is shown.

pub mod answers;
mod case;
mod errand;
mod fetch;
mod foresight;
mod keys;
mod mount;
mod mounted;
mod plan;
mod review;

pub use errand::{Connect, Errand, Means, look_once};
pub use fetch::{Environment, Failure};
pub use foresight::{Foreseen, Foresight};
pub use mount::{Mount, read_mount};
pub use plan::{DEFAULT_REFRESH, DEFAULT_REVIEW, Entry, LivePlan, Login, MountPlan, Reviewer};
