//! A live mount, read with as few rights as can be: its config, the list of its roles, and each role.

use super::answers;
use super::fetch::{Ca, Environment, Failure, Server, json, read_token};
use super::plan::{Entry, LivePlan};
use crate::json::Value;
use crate::kubernetes::Query;
use crate::login::{
    JwtConfig, JwtMount, JwtRole, KubernetesConfig, KubernetesMount, KubernetesRole, Origin, SettingsError,
};
use crate::redacted::Redacted;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Where we log in ourselves.
const OWN_LOGIN: &[&str] = &["v1", "auth", "kubernetes", "login"];

/// More roles than this are not read.
const MOST_ROLES: usize = 10_000;

/// All other logins wait while a mount is read. Ten thousand roles take seconds, or a day where each takes ten of them.
const MOST_TIME: Duration = Duration::from_secs(300);

/// A mount of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Mount {
    /// `auth/jwt`
    Jwt(Box<JwtMount>),
    /// `auth/kubernetes`
    Kubernetes(Box<KubernetesMount>),
}

/// A client token that we got by logging in.
pub(super) struct Session {
    token: Redacted,
    /// Then it is time for another one: before its lease ends.
    until: Option<Instant>,
}

/// Reads a mount once, by itself.
///
/// # Errors
/// Why it could not be read.
pub fn read_mount(plan: &LivePlan, environment: &Environment) -> Result<Mount, Failure> {
    read(plan, &mut None, environment)
}

/// Reads a mount: all of it, or nothing. `session` is kept from one time to the next.
///
/// # Errors
/// Why it could not be read.
pub(super) fn read(
    plan: &LivePlan,
    session: &mut Option<Session>,
    environment: &Environment,
) -> Result<Mount, Failure> {
    let ca = plan.ca_file.as_deref().map_or(Ca::System, Ca::File);
    let server = Server::new(&plan.address, &ca, environment)?;
    let mut reader = Reader { plan, server, session, until: Instant::now() + MOST_TIME };
    let server = reader.what_server()?;
    let Some(config) = reader.get(&["config"], false)? else {
        return Err(Failure::new("not_configured", format!("{}: {} has no config", plan.address, plan.mount)));
    };
    let refused = |what: &str, error: &SettingsError| {
        let message = format!("{}: {}/{what}: {error}", plan.address, plan.mount);
        Failure::new("settings", message)
    };
    // Only the Kubernetes method has one, and it cannot be without.
    if config.member("kubernetes_host").is_some() {
        let config = KubernetesConfig::parse(&config, Origin::Read).map_err(|error| refused("config", &error))?;
        let roles = reader.roles(&|fields| KubernetesRole::parse(fields, Origin::Read))?;
        return Ok(Mount::Kubernetes(Box::new(KubernetesMount { server, config, roles })));
    }
    let config = JwtConfig::parse(&config, server, Origin::Read).map_err(|error| refused("config", &error))?;
    let roles = reader.roles(&|fields| JwtRole::parse(fields, server, Origin::Read))?;
    Ok(Mount::Jwt(Box::new(JwtMount { server, config, roles })))
}

struct Reader<'a> {
    plan: &'a LivePlan,
    server: Server,
    session: &'a mut Option<Session>,
    /// Nothing more is asked from then on.
    until: Instant,
}

