//! The keys that say where in a cluster tokens are looked for.

use super::reader::{Fault, Fields, Reader};
use super::{Config, Expected, file};
use crate::kubernetes::{FieldSelector, LabelSelector, NamespacePattern, check_dns_label, check_subdomain_name};
use crate::source::secrets::NamedSecret;

const SECRET_KEYS: &[&str] = &["namespace", "name", "key"];

/// `namespaces`: names, each once, and none that is `excluded`.
pub(super) fn namespaces(value: &Reader<'_>, excluded: &[NamespacePattern]) -> Result<Vec<String>, Fault> {
    let mut names: Vec<String> = Vec::new();
    for item in value.list("namespaces")? {
        let name = item.text("the name of a namespace", namespace)?;
        if names.contains(&name) {
            return Err(item.refuse(Expected::new("each namespace once")));
        }
        check_not_excluded(&item, &name, excluded)?;
        names.push(name);
    }
    Ok(names)
}

fn check_not_excluded(item: &Reader<'_>, namespace: &str, excluded: &[NamespacePattern]) -> Result<(), Fault> {
    let Some(pattern) = excluded.iter().find(|pattern| pattern.matches(namespace)) else { return Ok(()) };
    let pattern = pattern.as_str();
    let expected = format!("a namespace that `exclude_namespaces` leaves in ({pattern} takes it out)");
    Err(item.refuse(Expected::new(expected)))
}

/// `secrets`: those of the same name are one, with several data keys.
pub(super) fn secrets(value: &Reader<'_>, excluded: &[NamespacePattern]) -> Result<Vec<NamedSecret>, Fault> {
    let mut secrets: Vec<NamedSecret> = Vec::new();
    for item in value.list("Secrets such as {namespace: billing, name: partner, key: token}")? {
        let fields = item.fields(SECRET_KEYS)?;
        let (Some(in_namespace), Some(name)) = (fields.get("namespace"), fields.get("name")) else {
            return Err(item.refuse(Expected::new("the `namespace` and the `name` of a Secret")));
        };
        let namespace = in_namespace.text("the name of a namespace", namespace_of_secret)?;
        check_not_excluded(in_namespace, &namespace, excluded)?;
        let name = name.text("the name of a Secret", secret_name)?;
        let key = fields.get("key").map(|key| key.text("a data key", data_key)).transpose()?;
        match secrets.iter_mut().find(|known| known.namespace == namespace && known.name == name) {
            None => secrets.push(NamedSecret { namespace, name, keys: key.into_iter().collect() }),
            Some(known) => match key {
                Some(key) if !known.keys.is_empty() && !known.keys.contains(&key) => known.keys.push(key),
                _ => return Err(item.refuse(Expected::new("each Secret once, or once for each of its keys"))),
            },
        }
    }
    Ok(secrets)
}

/// With `secrets` and without `label_selectors` nothing is listed: then what says where to list was meant otherwise.
pub(super) fn refuse_what_lists(fields: &Fields<'_>, config: &Config) -> Result<(), Fault> {
    for (key, is_set) in [
        ("namespaces", !config.namespaces.is_empty()),
        ("exclude_namespaces", !config.exclude_namespaces.is_empty()),
        ("namespace_selector", config.namespace_selector.is_some()),
        ("field_selector", !config.field_selector.as_str().is_empty()),
    ] {
        if let Some(value) = fields.get(key).filter(|_| is_set) {
            return Err(value.refuse(Expected::new(
                "`label_selectors` beside it (with `secrets` and without `label_selectors` nothing is listed)",
            )));
        }
    }
    Ok(())
}

pub(super) fn secret_name(text: &str) -> Result<String, Expected> {
    check_subdomain_name(text).map_err(|rule| Expected::new(format!("the name of a Secret ({rule})")))?;
    Ok(text.to_owned())
}

pub(super) fn data_key(text: &str) -> Result<String, Expected> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(allowed) {
        return Err(Expected::new("one data key of the Secret, of letters, digits, '-', '_' and '.'"));
    }
    Ok(text.to_owned())
}

fn namespace(text: &str) -> Result<String, Expected> {
    if is_pattern(text) {
        return Err(Expected::new(
            "the name of a namespace (a pattern would need the right to list namespaces: name each one, or leave `namespaces` \
             empty)",
        ));
    }
    namespace_of_secret(text)
}

pub(super) fn namespace_of_secret(text: &str) -> Result<String, Expected> {
    check_dns_label(text).map_err(|rule| Expected::new(format!("the name of a namespace ({rule})")))?;
    Ok(text.to_owned())
}

/// An item of `exclude_namespaces`.
pub(super) fn excluded(text: &str) -> Result<NamespacePattern, Expected> {
    NamespacePattern::parse(text)
        .map_err(|rule| Expected::new(format!("the name of a namespace or a pattern such as kube-* ({rule})")))
}

/// `namespace_selector`, which is no filter on `namespaces`: whoever names them needs no right to list any.
pub(super) fn namespace_selector(value: &Reader<'_>, config: &Config) -> Result<Option<LabelSelector>, Fault> {
    let selector = value.text("a label selector on namespaces", file::selector)?;
    if selector.is_some() && !config.namespaces.is_empty() {
        return Err(
            value.refuse(Expected::new("no `namespaces` beside it (each of those is read, whatever its labels)"))
        );
    }
    Ok(selector)
}

/// `field_selector`.
pub(super) fn field_selector(text: &str) -> Result<FieldSelector, Expected> {
    FieldSelector::parse(text).map_err(|rule| Expected::new(format!("a field selector such as type=Opaque ({rule})")))
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}
