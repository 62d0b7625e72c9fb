//! The shape on disk, key by key. A new key is a name in `KEYS`, a field of [`Config`] and a line in [`read`].

use super::reader::{Fault, Reader};
use super::{
    Config, Expected, KeyFile, ListenAddress, Lookup, disclosure, duration, expand, extra_labels, logins, places,
    renewals, shard,
};
use crate::jwt::{ClaimPaths, JsonPointer, PointerError};
use crate::kubernetes::{LabelSelector, check_qualified};
use crate::observation::{Showing, TokenSeries};
use crate::source::{FileGlob, Links};
use crate::yaml::Node;
use std::path::PathBuf;
use std::time::Duration;

const KEYS: &[&str] = &[
    "address",
    "label_selectors",
    "polling_interval",
    "kubeconfig_path",
    "annotation_key",
    "contexts",
    "kubernetes",
    "watch",
    "namespaces",
    "exclude_namespaces",
    "namespace_selector",
    "field_selector",
    "secrets",
    "shard",
    "files",
    "follow_links_outside",
    "manifests",
    "claims",
    "max_tokens_per_secret",
    "max_series_per_token",
    "max_series",
    "token_series",
    "logins",
    "secret_labels",
    "namespace_labels",
    "renewals",
    "claim_labels",
    "drop_labels",
    "hash_labels",
    "hash_key_file",
    "status_page",
];

const CLAIM_KEYS: &[&str] = &["scope", "role", "name", "email"];

/// Below this, a unit was mistaken (`1ms` for `1m`), and the API server would hear of nothing else.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Bounds of the bounds: room for more than anybody has, and still no way to exhaust the memory.
const MOST_TOKENS_PER_SECRET: usize = 10_000;
const MOST_SERIES_PER_TOKEN: usize = 100_000;
const MOST_SERIES: usize = 100_000_000;

/// Checks a document and lays it over the defaults.
pub(super) fn read(document: &Node, lookup: Lookup<'_>, key_file: KeyFile<'_>) -> Result<Config, Fault> {
    let fields = Reader::document(document).fields(KEYS)?;
    let mut config = Config::default();
    if let Some(value) = fields.get("address") {
        config.address = value.text("an address such as :8080", ListenAddress::parse)?;
    }
    if let Some(value) = fields.get("label_selectors") {
        config.label_selectors = selectors(value)?;
    }
    if let Some(value) = fields.get("polling_interval") {
        config.polling_interval = value.text("a duration such as 90s, 1h30m or 7d", polling_interval)?;
    }
    if let Some(value) = fields.get("kubeconfig_path") {
        let path = path(value, lookup)?;
        config.kubeconfig_path = (!path.is_empty()).then(|| PathBuf::from(path));
    }
    if let Some(value) = fields.get("contexts") {
        config.contexts = places::contexts(value, &config)?;
    }
    if let Some(value) = fields.get("annotation_key") {
        config.annotation_key = value.text("an annotation's key", annotation_key)?;
    }
    if let Some(value) = fields.get("kubernetes") {
        config.kubernetes = value.boolean()?;
    }
    if let Some(value) = fields.get("watch") {
        config.watch = value.boolean()?;
    }
    if let Some(value) = fields.get("logins") {
        config.logins = logins::logins(value, &config, lookup)?;
        config.reading.logins = config.logins.iter().map(|login| login.name.clone()).collect();
    }
    if let Some(value) = fields.get("exclude_namespaces") {
        config.exclude_namespaces = texts(value, "namespaces or patterns such as kube-*", places::excluded)?;
    }
    if let Some(value) = fields.get("namespaces") {
        config.namespaces = places::namespaces(value, &config.exclude_namespaces)?;
    }
    if let Some(value) = fields.get("namespace_selector") {
        config.namespace_selector = places::namespace_selector(value, &config)?;
    }
    if let Some(value) = fields.get("field_selector") {
        config.field_selector = value.text("a field selector", places::field_selector)?;
    }
    if let Some(value) = fields.get("secrets") {
        config.secrets = places::secrets(value, &config)?;
    }
    config.only_named = !config.secrets.is_empty() && fields.get("label_selectors").is_none();
    if config.only_named {
        places::refuse_what_lists(&fields, &config)?;
        places::check_each_context_has_secrets(&fields, &config)?;
    }
    if let Some(value) = fields.get("shard") {
        config.shard = value.text(shard::EXPECTED, |text| shard::parse(text, lookup))?;
    }
    if let Some(value) = fields.get("files") {
        config.files = texts(value, "globs of files with tokens", glob)?;
    }
    if let Some(value) = fields.get("follow_links_outside") {
        config.links = if value.boolean()? { Links::Anywhere } else { Links::Inside };
    }
    if let Some(value) = fields.get("manifests") {
        config.manifests = texts(value, "globs of manifest files", glob)?;
    }
    if let Some(value) = fields.get("claims") {
        config.reading.claims = claims(value)?;
    }
    if let Some(value) = fields.get("max_tokens_per_secret") {
        config.reading.bounds.max_tokens_per_secret = value.count(MOST_TOKENS_PER_SECRET)?;
    }
    if let Some(value) = fields.get("max_series_per_token") {
        config.reading.bounds.max_series_per_token = value.count(MOST_SERIES_PER_TOKEN)?;
    }
    if let Some(value) = fields.get("max_series") {
        config.max_series = value.count(MOST_SERIES)?;
    }
    let mut names = Vec::new();
    for (key, labels) in [
        ("secret_labels", &mut config.reading.secret_labels),
        ("namespace_labels", &mut config.reading.namespace_labels),
    ] {
        if let Some(value) = fields.get(key) {
            *labels = extra_labels::kubernetes_labels(value, &mut names)?;
        }
    }
    if let Some(value) = fields.get("claim_labels") {
        let added = extra_labels::claim_labels(value, &mut names)?;
        for (name, place) in added {
            config.reading.show.added.push((name, Showing::Plain));
            config.reading.claims.added.push(place);
        }
    }
    if let Some(value) = fields.get("token_series") {
        config.reading.token_series = value.text("detailed or compact", token_series)?;
    }
    disclosure::read(&fields, &mut config, &names, lookup, key_file)?;
    if let Some(value) = fields.get("renewals") {
        config.renewals = renewals::renewals(value, &config, lookup)?;
    }
    if let Some(value) = fields.get("status_page") {
        config.status_page = value.boolean()?;
    }
    Ok(config)
}

