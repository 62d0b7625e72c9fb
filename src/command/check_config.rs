//! `-check-config`: what this configuration would do, in plain lines.

use crate::config::{Config, ListenHost, Loaded, written_duration};
use crate::jwt::JsonPointer;
use crate::kubernetes::NamespacePattern;
use crate::log::escape;
use crate::observation::{Reading, TokenSeries};
use crate::source::Links;
use crate::source::secrets::NamedSecret;
use crate::vault::{Login, MountPlan, Reviewer};
use std::fmt::Write;

/// The whole answer. Calls nobody and opens nothing: it says what is configured, not what would be found.
pub(super) fn report(loaded: &Loaded) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(loaded, &mut text);
    text
}

fn write_report(loaded: &Loaded, out: &mut String) -> std::fmt::Result {
    let config = &loaded.config;
    if loaded.from_file {
        writeln!(out, "{} is valid.", escape(&loaded.path))?;
    } else {
        writeln!(out, "There is no {}: the defaults hold.", escape(&loaded.path))?;
    }
    let everywhere = if config.address.host == ListenHost::Any { " (every interface, IPv6 and IPv4)" } else { "" };
    writeln!(out, "Serves metrics at {}{everywhere}.", config.address)?;
    if !config.status_page {
        writeln!(out, "Shows no status page.")?;
    }
    writeln!(out, "Polls every {}.", written_duration(config.polling_interval))?;
    write_kubernetes(config, out)?;
    let watch = if config.watch { ", and looks for changes in between" } else { "" };
    for glob in &config.files {
        writeln!(out, "Files: reads {}{watch}.", escape(glob.as_str()))?;
    }
    for glob in &config.manifests {
        writeln!(out, "Manifests: reads {}.", escape(glob.as_str()))?;
    }
    if !(config.files.is_empty() && config.manifests.is_empty()) {
        out.push_str(match config.links {
            Links::Inside => {
                "Links in them are followed as far as they stay below the folder before the first wildcard.\n"
            }
            Links::Anywhere => "Links in them are followed wherever they lead.\n",
        });
    }
    for login in &config.logins {
        write_login(login, out)?;
    }
    for renewal in &config.renewals {
        let (target, origin) = (renewal.target.to_string(), &renewal.request.origin);
        writeln!(out, "Renewals: keeps the token in {} fresh, asking {origin}.", escape(&target))?;
    }
    write_claims(config, out)?;
    let of_secret = config.reading.secret_labels.entries().map(|label| (label, "Secret"));
    let of_namespace = config.reading.namespace_labels.entries().map(|label| (label, "Secret's namespace"));
    for ((name, key), object) in of_secret.chain(of_namespace) {
        writeln!(out, "Label {name}: from the label {key} of the {object}.")?;
    }
    for (labels, how) in [(&config.dropped, "left out"), (&config.hashed, "shown as pseudonyms")] {
        if !labels.is_empty() {
            writeln!(out, "Labels {how}: {}.", labels.join(", "))?;
        }
    }
    if config.reading.token_series == TokenSeries::Compact {
        writeln!(out, "The series per role and scope (jwt_exporter_jwt_*, jwt_issued_at_timestamp) are left out.")?;
    }
    writeln!(
        out,
        "Bounds: {} tokens per Secret, {} series per token, {} series in all.",
        config.reading.bounds.max_tokens_per_secret, config.reading.bounds.max_series_per_token, config.max_series
    )
}

fn write_login(login: &Login, out: &mut String) -> std::fmt::Result {
    let name = &login.name;
    let roles = |known: usize| if known == 1 { "1 role".to_owned() } else { format!("{known} roles") };
    match &login.mount {
        MountPlan::Jwt(mount) => writeln!(out, "Login {name}: JWT auth, with {}.", roles(mount.roles.len()))?,
        MountPlan::Kubernetes(mount) => {
            writeln!(out, "Login {name}: Kubernetes auth, with {}.", roles(mount.roles.len()))?;
        }
        MountPlan::Live(live) => {
            let (mount, interval) = (escape(&live.mount), written_duration(live.refresh_interval));
            writeln!(out, "Login {name}: reads {mount} at {} every {interval}.", live.address)?;
        }
    }
    let interval = written_duration(login.review_interval);
    match &login.review {
        Reviewer::Nobody => Ok(()),
        Reviewer::Ours => writeln!(out, "  sends its tokens to the TokenReview of our cluster every {interval}"),
        Reviewer::Context(context) => {
            writeln!(out, "  sends its tokens to the TokenReview of the context {} every {interval}", escape(context))
        }
    }
}

