//! `POST auth/jwt/login`: the checks of a JWT mount, in the server's order.

use super::claims::{self, Registered, describe, look_up};
use super::jwt_config::{JwtConfig, KeySource, Keys};
use super::jwt_role::JwtRole;
use super::reason::{Refusal, Unknown};
use super::server::Server;
use super::shared::{self, written};
use super::token::{SignedToken, Syntax};
use super::verdict::{Assessment, Check, Ended, Step, Steps, Verdict};
use super::window::Clock;
use super::{bound_claims, template};
use crate::json::{Duplicates, Value};
use crate::jwt::PublicKey;
use crate::jwt::signature::Algorithm;
use crate::redacted::Redacted;
use core::net::IpAddr;
use std::cell::OnceCell;
use std::collections::BTreeMap;

/// A JWT auth mount: what there is to know of it, keys from URLs aside.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtMount {
    /// Whose rules.
    pub server: Server,
    /// Its config.
    pub config: JwtConfig,
    /// Its roles by name, in small letters.
    pub roles: BTreeMap<String, JwtRole>,
}

/// A token, its signature and its registered claims, against the keys and the config of the mount.
struct Reading {
    steps: Vec<Step>,
    verdict: Verdict,
    claims: Value,
    registered: Registered,
}

const OK: Verdict = Verdict::Accepted;

fn refused(reason: Refusal) -> Verdict {
    Verdict::Refused(reason)
}

impl JwtMount {
    /// Assesses a login with a role, and explains it; `None` means the mount's `default_role`. `source` is the address that it comes
    /// from, as the server sees it, if anybody knows.
    #[must_use]
    pub fn assess(&self, role: Option<&str>, token: &Redacted, keys: &Keys, source: Option<IpAddr>) -> Assessment {
        self.assess_with(role, token, keys, source, (true, &OnceCell::new()))
    }

    /// The same for several roles, without explanation: the token is read and its signature verified once.
    #[must_use]
    pub fn assess_each(
        &self,
        roles: &[Option<&str>],
        token: &Redacted,
        keys: &Keys,
        source: Option<IpAddr>,
    ) -> Vec<Assessment> {
        let reading = OnceCell::new();
        roles.iter().map(|role| self.assess_with(*role, token, keys, source, (false, &reading))).collect()
    }

    fn assess_with(
        &self,
        role: Option<&str>,
        token: &Redacted,
        keys: &Keys,
        source: Option<IpAddr>,
        (explains, reading): (bool, &OnceCell<Reading>),
    ) -> Assessment {
        let mut steps = Steps::new(explains);
        let read = || reading.get_or_init(|| self.read(token, keys, explains));
        match self.check(&mut steps, role, token, keys, source, read) {
            Ok(()) => steps.finish(),
            Err(ended) => *ended,
        }
    }

    /// What the role has no part in.
    fn read(&self, token: &Redacted, keys: &Keys, explains: bool) -> Reading {
        let mut steps = Steps::new(explains);
        match self.check_token(&mut steps, token, keys) {
            Ok((claims, registered)) => Reading { steps: steps.into_steps(), verdict: OK, claims, registered },
            Err(ended) => {
                let (steps, verdict) = ended.into_steps();
                Reading { steps, verdict, claims: Value::Null, registered: Registered::default() }
            }
        }
    }