impl Reader<'_> {
    /// Asks what the server is (`sys/health`, which needs no token and is there in the root namespace alone). Whatever its
    /// state, it says.
    fn what_server(&self) -> Result<crate::login::Server, Failure> {
        let url = self.plan.address.join("/v1/sys/health");
        let (status, answer) = self.server.exchange(&url, &[], None, None)?;
        json(&answer)
            .as_ref()
            .and_then(answers::server_of)
            .ok_or_else(|| self.server.refused(&url, status, "expected the version of a Vault or OpenBao server"))
    }

    fn roles<R>(&mut self, parse: &dyn Fn(&Value) -> Result<R, SettingsError>) -> Result<BTreeMap<String, R>, Failure> {
        let plan = self.plan;
        let names = if plan.roles.is_empty() { self.role_names()? } else { plan.roles.clone() };
        let mut roles = BTreeMap::new();
        for name in names {
            // One that is not there is no role: a login with it is refused.
            let Some(fields) = self.get(&["role", &name], false)? else { continue };
            match parse(&fields) {
                Ok(role) => {
                    roles.insert(name.to_lowercase(), role);
                }
                Err(error) => {
                    let message = format!("{}: {}/role/{name}: {error}", plan.address, plan.mount);
                    return Err(Failure::new("settings", message));
                }
            }
        }
        Ok(roles)
    }

    fn role_names(&mut self) -> Result<Vec<String>, Failure> {
        let Some(list) = self.get(&["role"], true)? else { return Ok(Vec::new()) };
        let keys = answers::names_of(&list);
        if keys.len() > MOST_ROLES {
            let message = format!(
                "{}: {} has more than {MOST_ROLES} roles; name those that count in `roles`",
                self.plan.address, self.plan.mount
            );
            return Err(Failure::new("too_large", message));
        }
        Ok(keys.into_iter().map(str::to_owned).collect())
    }

    /// The field `data` of what is below the mount; `None` if there is nothing. After a 403 we log in again, once.
    fn get(&mut self, below: &[&str], list: bool) -> Result<Option<Value>, Failure> {
        if Instant::now() >= self.until {
            let message = format!(
                "{}: {} was not read in {} s; name the roles that count in `roles`",
                self.plan.address,
                self.plan.mount,
                MOST_TIME.as_secs()
            );
            return Err(Failure::new("timeout", message));
        }
        let segments: Vec<&str> =
            ["v1"].into_iter().chain(self.plan.mount.split('/')).chain(below.iter().copied()).collect();
        let query = Query::path(&segments);
        let query = if list { query.with("list", "true") } else { query };
        let url = self.plan.address.join(&query.build());
        let (mut status, mut answer) = self.ask(&url)?;
        if status == 403 && (self.session.take().is_some() || matches!(self.plan.entry, Entry::TokenFile(_))) {
            // The token was revoked, or a new one stands in the file.
            (status, answer) = self.ask(&url)?;
        }
        match status {
            200 => {}
            404 | 204 => return Ok(None),
            403 => {
                *self.session = None;
                let advice = if list {
                    "the policy has to allow `list` there"
                } else {
                    "the policy has to allow `read` there, and the token has to be valid"
                };
                return Err(self.server.refused(&url, status, advice));
            }
            307 => {
                return Err(self.server.refused(
                    &url,
                    status,
                    "this is a standby: name the active server, or what leads to it",
                ));
            }
            503 => return Err(self.server.refused(&url, status, "the server is sealed, or has no leader")),
            _ => return Err(self.server.refused(&url, status, "expected 200")),
        }
        let read = json(&answer).ok_or_else(|| self.server.refused(&url, status, "the answer is no JSON"))?;
        Ok(read.member("data").filter(|data| matches!(data, Value::Object(_))).cloned())
    }

    fn ask(&mut self, url: &str) -> Result<(u16, Zeroizing<Vec<u8>>), Failure> {
        let token = self.token()?;
        let bearer = Redacted::new(["Bearer ", token.expose()].concat());
        self.server.exchange(url, &self.headers(), Some(&bearer), None)
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = vec![("Accept", "application/json"), ("X-Vault-Request", "true")];
        if !self.plan.namespace.is_empty() {
            headers.push(("X-Vault-Namespace", &self.plan.namespace));
        }
        headers
    }

    /// Our client token: the file's of this moment, or that of a login.
    fn token(&mut self) -> Result<Redacted, Failure> {
        let (role, token_file) = match &self.plan.entry {
            Entry::TokenFile(path) => return read_token("token_file", path),
            Entry::Kubernetes { role, token_file } => (role, token_file),
        };
        let now = Instant::now();
        if let Some(session) = self.session.as_ref().filter(|session| session.until.is_none_or(|until| now < until)) {
            return Ok(session.token.clone());
        }
        let jwt = read_token("service_account_token_file", token_file)?;
        let plain = |text: &str| !text.contains(['"', '\\']) && !text.contains(char::is_control);
        if !plain(jwt.expose()) {
            let message = format!("service_account_token_file: {}: expected a token", token_file.display());
            return Err(Failure::new("file", message));
        }
        let body = Zeroizing::new(["{\"role\":\"", role, "\",\"jwt\":\"", jwt.expose(), "\"}"].concat());
        let url = self.plan.address.join(&Query::path(OWN_LOGIN).build());
        let mut headers = self.headers();
        headers.push(("Content-Type", "application/json"));
        let (status, answer) = self.server.exchange(&url, &headers, None, Some(body.as_bytes()))?;
        let read = json(&answer);
        let auth = read.as_ref().and_then(|read| read.member("auth"));
        let Some(token) = auth.and_then(|auth| auth.member("client_token")).and_then(Value::as_text) else {
            let advice = "our own login was refused: look at `kubernetes_role` and at the audience of the token";
            return Err(self.server.refused(&url, status, advice));
        };
        let lease = auth.and_then(|auth| auth.member("lease_duration")).and_then(Value::as_float).unwrap_or_default();
        let token = Redacted::new(token.to_owned());
        *self.session = Some(Session { token: token.clone(), until: time_for_another(now, lease) });
        Ok(token)
    }
}

/// When two thirds of a lease of so many seconds are over. A lease of 0 has no end; nor has one that no clock reaches.
fn time_for_another(now: Instant, lease: f64) -> Option<Instant> {
    if lease < 1.0 {
        return None;
    }
    now.checked_add(Duration::try_from_secs_f64(lease * 2.0 / 3.0).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_takes_too_long_is_given_up() {
        let address = crate::http_client::BaseUrl::parse("http://[::1]:9").unwrap();
        let plan = LivePlan {
            address: address.clone(),
            mount: "auth/jwt".to_owned(),
            roles: Vec::new(),
            ca_file: None,
            namespace: String::new(),
            entry: Entry::TokenFile("/nowhere/token".into()),
            refresh_interval: Duration::from_secs(1),
        };
        let reason = |until| {
            let server = Server::new(&address, &Ca::System, &|_| None).unwrap();
            let mut reader = Reader { plan: &plan, server, session: &mut None, until };
            reader.get(&["role", "a"], false).unwrap_err().reason
        };
        assert_eq!(reason(Instant::now() + MOST_TIME), "file", "it goes on");
        assert_eq!(reason(Instant::now()), "timeout");
    }

    #[test]
    fn any_lease_ends_some_day_or_never() {
        let now = Instant::now();
        for (lease, seconds) in [(1.5, Some(1)), (3600.0, Some(2400)), (0.0, None), (-5.0, None)] {
            assert_eq!(
                time_for_another(now, lease),
                seconds.map(|seconds| now + Duration::from_secs(seconds)),
                "{lease}"
            );
        }
        for lease in [1.5e19, 1e300, f64::INFINITY, f64::NAN] {
            assert_eq!(time_for_another(now, lease), None, "{lease}");
        }
    }
}
