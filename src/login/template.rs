//! Templated policies (OpenBao): texts with `{{ .claim }}` in them, in Go's template language. Only plain fields are worked out.

use super::reason::{Refusal, Unknown};
use super::verdict::Verdict;
use crate::json::Value;

/// What becomes of one policy: it is refused if a claim is missing, and left open if it does more than name claims.
pub(super) fn outcome(policy: &str, claims: &Value) -> Verdict {
    let mut rest = policy;
    while let Some((_, from)) = rest.split_once("{{") {
        let Some((action, behind)) = from.split_once("}}") else {
            return Verdict::Undetermined(Unknown::PolicyTemplate);
        };
        let action = action.strip_prefix("- ").unwrap_or(action);
        let action = action.strip_suffix(" -").unwrap_or(action).trim();
        let Some(path) = action.strip_prefix('.').filter(|path| is_path(path)) else {
            return Verdict::Undetermined(Unknown::PolicyTemplate);
        };
        let found = path.split('.').filter(|name| !name.is_empty()).try_fold(claims, |value, name| value.member(name));
        if found.is_none() {
            return Verdict::Refused(Refusal::PolicyTemplateFailed);
        }
        rest = behind;
    }
    Verdict::Accepted
}

/// `a`, `a.b` or nothing, which stands for all claims.
fn is_path(path: &str) -> bool {
    let word = |name: &str| {
        let starts = name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
        starts && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    path.is_empty() || path.split('.').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Duplicates;

    #[test]
    fn fields_are_followed_and_the_rest_is_left_open() {
        let claims = Value::parse(br#"{"a":"x","b":{"c":1},"n":null}"#, Duplicates::Refuse).unwrap();
        let failed = Verdict::Refused(Refusal::PolicyTemplateFailed);
        let open = Verdict::Undetermined(Unknown::PolicyTemplate);
        for (policy, wanted) in [
            ("plain", Verdict::Accepted),
            ("p-{{ .a }}", Verdict::Accepted),
            ("p-{{.b.c}}-{{- .a -}}", Verdict::Accepted),
            ("{{.n}}", Verdict::Accepted),
            ("{{ .z }}", failed),
            ("{{.b.z}}", failed),
            ("{{.a.z}}", failed),
            ("{{.n.z}}", failed),
            ("{{ if .a }}x{{ end }}", open),
            ("{{ .a | lowercase }}", open),
            ("{{ .a", open),
        ] {
            assert_eq!(outcome(policy, &claims), wanted, "{policy}");
        }
    }
}