    fn check<'r>(
        &self,
        steps: &mut Steps,
        role: Option<&str>,
        token: &Redacted,
        keys: &Keys,
        source: Option<IpAddr>,
        read: impl FnOnce() -> &'r Reading,
    ) -> Result<(), Ended> {
        let role = self.role(steps, role)?;
        let has = steps.words(|| format!("{} bytes", token.expose().len()));
        let missing = token.expose().is_empty();
        steps.note(Check::Token, "a token", has, if missing { refused(Refusal::MissingToken) } else { OK })?;
        shared::check_source(steps, &role.cidrs, source)?;
        self.check_keys(steps, keys)?;
        let Reading { steps: noted, verdict, claims, registered } = read();
        steps.extend(noted, *verdict)?;
        self.check_claims(steps, role, registered)?;
        self.check_unbound_audience(steps, role, claims)?;
        self.check_identity(steps, role, claims)?;
        for (name, bound) in &role.bound_claims {
            let wants = steps.words(|| format!("{name}: {}", describe(Some(bound))));
            let has = steps.words(|| describe(self.look_up(claims, name).as_ref()));
            let outcome = bound_claims::compare(claims, name, bound, role.bound_claims_type, self.audience_is_list());
            steps.note(Check::BoundClaims, wants, has, outcome.err().map_or(OK, refused))?;
        }
        for policy in &role.templates {
            steps.note(Check::Policies, policy, "", template::outcome(policy, claims))?;
        }
        let user = claims::user_claim(claims, &role.user_claim, role.user_claim_json_pointer, self.audience_is_list());
        if user.is_ok_and(|user| user.is_empty()) {
            steps.note(Check::UserClaim, "a name that is not empty", "\"\"", refused(Refusal::UserClaimEmpty))?;
        }
        Ok(())
    }

    fn audience_is_list(&self) -> bool {
        self.server.is_openbao()
    }

    fn look_up(&self, claims: &Value, name: &str) -> Option<Value> {
        look_up(claims, name, self.audience_is_list())
    }

    fn role(&self, steps: &mut Steps, name: Option<&str>) -> Result<&JwtRole, Ended> {
        let name = name.map(str::to_lowercase).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| self.config.default_role.clone());
        let found = self.roles.get(&name);
        let verdict = match found {
            None => refused(Refusal::RoleMissing),
            Some(role) if role.oidc => refused(Refusal::RoleTypeOidc),
            Some(_) => OK,
        };
        steps.note(Check::Role, "a role of type jwt", &name, verdict)?;
        found.ok_or_else(Steps::nothing)
    }

    fn check_keys(&self, steps: &mut Steps, keys: &Keys) -> Result<(), Ended> {
        let (wants, verdict) = match (&self.config.keys, keys) {
            (KeySource::Static(keys), _) => {
                (steps.words(|| keys.iter().map(PublicKey::describe).collect::<Vec<_>>().join(", ")), OK)
            }
            (KeySource::Discovery(endpoint), _) if self.config.oidc_client && !self.server.is_openbao() => {
                (format!("an OIDC client of {}", endpoint.url), refused(Refusal::KeysUnavailable))
            }
            (source, keys) => {
                let of = steps.words(|| match source {
                    KeySource::JwksUrl(endpoint) | KeySource::Discovery(endpoint) => endpoint.url.clone(),
                    KeySource::JwksPairs(endpoints) => {
                        endpoints.iter().map(|endpoint| &*endpoint.url).collect::<Vec<_>>().join(", ")
                    }
                    KeySource::Provider(name) => format!("the provider {name}"),
                    KeySource::Static(_) => String::new(),
                });
                let verdict = match keys {
                    Keys::Sets(_) => OK,
                    Keys::Unusable => refused(Refusal::KeysUnavailable),
                    Keys::Unavailable => Verdict::Undetermined(Unknown::KeysUnavailable),
                };
                (of, verdict)
            }
        };
        steps.note(Check::Keys, wants, "", verdict)
    }

    /// Syntax, signature, the shape of the payload, and what the mount's config wants of the claims.
    fn check_token(&self, steps: &mut Steps, token: &Redacted, keys: &Keys) -> Result<(Value, Registered), Ended> {
        let static_keys = matches!(self.config.keys, KeySource::Static(_));
        let syntax = if static_keys { Syntax::StaticKeys } else { Syntax::KeySets };
        let token = shared::note_syntax(steps, SignedToken::read(token.expose(), syntax))?;
        let sets = match keys {
            Keys::Sets(sets) => &**sets,
            _ => &[],
        };
        let verdict = match &self.config.keys {
            KeySource::Static(keys) => token.verify(keys.iter()),
            // With several sets a kid is needed to choose one.
            KeySource::JwksPairs(_) if token.key_id.is_empty() => refused(Refusal::UnknownKid),
            _ => {
                let mut candidates = sets.iter().flat_map(|set| set.candidates(&token.key_id)).peekable();
                if candidates.peek().is_none() && !token.key_id.is_empty() {
                    refused(Refusal::UnknownKid)
                } else {
                    token.verify(candidates.filter_map(|jwk| jwk.key.as_ref()))
                }
            }
        };
        let has = steps.words(|| match static_keys || token.key_id.is_empty() {
            true => token.algorithm.as_str().to_owned(),
            false => format!("{}, kid {:?}", token.algorithm.as_str(), token.key_id),
        });
        steps.note(Check::Signature, "by one of the mount's keys", has, verdict)?;
        let duplicates = if static_keys { Duplicates::Refuse } else { Duplicates::LastWins };
        let claims = shared::note_payload(steps, &token, duplicates)?;
        shared::note_names(steps, &claims, self.server)?;
        self.check_algorithm(steps, token.algorithm)?;
        let registered = shared::note_registered(steps, &claims, self.server)?;
        shared::note_issuer(steps, &self.config.bound_issuer, &registered.issuer)?;
        Ok((claims, registered))
    }

    fn check_algorithm(&self, steps: &mut Steps, algorithm: Algorithm) -> Result<(), Ended> {
        let allowed = &self.config.algorithms;
        let passed = allowed.is_empty() || allowed.contains(&algorithm);
        let wants = steps.words(|| {
            let wants = if allowed.is_empty() { &Algorithm::ALL[..] } else { allowed };
            wants.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(", ")
        });
        let verdict = if passed { OK } else { refused(Refusal::UnsupportedAlg) };
        steps.note(Check::Algorithm, wants, algorithm.as_str(), verdict)
    }

    /// Registered claims and the time.
    fn check_claims(&self, steps: &mut Steps, role: &JwtRole, registered: &Registered) -> Result<(), Ended> {
        let subject = &role.bound_subject;
        let passed = subject.is_empty() || *subject == registered.subject;
        let verdict = if passed { OK } else { refused(Refusal::SubjectMismatch) };
        let has = steps.words(|| format!("{:?}", registered.subject));
        steps.note(Check::Subject, steps.words(|| written(subject)), has, verdict)?;
        shared::note_audience(steps, &role.bound_audiences, &registered.audiences)?;
        if let Some(clock) = Clock::new(registered.dates, role.leeways) {
            shared::note_time(steps, clock, registered, role.leeways);
            return Ok(());
        }
        steps.note(Check::Time, "exp, nbf or iat", "none of them", refused(Refusal::NoTimeClaims))
    }

    fn check_unbound_audience(&self, steps: &mut Steps, role: &JwtRole, claims: &Value) -> Result<(), Ended> {
        if !role.bound_audiences.is_empty() {
            return Ok(());
        }
        let audience = claims.member("aud");
        let there = match audience {
            Some(Value::List(items)) => !items.is_empty(),
            Some(Value::Text(text)) => self.server.is_openbao() || !text.is_empty(),
            _ => false,
        };
        let verdict = if there { refused(Refusal::AudienceMissingInRole) } else { OK };
        let has = steps.words(|| describe(audience));
        steps.note(Check::UnboundAudience, "no audience, since bound_audiences is empty", has, verdict)
    }

    fn check_identity(&self, steps: &mut Steps, role: &JwtRole, claims: &Value) -> Result<(), Ended> {
        let (name, pointer) = (&role.user_claim, role.user_claim_json_pointer);
        let user = claims::user_claim(claims, name, pointer, self.audience_is_list());
        let has = steps.words(|| user.as_ref().map_or_else(|_| "(none)".to_owned(), |user| format!("{user:?}")));
        let wants = steps.words(|| format!("{name}: a string"));
        steps.note(Check::UserClaim, wants, has, user.err().map_or(OK, refused))?;
        for (source, _) in &role.claim_mappings {
            let found = self.look_up(claims, source);
            let passed = matches!(found, None | Some(Value::Text(_)));
            let verdict = if passed { OK } else { refused(Refusal::ClaimMappingNotString) };
            let (wants, has) =
                (steps.words(|| format!("{source}: a string")), steps.words(|| describe(found.as_ref())));
            steps.note(Check::ClaimMappings, wants, has, verdict)?;
        }
        if role.groups_claim.is_empty() {
            return Ok(());
        }
        let found = self.look_up(claims, &role.groups_claim);
        let verdict = match &found {
            None => refused(Refusal::GroupsClaimMissing),
            Some(Value::Text(_)) => OK,
            Some(Value::List(items)) if items.iter().all(|item| item.as_text().is_some()) => OK,
            Some(_) => refused(Refusal::GroupsClaimInvalid),
        };
        let wants = steps.words(|| format!("{}: a string, or a list of strings", role.groups_claim));
        let has = steps.words(|| describe(found.as_ref()));
        steps.note(Check::GroupsClaim, wants, has, verdict)
    }
}
