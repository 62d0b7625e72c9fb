//! `POST auth/kubernetes/login`: the checks of a Kubernetes mount, in the server's order.

use super::account::Account;
use super::{KubernetesConfig, KubernetesRole};
use crate::json::Duplicates;
use crate::jwt::signature::Algorithm;
use crate::login::reason::{Refusal, Unknown};
use crate::login::server::Server;
use crate::login::shared;
use crate::login::token::{SignedToken, Syntax};
use crate::login::verdict::{Assessment, Check, Ended, Steps, Verdict};
use crate::login::window::{Clock, Leeways};
use crate::redacted::Redacted;
use core::net::IpAddr;
use std::collections::BTreeMap;

/// A Kubernetes auth mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesMount {
    /// Whose rules.
    pub server: Server,
    /// Its config.
    pub config: KubernetesConfig,
    /// Its roles by name, in small letters.
    pub roles: BTreeMap<String, KubernetesRole>,
}

/// What has to be asked of the cluster's TokenReview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewRequest {
    /// `spec.audiences`; empty means the API server's own.
    pub audiences: Vec<String>,
}

/// What the cluster answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// `status.authenticated`
    Authenticated {
        /// `status.user.username`
        username: String,
        /// `status.user.uid`
        uid: String,
    },
    /// Not authenticated, or the reviewer may not ask: the server refuses both alike.
    Refused,
}

/// What is known of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceLabels<'a> {
    /// It is there, with these labels.
    Known(&'a BTreeMap<String, String>),
    /// There is no such namespace.
    Missing,
    /// Nobody could look.
    Unknown,
}

/// What only the world knows.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The address that the login comes from, as the server sees it.
    pub source: Option<IpAddr>,
    /// The labels of a namespace; asked only where a selector decides.
    pub labels: &'a dyn Fn(&str) -> NamespaceLabels<'a>,
    /// The answer to [`Assessment::review_needed`] of this token and role, if there is one.
    pub review: Option<&'a Review>,
}

const OK: Verdict = Verdict::Accepted;

fn refused(reason: Refusal) -> Verdict {
    Verdict::Refused(reason)
}

impl KubernetesMount {
    /// Assesses a login with a role, and explains it.
    #[must_use]
    pub fn assess(&self, role: Option<&str>, token: &Redacted, facts: Facts<'_>) -> Assessment {
        self.assess_with(Steps::new(true), role, token, facts)
    }

    /// The same without explanation.
    #[must_use]
    pub fn assess_briefly(&self, role: Option<&str>, token: &Redacted, facts: Facts<'_>) -> Assessment {
        self.assess_with(Steps::new(false), role, token, facts)
    }

    fn assess_with(&self, mut steps: Steps, role: Option<&str>, token: &Redacted, facts: Facts<'_>) -> Assessment {
        match self.check(&mut steps, role.unwrap_or_default(), token, facts) {
            Ok(()) => steps.finish(),
            Err(ended) => *ended,
        }
    }

    fn check(&self, steps: &mut Steps, name: &str, token: &Redacted, facts: Facts<'_>) -> Result<(), Ended> {
        let name = name.to_lowercase();
        let role = self.roles.get(&name);
        // A login that names no role is refused before one without a token, and that before one whose role there is not.
        if name.is_empty() {
            steps.note(Check::Role, "a role", "", refused(Refusal::RoleMissing))?;
        }
        let missing = token.expose().is_empty();
        let has = steps.words(|| format!("{} bytes", token.expose().len()));
        steps.note(Check::Token, "a token", has, if missing { refused(Refusal::MissingToken) } else { OK })?;
        steps.note(Check::Role, "a role", &name, if role.is_some() { OK } else { refused(Refusal::RoleMissing) })?;
        let Some(role) = role else { return Ok(()) };
        shared::check_source(steps, &role.cidrs, facts.source)?;
        let account = self.check_token(steps, role, token)?;
        let verdict = if role.allows_name(&account.name) { OK } else { refused(Refusal::NameNotAllowed) };
        let wants = steps.words(|| role.bound_service_account_names.join(", "));
        steps.note(Check::ServiceAccountName, wants, &account.name, verdict)?;
        self.check_namespace(steps, role, &account, facts)?;
        self.check_review(steps, role, account, facts)
    }

