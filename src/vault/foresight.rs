//! Tokens that are in no Secret yet: somebody is about to put one there, and wants to know whether it would get in.
//!
//! The thread of the logins answers, since it knows the mounts as they were read last; what is due for the answer (a mount that
//! was never read, keys that were rotated, a TokenReview) is asked before it is given.

use super::errand::Order;
use crate::metrics::Judged;
use crate::observation::LoginName;
use crate::redacted::Redacted;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

/// What would become of one login with a token.
#[derive(Clone, Debug)]
pub struct Foreseen {
    /// Login and role.
    pub name: LoginName,
    /// `None`: the configuration has no login of that name.
    pub judged: Option<Judged>,
    /// The login may ask a cluster, so an answer that is missing may come yet.
    pub asks_cluster: bool,
}

/// A question to the thread of the logins.
pub(super) struct Inquiry {
    pub(super) names: Arc<[LoginName]>,
    pub(super) token: Arc<Redacted>,
    pub(super) answer: Sender<Vec<Foreseen>>,
}

/// The way to the thread of the logins.
#[derive(Clone)]
pub struct Foresight(pub(super) Sender<Order>);

impl Foresight {
    /// Asks what would become of these logins with this token; the answer comes in their order. `None`: there is nobody to ask
    /// any more. The token goes nowhere but to the TokenReview of the cluster that `review` names.
    #[must_use]
    pub fn ask(&self, names: &Arc<[LoginName]>, token: &Redacted) -> Option<Receiver<Vec<Foreseen>>> {
        let (answer, answered) = mpsc::channel();
        let token = Arc::new(token.clone());
        self.0.send(Order::Foresee(Inquiry { names: Arc::clone(names), token, answer })).ok()?;
        Some(answered)
    }
}