/// `~` and variables expanded.
pub(super) fn path(value: &Reader<'_>, lookup: Lookup<'_>) -> Result<String, Fault> {
    value.text("a path", |text| expand(text, lookup).map_err(|error| Expected::new(error.to_string())))
}

fn selectors(value: &Reader<'_>) -> Result<Vec<LabelSelector>, Fault> {
    let selectors: Vec<Option<LabelSelector>> = texts(value, "label selectors", selector)?;
    // A selector without a requirement takes every Secret; then the others have nothing to add.
    Ok(selectors.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default())
}

pub(super) fn selector(text: &str) -> Result<Option<LabelSelector>, Expected> {
    LabelSelector::parse(text)
        .map_err(|rule| Expected::new(format!("a label selector such as app=web or tier in (a,b) ({rule})")))
}

pub(super) fn texts<T>(
    value: &Reader<'_>,
    what: &str,
    read: impl Fn(&str) -> Result<T, Expected>,
) -> Result<Vec<T>, Fault> {
    value.list(what)?.iter().map(|item| item.text("a text", &read)).collect()
}

fn polling_interval(text: &str) -> Result<Duration, Expected> {
    let interval = duration::parse(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err(Expected::new(format!("a duration of at least {}", duration::written(SHORTEST_INTERVAL))));
    }
    Ok(interval)
}

fn token_series(text: &str) -> Result<TokenSeries, Expected> {
    match text {
        "detailed" => Ok(TokenSeries::Detailed),
        "compact" => Ok(TokenSeries::Compact),
        _ => Err(Expected::new("detailed or compact")),
    }
}

fn annotation_key(text: &str) -> Result<String, Expected> {
    // Kubernetes folds the case of annotation keys before it checks them.
    check_qualified(&text.to_ascii_lowercase())
        .map_err(|rule| Expected::new(format!("an annotation's key such as jwt-exporter/secret-key ({rule})")))?;
    Ok(text.to_owned())
}

fn glob(text: &str) -> Result<FileGlob, Expected> {
    if text == "~" || text.starts_with("~/") {
        return Err(Expected::new("a path or glob that is written out (here ~ is a name like any other: ./~)"));
    }
    FileGlob::parse(text).map_err(|rule| Expected::new(format!("a path or glob such as /etc/tokens/*.jwt ({rule})")))
}

fn claims(value: &Reader<'_>) -> Result<ClaimPaths, Fault> {
    let fields = value.fields(CLAIM_KEYS)?;
    let mut claims = ClaimPaths::default();
    let pointers = |name: &str, target: &mut Vec<JsonPointer>| {
        if let Some(value) = fields.get(name) {
            *target = texts(value, "JSON Pointers", pointer)?;
        }
        Ok(())
    };
    pointers("scope", &mut claims.scope)?;
    pointers("role", &mut claims.role)?;
    pointers("name", &mut claims.name)?;
    pointers("email", &mut claims.email)?;
    Ok(claims)
}

pub(super) fn pointer(text: &str) -> Result<JsonPointer, Expected> {
    text.parse().map_err(|error| {
        Expected::new(match error {
            // The name of a claim is what people write first.
            PointerError::Empty | PointerError::NoLeadingSlash => {
                "a JSON Pointer (RFC 6901) such as /scope or /realm_access/roles"
            }
            PointerError::BadEscape => "a JSON Pointer (RFC 6901), in which ~ is written ~0 and / inside a name ~1",
        })
    })
}
