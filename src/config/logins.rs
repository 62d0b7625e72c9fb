//! `logins`: the mounts that tokens are held against, offline or live.

use super::places::name_of_login;
use super::reader::{Fault, Fields, Reader};
use super::{Config, Expected, Lookup, duration, file};
use crate::http_client::BaseUrl;
use crate::json::Value;
use crate::kubernetes::access::SERVICE_ACCOUNT_FOLDER;
use crate::login::{
    Flavour, JwtConfig, JwtMount, JwtRole, KubernetesConfig, KubernetesMount, KubernetesRole, Origin, Server,
    SettingsError,
};
use crate::vault::{DEFAULT_REFRESH, DEFAULT_REVIEW, Entry, LivePlan, Login, MountPlan, Reviewer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const KEYS: &[&str] = &["name", "server", "vault", "jwt", "kubernetes", "review", "review_interval"];

const VAULT_KEYS: &[&str] = &[
    "address",
    "mount",
    "roles",
    "ca_file",
    "namespace",
    "token_file",
    "kubernetes_role",
    "service_account_token_file",
    "refresh_interval",
];

const OFFLINE_KEYS: &[&str] = &["config", "roles"];

/// Below this, a server would hear of nothing else.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// `logins`, each name once.
pub(super) fn logins(value: &Reader<'_>, config: &Config, lookup: Lookup<'_>) -> Result<Vec<Login>, Fault> {
    let mut logins: Vec<Login> = Vec::new();
    for item in value.list("logins such as {name: partner-api, jwt: {config: {}, roles: {}}}")? {
        let fields = item.fields(KEYS)?;
        let Some(name) = fields.get("name") else {
            return Err(item.refuse(Expected::new("the `name` of the login")));
        };
        let known: Vec<&str> = logins.iter().map(|login| &*login.name).collect();
        let name = name.text("a name", |text| {
            if known.contains(&text) {
                return Err(Expected::new("each name once"));
            }
            name_of_login(text)
        })?;
        let review = review(&fields, config)?;
        let review_interval = interval(fields.get("review_interval"), DEFAULT_REVIEW)?;
        logins.push(Login { name, mount: mount(&item, &fields, lookup)?, review, review_interval });
    }
    Ok(logins)
}

fn mount(item: &Reader<'_>, fields: &Fields<'_>, lookup: Lookup<'_>) -> Result<MountPlan, Fault> {
    let flavour = match fields.get("server") {
        Some(value) => value.text("vault or openbao", |text| {
            Flavour::from_name(text).ok_or_else(|| Expected::new("vault or openbao"))
        })?,
        None => Flavour::Vault,
    };
    let server = Server::newest(flavour);
    match (fields.get("vault"), fields.get("jwt"), fields.get("kubernetes")) {
        (Some(vault), None, None) => {
            if let Some(value) = fields.get("server") {
                return Err(
                    value.refuse(Expected::new("no `server` beside `vault` (a live server is asked what it is)"))
                );
            }
            Ok(MountPlan::Live(Box::new(live(vault, lookup)?)))
        }
        (None, Some(jwt), None) => {
            let config = |fields: &Value| JwtConfig::parse(fields, server, Origin::Written);
            let role = |fields: &Value| JwtRole::parse(fields, server, Origin::Written);
            let (config, roles) = offline(jwt, &config, &role)?;
            Ok(MountPlan::Jwt(Box::new(JwtMount { server, config, roles })))
        }
        (None, None, Some(kubernetes)) => {
            let config = |fields: &Value| KubernetesConfig::parse(fields, Origin::Written);
            let role = |fields: &Value| KubernetesRole::parse(fields, Origin::Written);
            let (config, roles) = offline(kubernetes, &config, &role)?;
            Ok(MountPlan::Kubernetes(Box::new(KubernetesMount { server, config, roles })))
        }
        _ => Err(item.refuse(Expected::new("one of `vault`, `jwt` and `kubernetes`"))),
    }
}

type Parse<'a, T> = &'a dyn Fn(&Value) -> Result<T, SettingsError>;

/// `config` and `roles`, whose fields are the server's own: what it would refuse is refused in its words.
fn offline<C, R>(
    value: &Reader<'_>,
    parse_config: Parse<'_, C>,
    parse_role: Parse<'_, R>,
) -> Result<(C, BTreeMap<String, R>), Fault> {
    let fields = value.fields(OFFLINE_KEYS)?;
    let Some(config) = fields.get("config") else {
        return Err(value.refuse(Expected::new("`config`: the fields of the mount's own config")));
    };
    let config = settings(config, parse_config)?;
    let mut roles = BTreeMap::new();
    if let Some(value) = fields.get("roles") {
        for (name, role) in
            value.named_values("roles by name, such as {reader: {bound_audiences: [api], user_claim: sub}}")?
        {
            let name = role_name(&name).map_err(|expected| role.hidden_refuse(expected))?;
            if roles.insert(name, settings(&role, parse_role)?).is_some() {
                return Err(role.hidden_refuse(Expected::new("each role once (capitals count as small letters)")));
            }
        }
    }
    Ok((config, roles))
}

fn settings<T>(value: &Reader<'_>, parse: Parse<'_, T>) -> Result<T, Fault> {
    parse(&Value::from(value.node())).map_err(|error| {
        let words = |error: &SettingsError| match error {
            SettingsError::NoMapping => "a mapping of fields".to_owned(),
            SettingsError::WrongType { expected, .. } => (*expected).to_owned(),
            SettingsError::Refused { reason, .. } => format!("what the server would take ({reason})"),
        };
        // The field, where it is there to be looked at; never its value.
        let at = value.member(error.field());
        at.as_ref().unwrap_or(value).hidden_refuse(Expected::new(words(&error)))
    })
}

/// As the servers' paths allow them; they fold the case.
fn role_name(text: &str) -> Result<String, Expected> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 128 || !text.chars().all(allowed) {
        return Err(Expected::new("a role's name of letters, digits, '-', '_' and '.'"));
    }
    Ok(text.to_lowercase())
}

