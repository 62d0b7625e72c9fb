//! The keys that say where in a cluster tokens are looked for.

use super::Expected;
use super::reader::{Fault, Reader};
use crate::kubernetes::check_dns_label;

/// `namespaces`: names, each once.
pub(super) fn namespaces(value: &Reader<'_>) -> Result<Vec<String>, Fault> {
    let mut names: Vec<String> = Vec::new();
    for item in value.list("namespaces")? {
        let name = item.text("the name of a namespace", namespace)?;
        if names.contains(&name) {
            return Err(item.refuse(Expected::new("each namespace once")));
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

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}