fn write_kubernetes(config: &Config, out: &mut String) -> std::fmt::Result {
    if !config.kubernetes {
        return writeln!(out, "Kubernetes: calls no API server.");
    }
    match (&config.kubeconfig_path, config.contexts.as_slice()) {
        (None, _) => writeln!(out, "Kubernetes: the cluster it runs in, by the pod's service account.")?,
        (Some(path), []) => writeln!(out, "Kubernetes: the current context of {}.", escape(&path.to_string_lossy()))?,
        (Some(path), contexts) => {
            let path = path.to_string_lossy();
            writeln!(out, "Kubernetes: of the contexts of {}, each a cluster of its own:", escape(&path))?;
            for context in contexts {
                writeln!(out, "  {}", escape(context))?;
            }
            writeln!(out, "In each of them:")?;
        }
    }
    for NamedSecret { context, namespace, name, keys, .. } in &config.secrets {
        let keys = if keys.is_empty() { String::new() } else { format!(", of which {}", keys.join(", ")) };
        let place = context.as_ref().map(|context| format!(" in {} alone", escape(context))).unwrap_or_default();
        writeln!(out, "  reads the Secret {namespace}/{name}{place}{keys}")?;
    }
    if config.only_named {
        writeln!(out, "  lists no others, since `label_selectors` are not given")?;
    } else {
        write_lists(config, out)?;
    }
    if !config.reading.namespace_labels.is_empty() {
        let how = if reads_each_namespace(config) { "gets each of these" } else { "lists the" };
        writeln!(out, "  {how} namespaces for their labels")?;
    }
    if let Some(shard) = config.shard {
        writeln!(out, "  of all these, what the shard {shard} has (by a hash of namespace and name)")?;
    }
    out.push_str(match (config.watch, config.only_named) {
        (true, false) => "  watches them, so that changes show at once\n",
        (true, true) => "  watches each of them, so that changes show at once\n",
        (false, _) => "  watches nothing: changes show at the next poll\n",
    });
    writeln!(out, "  reads the data keys that the annotation {} names", config.annotation_key)
}

/// What is listed, and where.
fn write_lists(config: &Config, out: &mut String) -> std::fmt::Result {
    match config.label_selectors.as_slice() {
        [] => writeln!(out, "  takes every Secret")?,
        [first, others @ ..] => {
            writeln!(out, "  takes Secrets with {}", escape(first.as_str()))?;
            for other in others {
                writeln!(out, "  or with {}", escape(other.as_str()))?;
            }
        }
    }
    match config.namespaces.as_slice() {
        [] if config.namespace_selector.is_some() => {}
        [] => writeln!(out, "  in the whole cluster")?,
        namespaces => writeln!(out, "  in the namespaces {} alone", namespaces.join(", "))?,
    }
    if let Some(selector) = &config.namespace_selector {
        writeln!(out, "  in the namespaces with {}", escape(selector.as_str()))?;
    }
    if !config.exclude_namespaces.is_empty() {
        let excluded: Vec<&str> = config.exclude_namespaces.iter().map(NamespacePattern::as_str).collect();
        writeln!(out, "  but not in {}", excluded.join(", "))?;
    }
    if !config.field_selector.as_str().is_empty() {
        writeln!(out, "  of those with the fields {}", config.field_selector.as_str())?;
    }
    Ok(())
}

/// Whether namespaces are read by their names, and not listed.
fn reads_each_namespace(config: &Config) -> bool {
    config.only_named || !config.namespaces.is_empty()
}

fn write_claims(config: &Config, out: &mut String) -> std::fmt::Result {
    let Reading { claims, show, .. } = &config.reading;
    let all = [("scope", &claims.scope), ("role", &claims.role), ("name", &claims.name), ("email", &claims.email)];
    for (label, pointers) in all {
        if !config.dropped.iter().any(|dropped| dropped == label) {
            writeln!(out, "Label {label}: from {}.", in_words(pointers))?;
        }
    }
    for ((label, _), pointer) in show.added.iter().zip(&claims.added) {
        writeln!(out, "Label {label}: from {}.", in_words(std::slice::from_ref(pointer)))?;
    }
    Ok(())
}

fn in_words(pointers: &[JsonPointer]) -> String {
    match pointers {
        [] => "nothing, it stays empty".to_owned(),
        _ => {
            pointers.iter().map(|pointer| escape(&pointer.to_string()).into_owned()).collect::<Vec<_>>().join(", else ")
        }
    }
}
