//! The keys that say where in a cluster tokens are looked for.

use super::Expected;
use super::reader::{Fault, Reader};
use crate::kubernetes::{FieldSelector, NamespacePattern, check_dns_label};

/// `namespaces`: names, each once, and none that is `excluded`.
pub(super) fn namespaces(value: &Reader<'_>, excluded: &[NamespacePattern]) -> Result<Vec<String>, Fault> {
    let mut names: Vec<String> = Vec::new();
    for item in value.list("namespaces")? {
        let name = item.text("the name of a namespace", namespace)?;
        if names.contains(&name) {
            return Err(item.refuse(Expected::new("each namespace once")));
        }
        if let Some(pattern) = excluded.iter().find(|pattern| pattern.matches(&name)) {
            return Err(item.refuse(Expected::new(format!(
                "a namespace that `exclude_namespaces` leaves in ({} takes it out)",
                pattern.as_str()
            ))));
        }
        names.push(name);
    }
    Ok(names)
}

fn namespace(text: &str) -> Result<String, Expected> {
    if is_pattern(text) {
        return Err(Expected::new(
            "the name of a namespace (a pattern would need the right to list namespaces: name each one, or leave `namespaces` \
             empty)",
        ));
    }
    check_dns_label(text).map_err(|rule| Expected::new(format!("the name of a namespace ({rule})")))?;
    Ok(text.to_owned())
}

/// An item of `exclude_namespaces`.
pub(super) fn excluded(text: &str) -> Result<NamespacePattern, Expected> {
    NamespacePattern::parse(text)
        .map_err(|rule| Expected::new(format!("the name of a namespace or a pattern such as kube-* ({rule})")))
}

/// `field_selector`.
pub(super) fn field_selector(text: &str) -> Result<FieldSelector, Expected> {
    FieldSelector::parse(text).map_err(|rule| Expected::new(format!("a field selector such as type=Opaque ({rule})")))
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}
