//! The keys that say where in a cluster tokens are looked for.

use super::reader::{Fault, Fields, Reader};
use super::{Config, Expected, file};
use crate::kubernetes::{FieldSelector, LabelSelector, NamespacePattern, check_dns_label, check_subdomain_name};
use crate::observation::{LoginName, MAX_LOGINS};
use crate::source::secrets::NamedSecret;

const SECRET_KEYS: &[&str] = &["context", "namespace", "name", "key", "login"];

/// A name of a context stands in a label and in names of sources: a longer one is no name.
const LONGEST_CONTEXT: usize = 256;

/// `contexts`: each once, and only those of a kubeconfig.
pub(super) fn contexts(value: &Reader<'_>, config: &Config) -> Result<Vec<String>, Fault> {
    let mut contexts: Vec<String> = Vec::new();
    for item in value.list("contexts of the kubeconfig")? {
        let name = item.text("the name of a context", context)?;
        if contexts.contains(&name) {
            return Err(item.refuse(Expected::new("each context once")));
        }
        contexts.push(name);
    }
    if !contexts.is_empty() && config.kubeconfig_path.is_none() {
        return Err(value.refuse(Expected::new("`kubeconfig_path` beside it, the file that has these contexts")));
    }
    Ok(contexts)
}

fn context(text: &str) -> Result<String, Expected> {
    if text.is_empty() || text.len() > LONGEST_CONTEXT {
        return Err(Expected::new(format!("the name of a context (of 1 to {LONGEST_CONTEXT} bytes)")));
    }
    Ok(text.to_owned())
}

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
pub(super) fn secrets(value: &Reader<'_>, config: &Config) -> Result<Vec<NamedSecret>, Fault> {
    let mut secrets: Vec<NamedSecret> = Vec::new();
    for item in value.list("Secrets such as {namespace: billing, name: partner, key: token}")? {
        let fields = item.fields(SECRET_KEYS)?;
        let (Some(in_namespace), Some(name)) = (fields.get("namespace"), fields.get("name")) else {
            return Err(item.refuse(Expected::new("the `namespace` and the `name` of a Secret")));
        };
        let context = context_of_secret(&item, fields.get("context"), config)?;
        let namespace = in_namespace.text("the name of a namespace", namespace_of_secret)?;
        check_not_excluded(in_namespace, &namespace, &config.exclude_namespaces)?;
        let name = name.text("the name of a Secret", secret_name)?;
        let key = fields.get("key").map(|key| key.text("a data key", data_key)).transpose()?;
        let logins = logins(&fields, key.as_deref(), &config.reading.logins)?;
        let is_same =
            |known: &&mut NamedSecret| known.context == context && known.namespace == namespace && known.name == name;
        match secrets.iter_mut().find(is_same) {
            None => secrets.push(NamedSecret { context, namespace, name, keys: key.into_iter().collect(), logins }),
            Some(known) => match key {
                Some(key) if !known.keys.is_empty() && !known.keys.contains(&key) => {
                    known.keys.push(key);
                    known.logins.extend(logins);
                }
                _ => return Err(item.refuse(Expected::new("each Secret once, or once for each of its keys"))),
            },
        }
    }
    Ok(secrets)
}

/// In which cluster a named Secret is: one has to be named where there are several.
pub(super) fn context_of_secret(
    item: &Reader<'_>,
    context: Option<&Reader<'_>>,
    config: &Config,
) -> Result<Option<String>, Fault> {
    let Some(value) = context else {
        return match config.contexts.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            _ => Err(item.refuse(Expected::new("a `context` too, since `contexts` names several clusters"))),
        };
    };
    let name = value.text("the name of a context", self::context)?;
    if config.contexts.contains(&name) {
        return Ok(Some(name));
    }
    Err(value.refuse(Expected::new("one of `contexts`")))
}

/// With `secrets` and without `label_selectors` nothing is listed: then a context without a Secret was forgotten.
pub(super) fn check_each_context_has_secrets(fields: &Fields<'_>, config: &Config) -> Result<(), Fault> {
    let Some(value) = fields.get("contexts") else { return Ok(()) };
    for (item, context) in value.list("contexts")?.iter().zip(&config.contexts) {
        if config.secrets_in(Some(context)).next().is_none() {
            return Err(item.refuse(Expected::new(
                "a context in which `secrets` names something, or `label_selectors` (without them nothing is listed)",
            )));
        }
    }
    Ok(())
}

/// `login` of a Secret: what the tokens of that data key are held against.
fn logins(fields: &Fields<'_>, key: Option<&str>, known: &[String]) -> Result<Vec<(Option<String>, LoginName)>, Fault> {
    let Some(value) = fields.get("login") else { return Ok(Vec::new()) };
    let items = value.list("logins with their roles, such as vault-dev/dev-role")?;
    if items.len() > MAX_LOGINS {
        return Err(value.refuse(Expected::new(format!("at most {MAX_LOGINS} logins"))));
    }
    let read = |text: &str| {
        let name =
            LoginName::parse(text).ok_or_else(|| Expected::new("a login with its role, such as vault-dev/dev-role"))?;
        if !known.iter().any(|known| **known == *name.login) {
            return Err(Expected::new("one of `logins`, and a role in it"));
        }
        Ok((key.map(str::to_owned), name))
    };
    items.iter().map(|item| item.text("a login with its role", read)).collect()
}

/// `name` of a login.
pub(super) fn name_of_login(text: &str) -> Result<String, Expected> {
    match LoginName::parse(text) {
        Some(name) if name.role.is_empty() && !text.contains('/') => Ok(text.to_owned()),
        _ => Err(Expected::new("a name of letters, digits, '-', '_' and '.'")),
    }
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
