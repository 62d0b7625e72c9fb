//! `explain NAMESPACE/NAME` and `explain PATH`: why a Secret or a file has its samples, or has none.
//!
//! | file | subject |
//! | --- | --- |
//! | `asking` | the API server: the Secret itself |
//! | `files` | the same for a file |
//! | `logins` | which of the logins that it is meant for would refuse a token |
//! | `rights` | what we may do at the API server |
//! | `selection` | what of the configuration takes it, or passes it over |

mod asking;
mod files;
mod logins;
mod rights;
mod selection;

use super::{EXIT_FAILURE, EXIT_USAGE, looking, print, run, sources};
use crate::config::Config;
use crate::kubernetes::object::LOGIN_ANNOTATION;
use crate::kubernetes::{LabelSelector, Reason as RequestReason};
use crate::log::escape;
use crate::observation::{
    DataValue, KeptToken, Logins, Observer, SecretObservation, SecretView, labels, without_tokens,
};
use crate::snapshot::{Row, Snapshot, SourceStatus};
use crate::source::Source as _;
use crate::source::manifests::ManifestsSource;
use crate::time::{UnixSeconds, date, expiry};
use asking::{Asked, Held};
use std::borrow::Cow;
use std::process::ExitCode;
use std::sync::Arc;

/// What is said, and whether there are samples.
#[derive(Default)]
struct Explanation {
    lines: Vec<String>,
    has_samples: bool,
    /// Somebody could not be asked.
    unknown: bool,
    /// What the last line says of why there are none.
    verdict: Option<String>,
    /// Tokens with a login, each with words for its place.
    kept: Vec<KeptToken>,
}

impl Explanation {
    fn say(&mut self, line: impl AsRef<str>) {
        // Names and annotations are other people's texts.
        self.lines.push(escape(&without_tokens(line.as_ref())).into_owned());
    }

    /// What was found in one of several clusters.
    fn take_in(&mut self, other: Self, context: &str) {
        self.say(format!("  in the context {context}:"));
        self.lines.extend(other.lines.iter().map(|line| format!("  {line}")));
        self.has_samples |= other.has_samples;
        self.unknown |= other.unknown;
        let in_context = |token: KeptToken| {
            let location = format!("{context}: {}", token.location).into();
            KeptToken { location, ..token }
        };
        self.kept.extend(other.kept.into_iter().map(in_context));
        if let Some(verdict) = other.verdict.filter(|_| !other.has_samples) {
            self.say(format!("    no samples from here: {verdict}"));
            self.conclude(format!("{verdict} (in {context})"));
        }
    }

    /// The first reason is the one to mend first.
    fn conclude(&mut self, verdict: impl Into<String>) {
        self.verdict.get_or_insert(verdict.into());
    }
}

/// Asks, prints, and tells by its exit code: 0 it has samples, 1 it has none, 2 that could not be found out.
pub(super) fn explain(config: &Config, namespace: &str, name: &str) -> ExitCode {
    run::leave_no_core();
    let mut told = Explanation::default();
    let now = UnixSeconds::now();
    let is_file = namespace.is_empty();
    told.say(if is_file { name.to_owned() } else { format!("{namespace}/{name}") });
    let mut found_in = Vec::new();
    for cluster in config.clusters().filter(|_| !is_file) {
        let secrets = config.secrets_in(cluster).cloned().collect();
        let of_this = Config { secrets, ..config.clone() };
        let Some(context) = cluster else {
            in_cluster(&of_this, None, (namespace, name), now, &mut told);
            continue;
        };
        let mut here = Explanation::default();
        in_cluster(&of_this, cluster, (namespace, name), now, &mut here);
        if here.has_samples {
            found_in.push(context);
        }
        told.take_in(here, context);
    }
    if !config.manifests.is_empty() && !is_file {
        in_manifests(config, (namespace, name), now, &mut told);
    }
    if is_file {
        files::explain(config, name, now, &mut told);
    } else if !config.files.is_empty() {
        files::explain_namesake(config, &format!("{namespace}/{name}"), now, &mut told);
    } else if !config.kubernetes && config.manifests.is_empty() {
        told.say("  the configuration reads no API server (`kubernetes: false`), no manifests and no files");
        told.conclude("nothing is read");
    }
    logins::explain(config, now, &mut told);
    let (last, code) = match (told.has_samples, told.unknown) {
        (true, _) if found_in.is_empty() => ("It has samples.".to_owned(), 0),
        (true, _) => (format!("It has samples: from {}.", found_in.join(", ")), 0),
        (false, true) => (
            format!("Whether it has samples is not known: {}.", told.verdict.as_deref().unwrap_or("see above")),
            EXIT_USAGE,
        ),
        (false, false) => {
            (format!("It has no samples: {}.", told.verdict.as_deref().unwrap_or("see above")), EXIT_FAILURE)
        }
    };
    told.say(last);
    let printed = print(&format!("{}\n", told.lines.join("\n")));
    if printed == ExitCode::SUCCESS { ExitCode::from(code) } else { printed }
}