fn live(value: &Reader<'_>, lookup: Lookup<'_>) -> Result<LivePlan, Fault> {
    let fields = value.fields(VAULT_KEYS)?;
    let (Some(address), Some(mount)) = (fields.get("address"), fields.get("mount")) else {
        return Err(value.refuse(Expected::new("the `address` of the server and the path of the `mount`")));
    };
    let roles = match fields.get("roles") {
        Some(value) => {
            value.list("roles")?.iter().map(|item| item.text("a role's name", role_name)).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    let path = |name: &str| -> Result<Option<PathBuf>, Fault> {
        let Some(value) = fields.get(name) else { return Ok(None) };
        let path = file::path(value, lookup)?;
        Ok((!path.is_empty()).then(|| PathBuf::from(path)))
    };
    let entry = match (path("token_file")?, fields.get("kubernetes_role"), path("service_account_token_file")?) {
        (Some(file), None, None) => Entry::TokenFile(file),
        (None, Some(role), Some(token_file)) => {
            // Whoever gets that token is us at the API server.
            if token_file == Path::new(SERVICE_ACCOUNT_FOLDER).join("token") {
                let expected = "a token that is meant for the server (a projected one, with an audience of its own), never \
                                the one for our API server";
                let place = fields.get("service_account_token_file").unwrap_or(value);
                return Err(place.refuse(Expected::new(expected)));
            }
            Entry::Kubernetes { role: role.text("a role's name", role_name)?, token_file }
        }
        _ => {
            let expected = "either `token_file`, or `kubernetes_role` with `service_account_token_file`";
            return Err(value.refuse(Expected::new(expected)));
        }
    };
    let namespace = match fields.get("namespace") {
        Some(value) => value.text("a namespace of the server", namespace)?,
        None => String::new(),
    };
    Ok(LivePlan {
        address: address.hidden_text("a URL such as https://vault.example:8200", url)?,
        mount: mount.text("the path of an auth mount such as auth/jwt", mount_path)?,
        roles,
        ca_file: path("ca_file")?,
        namespace,
        entry,
        refresh_interval: interval(fields.get("refresh_interval"), DEFAULT_REFRESH)?,
    })
}

fn url(text: &str) -> Result<BaseUrl, Expected> {
    let expected =
        |rule: &dyn std::fmt::Display| Expected::new(format!("a URL such as https://vault.example:8200 ({rule})"));
    if !text.contains("://") {
        return Err(expected(&"it begins with https://"));
    }
    BaseUrl::parse(text).map_err(|rule| expected(&rule))
}

fn mount_path(text: &str) -> Result<String, Expected> {
    let path = text.trim_matches('/');
    let segment = |segment: &str| {
        let visible = segment.chars().all(|c| !c.is_control() && !c.is_whitespace());
        !segment.is_empty() && segment != "." && segment != ".." && visible
    };
    if path.len() > 512 || !path.starts_with("auth/") || !path.split('/').all(segment) {
        return Err(Expected::new("the path of an auth mount such as auth/jwt"));
    }
    Ok(path.to_owned())
}

fn namespace(text: &str) -> Result<String, Expected> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Expected::new("a namespace of the server such as team-a/dev"));
    }
    Ok(text.trim_matches('/').to_owned())
}

fn review(fields: &Fields<'_>, config: &Config) -> Result<Reviewer, Fault> {
    let Some(value) = fields.get("review") else { return Ok(Reviewer::Nobody) };
    let expected = "none, ours, or a context of the kubeconfig";
    let reviewer = value.text(expected, |text| {
        Ok(match text {
            "" => return Err(Expected::new(expected)),
            "none" => Reviewer::Nobody,
            "ours" => Reviewer::Ours,
            context => Reviewer::Context(context.to_owned()),
        })
    })?;
    match reviewer {
        Reviewer::Ours if !config.kubernetes => {
            Err(value
                .refuse(Expected::new("none, or a context (with `kubernetes: false` our cluster is never called)")))
        }
        Reviewer::Context(_) if config.kubeconfig_path.is_none() => {
            Err(value.refuse(Expected::new("none or ours (a context is one of the kubeconfig: set `kubeconfig_path`)")))
        }
        reviewer => Ok(reviewer),
    }
}

fn interval(value: Option<&Reader<'_>>, default: Duration) -> Result<Duration, Fault> {
    let Some(value) = value else { return Ok(default) };
    value.text("a duration such as 5m", |text| {
        let interval = duration::parse(text)?;
        if interval < SHORTEST_INTERVAL {
            return Err(Expected::new(format!("a duration of at least {}", duration::written(SHORTEST_INTERVAL))));
        }
        Ok(interval)
    })
}