    fn check_token(&self, steps: &mut Steps, role: &KubernetesRole, token: &Redacted) -> Result<Account, Ended> {
        let keys = &self.config.pem_keys;
        let syntax = if keys.is_empty() { Syntax::Unverified } else { Syntax::StaticKeys };
        let token = shared::note_syntax(steps, SignedToken::read(token.expose(), syntax))?;
        let algorithm = token.algorithm;
        let taken = algorithm != Algorithm::EdDSA && (!algorithm.is_pss() || !self.server.is_openbao());
        let wants = if self.server.is_openbao() { "RS or ES 256, 384, 512" } else { "RS, ES or PS 256, 384, 512" };
        let verdict = if taken { OK } else { refused(Refusal::UnsupportedAlg) };
        if !keys.is_empty() {
            let verified = token.verify(keys.iter());
            // Which of the two it was, the server does not tell.
            if verified != OK && !taken {
                steps.note(Check::Algorithm, wants, algorithm.as_str(), verdict)?;
            }
            steps.note(Check::Signature, "by one of pem_keys", algorithm.as_str(), verified)?;
        }
        let claims = shared::note_payload(steps, &token, Duplicates::Refuse)?;
        shared::note_names(steps, &claims, self.server)?;
        steps.note(Check::Algorithm, wants, algorithm.as_str(), verdict)?;
        let registered = shared::note_registered(steps, &claims, self.server)?;
        shared::note_issuer(steps, &self.config.bound_issuer, &registered.issuer)?;
        let bound = if role.audience.is_empty() { &[][..] } else { std::slice::from_ref(&role.audience) };
        shared::note_audience(steps, bound, &registered.audiences)?;
        let leeways = Leeways::default();
        // A token without any date never ends: legacy ones have none.
        let clock = Clock::new(registered.dates, leeways).unwrap_or_else(Clock::unlimited);
        shared::note_time(steps, clock, &registered, leeways);
        match Account::read(&claims) {
            // Before it asks anybody, Vault wants to know the uid.
            Ok(account) if !account.uid.is_empty() || self.server.is_openbao() => Ok(account),
            _ => {
                let wants = "claims of a service account, with its uid, and aud as a list";
                steps.note(Check::Claims, wants, "others", refused(Refusal::MalformedClaims))?;
                Ok(Account::default())
            }
        }
    }

    fn check_namespace(
        &self,
        steps: &mut Steps,
        role: &KubernetesRole,
        account: &Account,
        facts: Facts<'_>,
    ) -> Result<(), Ended> {
        let namespace = &account.namespace;
        let wants = steps.words(|| role.bound_service_account_namespaces.join(", "));
        let Some(labels) = role.namespace_selector.as_ref().filter(|_| !role.lists_namespace(namespace)) else {
            let verdict = if role.lists_namespace(namespace) { OK } else { refused(Refusal::NamespaceNotAllowed) };
            return steps.note(Check::Namespace, wants, namespace, verdict);
        };
        let pairs = labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
        let wants = format!("one of [{wants}], or labels {pairs:?}");
        let verdict = match (self.config.has_reviewer, (facts.labels)(namespace)) {
            (false, _) => refused(Refusal::NamespaceSelectorUnavailable),
            (true, NamespaceLabels::Known(known)) => {
                let all = labels.iter().all(|(name, value)| known.get(name) == Some(value));
                if all { OK } else { refused(Refusal::NamespaceNotAllowed) }
            }
            (true, NamespaceLabels::Missing) => refused(Refusal::NamespaceNotAllowed),
            (true, NamespaceLabels::Unknown) => Verdict::Undetermined(Unknown::NamespaceUnavailable),
        };
        let ended = steps.note(Check::Namespace, wants, namespace, verdict);
        ended.map_err(|mut assessment| {
            if verdict == Verdict::Undetermined(Unknown::NamespaceUnavailable) {
                assessment.namespace = Some(namespace.clone());
            }
            assessment
        })
    }

    fn check_review(
        &self,
        steps: &mut Steps,
        role: &KubernetesRole,
        account: Account,
        facts: Facts<'_>,
    ) -> Result<(), Ended> {
        let audiences = if role.audience.is_empty() { account.audiences } else { vec![role.audience.clone()] };
        let wants = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
        let (has, verdict) = match facts.review {
            None => ("(not asked)", Verdict::Undetermined(Unknown::ReviewUnavailable)),
            Some(Review::Refused) => ("not authenticated", refused(Refusal::ReviewRefused)),
            Some(Review::Authenticated { username, uid }) => {
                let same = *username == wants && *uid == account.uid && !uid.is_empty();
                (&**username, if same { OK } else { refused(Refusal::ReviewRefused) })
            }
        };
        let request = ReviewRequest { audiences };
        match steps.note(Check::TokenReview, wants, has, verdict) {
            Ok(()) => {
                let mut done = std::mem::replace(steps, Steps::new(false)).finish();
                done.review = Some(request);
                Err(Box::new(done))
            }
            Err(mut ended) => {
                ended.review = Some(request);
                Err(ended)
            }
        }
    }
}