fn in_cluster(
    config: &Config,
    context: Option<&str>,
    (namespace, name): (&str, &str),
    now: UnixSeconds,
    told: &mut Explanation,
) {
    let cluster = looking::own_metrics().and_then(|own| sources::cluster(config, context, &own));
    let cluster = match cluster {
        Ok(cluster) => cluster,
        Err(reason) => {
            told.say(format!("  the API server cannot be asked: {reason}"));
            told.unknown = true;
            return told.conclude("the API server cannot be asked");
        }
    };
    told.say(format!("  in the cluster at {}", cluster.server()));
    let rights = rights::ask(&cluster, config, context, (namespace, name));
    for right in &rights {
        told.say(format!("  {right}"));
    }
    let missing = rights::missing(&rights);
    let held = match asking::secret(&cluster, config, namespace, name) {
        Ok(Asked::Found(held)) => held,
        Ok(Asked::FoundByList(held)) => {
            told.say("  may not be got by its name (right `get` on secrets), and was found by a list instead");
            held
        }
        Ok(Asked::Missing) => {
            told.say("  there is no such Secret (or no such namespace)");
            if config.secrets.iter().any(|named| named.namespace == namespace && named.name == name) {
                told.say("  `secrets:` names it: jwt_exporter_token_error says not_found");
            }
            return told.conclude("it is not there");
        }
        Err(error) => {
            told.say(format!("  {error}"));
            told.unknown = true;
            return told.conclude(match (error.reason(), missing) {
                (RequestReason::Forbidden, Some(missing)) => format!("it may not be read, {missing}"),
                (RequestReason::Forbidden, None) => "it may not be read".to_owned(),
                _ => "the API server did not say".to_owned(),
            });
        }
    };
    let of_namespace = asking::namespace_labels(&cluster, config, namespace);
    let taken = selection::explain(config, (namespace, name), &held, of_namespace, told);
    if let Some(missing) = missing.as_ref().filter(|_| taken.is_some()) {
        told.conclude(missing);
    }
    read(config, (namespace, name), &held, taken, now, told);
    if missing.is_some() {
        told.has_samples = false;
    }
}

/// What decoding says of each key.
fn read(
    config: &Config,
    (namespace, name): (&str, &str),
    held: &Held,
    taken: Option<Vec<String>>,
    now: UnixSeconds,
    told: &mut Explanation,
) {
    let mut data = Vec::new();
    if held.data(&mut data).is_err() {
        told.unknown = true;
        return told.conclude("the API server sent something that is no Secret");
    }
    let keys: Vec<&str> = data.iter().map(|(key, _)| &**key).collect();
    told.say(match keys.as_slice() {
        [] => "  it has no data".to_owned(),
        keys => format!("  its data keys: {}", keys.join(", ")),
    });
    let named = taken.clone().unwrap_or_default().join(",");
    match (named.as_str(), held.annotation.as_deref()) {
        ("", None) => told.say(format!("  it has no annotation {}: every key is looked at", config.annotation_key)),
        ("", Some(annotation)) => told.say(format!("  its annotation {} names: {annotation}", config.annotation_key)),
        (keys, _) => told.say(format!("  `secrets:` names the keys: {keys}")),
    }
    let named_logins = config.secrets.iter().find(|secret| secret.namespace == namespace && secret.name == name);
    let named_logins = named_logins.map_or(&[][..], |secret| &secret.logins);
    let annotation = held.annotation(LOGIN_ANNOTATION);
    match (named_logins, annotation) {
        ([], None) => {}
        ([], Some(names)) if config.logins.is_empty() => told
            .say(format!("  its annotation {LOGIN_ANNOTATION} names {names}, and the configuration has no `logins`")),
        ([], Some(names)) => told.say(format!("  its annotation {LOGIN_ANNOTATION} names: {names}")),
        _ => told.say("  `secrets:` names its logins"),
    }
    let logins = Logins::named_or(named_logins, annotation);
    let observation = observe(config, (namespace, name), held, &data, &named, logins);
    let tokens = observation.as_ref().map_or(0, |secret| secret.tokens.len());
    if let Some(observation) = observation {
        let rows = tell_rows(Arc::new(observation), now, told);
        if tokens == 0 {
            told.conclude(rows.unwrap_or_else(|| "there is no token in it".to_owned()));
        }
    } else {
        told.say("  nothing in it looks like a token");
        told.conclude("there is no token in it");
    }
    if taken.is_some() && tokens > 0 {
        told.has_samples = true;
    }
}

fn observe(
    config: &Config,
    (namespace, name): (&str, &str),
    held: &Held,
    data: &[(Cow<'_, str>, DataValue<'_>)],
    named: &str,
    logins: Logins<'_>,
) -> Option<SecretObservation> {
    let annotation = if named.is_empty() { held.annotation.as_deref() } else { Some(named) };
    let extra = &config.reading.extra_labels(|key| held.label(key), None);
    let view = SecretView { namespace, name, annotation, data, logins, picked: true, extra, version: 0 };
    Observer::new(config.reading.clone()).observe(&view)
}

/// A line for each place; the first error in words.
fn tell_rows(secret: Arc<SecretObservation>, now: UnixSeconds, told: &mut Explanation) -> Option<String> {
    let in_words = |token: &KeptToken| {
        let key = labels(&token.location).find(|(name, _)| *name == "secret_key");
        let location = key.map(|(_, key)| key.into()).unwrap_or_default();
        KeptToken { location, ..token.clone() }
    };
    told.kept.extend(secret.kept.iter().map(in_words));
    let held = [secret];
    let snapshot = Snapshot::assemble([(&SourceStatus::untried(""), &held[..])], usize::MAX);
    let mut first = None;
    for row in snapshot.rows() {
        for line in lines_of(&row, now) {
            told.say(format!("  {line}"));
        }
        first = first.or_else(|| row.errors().next().map(|(reason, detail)| format!("{}: {detail}", reason.as_str())));
    }
    first
}

fn lines_of(row: &Row<'_>, now: UnixSeconds) -> Vec<String> {
    let key = row.label("secret_key");
    let place = if key.is_empty() { "the Secret".into() } else { key };
    let mut lines = Vec::new();
    if let Some(token) = row.token() {
        let mut kind = token.token_type.as_str().to_owned();
        // It may be dropped.
        let algorithm = row.label("algorithm");
        if !algorithm.is_empty() {
            kind = format!("{kind}, {algorithm}");
        }
        let when = match token.expires() {
            Some(at) => format!("expires {} ({})", date(at), expiry(Some(at), now)),
            None => "no date of expiry".to_owned(),
        };
        lines.push(format!("{place}: a token ({kind}), {when}"));
    }
    lines.extend(row.errors().map(|(reason, detail)| format!("{place}: {}: {detail}", reason.as_str())));
    lines
}

/// All manifests are read as at every poll, but that one without a token is told of too.
fn in_manifests(config: &Config, (namespace, name): (&str, &str), now: UnixSeconds, told: &mut Explanation) {
    let everything = LabelSelector::parse("!jwt-exporter/nothing").ok().flatten();
    let (globs, key) = (config.manifests.clone(), config.annotation_key.clone());
    let mut source =
        ManifestsSource::new(globs, config.links, everything.into_iter().collect(), key, config.reading.clone());
    if let Err(error) = source.poll() {
        told.say(format!("  the manifests cannot be read: {error}"));
        told.unknown = true;
        return;
    }
    let found = source.held().iter().find(|secret| *secret.namespace == *namespace && *secret.name == *name);
    match found.cloned() {
        Some(secret) => {
            told.say("  in a manifest");
            let tokens = secret.tokens.len();
            let error = tell_rows(secret, now, told);
            if tokens > 0 {
                told.has_samples = true;
            } else {
                told.conclude(error.unwrap_or_else(|| "there is no token in it".to_owned()));
            }
        }
        None => {
            told.say("  no manifest describes it");
            // A file that could not be read may.
            for secret in source.held().iter().filter(|secret| secret.namespace.is_empty()) {
                for error in &secret.errors {
                    let path = labels(&error.location).find(|(name, _)| *name == "secret_name");
                    let path = path.map(|(_, path)| path.into_owned()).unwrap_or_default();
                    told.say(format!("  {path}: {}: {}", error.reason.as_str(), error.detail));
                }
            }
            told.conclude("no manifest describes it");
        }
    }
}
