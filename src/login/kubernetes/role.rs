//! `POST auth/kubernetes/role/:name`.

use crate::json::{Duplicates, Value};
use crate::login::bound_claims::glob;
use crate::login::cidr::Cidr;
use crate::login::jwt_config::Origin;
use crate::login::jwt_role::{check_token_fields, check_ttl};
use crate::login::settings::{Settings, SettingsError, refused, scalar};
use crate::yaml;

/// A selector in YAML that is longer is not read: it may be a stranger's, and YAML can cost minutes for each megabyte.
const MOST_YAML_BYTES: usize = 8 * 1024;

/// A checked role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesRole {
    /// Globs; a lone `*` allows all.
    pub bound_service_account_names: Vec<String>,
    /// Globs; a lone `*` allows all. May be empty where there is a selector.
    pub bound_service_account_namespaces: Vec<String>,
    /// The `matchLabels` of `bound_service_account_namespace_selector`; an empty list matches all.
    pub namespace_selector: Option<Vec<(String, String)>>,
    /// Empty if any will do.
    pub audience: String,
    pub(in crate::login) cidrs: Vec<Cidr>,
}

impl KubernetesRole {
    /// Reads the fields of a role.
    ///
    /// # Errors
    /// What the server would refuse, in its words.
    pub fn parse(fields: &Value, origin: Origin) -> Result<Self, SettingsError> {
        let settings = Settings::new(fields)?;
        let role = Self {
            bound_service_account_names: settings.list("bound_service_account_names")?,
            bound_service_account_namespaces: settings.list("bound_service_account_namespaces")?,
            namespace_selector: selector(settings)?,
            audience: settings.text("audience")?,
            cidrs: Cidr::list(settings)?,
        };
        if origin == Origin::Written {
            role.check(settings)?;
        }
        Ok(role)
    }

    fn check(&self, settings: Settings<'_>) -> Result<(), SettingsError> {
        check_token_fields(settings)?;
        check_ttl(settings, "token ttl should not be greater than token max ttl")?;
        let (names, namespaces) = (&self.bound_service_account_names, &self.bound_service_account_namespaces);
        if names.is_empty() {
            return refused("bound_service_account_names", "\"bound_service_account_names\" can not be empty");
        }
        let mixed = |list: &[String]| list.len() > 1 && list.iter().any(|entry| entry == "*");
        if mixed(names) {
            return refused("bound_service_account_names", "can not mix \"*\" with values");
        }
        if namespaces.is_empty() && self.namespace_selector.is_none() {
            let reason = "\"bound_service_account_namespaces\" can not be empty if \
                          \"bound_service_account_namespace_selector\" is not set";
            return refused("bound_service_account_namespaces", reason);
        }
        if mixed(namespaces) {
            return refused("bound_service_account_namespaces", "can not mix \"*\" with values");
        }
        let alias = settings.text("alias_name_source")?;
        if !["", "serviceaccount_uid", "serviceaccount_name"].contains(&&*alias) {
            return refused("alias_name_source", format!("invalid alias_name_source {alias:?}"));
        }
        Ok(())
    }

    pub(super) fn allows_name(&self, name: &str) -> bool {
        self.bound_service_account_names.iter().any(|pattern| glob(pattern, name))
    }

    pub(super) fn lists_namespace(&self, namespace: &str) -> bool {
        self.bound_service_account_namespaces.iter().any(|pattern| glob(pattern, namespace))
    }
}

/// A label selector in JSON or YAML, of which `matchLabels` alone is allowed.
fn selector(settings: Settings<'_>) -> Result<Option<Vec<(String, String)>>, SettingsError> {
    const FIELD: &str = "bound_service_account_namespace_selector";
    let text = settings.text(FIELD)?;
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || SettingsError::Refused { field: FIELD, reason: format!("invalid {FIELD:?} configured") };
    // What begins as a JSON object is one, whatever stands behind it.
    let read = match Value::parse_first(text.as_bytes(), Duplicates::LastWins) {
        Ok(value @ Value::Object(_)) => value,
        _ if text.len() > MOST_YAML_BYTES => {
            return refused(FIELD, format!("more than {MOST_YAML_BYTES} bytes of YAML are not read; JSON is"));
        }
        _ => Value::from(&yaml::Node::parse(&text).map_err(|_| invalid())?),
    };
    if !matches!(read, Value::Object(_) | Value::Null) {
        return Err(invalid());
    }
    if read.member("matchExpressions").is_some_and(|expressions| *expressions != Value::Null) {
        return Err(invalid());
    }
    let mut labels = match read.member("matchLabels") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(members)) => {
            let pair = |(name, value): &(String, Value)| {
                let value = match value {
                    Value::Boolean(value) => value.to_string(),
                    other => scalar(other)?,
                };
                Some((name.clone(), value))
            };
            members.iter().map(pair).collect::<Option<_>>().ok_or_else(invalid)?
        }
        Some(_) => return Err(invalid()),
    };
    labels.sort();
    Ok(Some(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(json: &str) -> Result<KubernetesRole, SettingsError> {
        let fields = Value::parse(json.as_bytes(), Duplicates::LastWins).unwrap();
        KubernetesRole::parse(&fields, Origin::Written)
    }

    /// Each as a real server took it, or refused it.
    #[test]
    fn selectors_are_json_or_yaml_with_match_labels_alone() {
        for (selector, wanted) in [
            (r#"{"matchLabels":{"team":"a"}}"#, Some("team=a")),
            (r#"{"matchLabels":{"team":"a"}} x"#, Some("team=a")),
            (r#"{"matchLabels":{"team":5}}"#, Some("team=5")),
            ("matchLabels:\n  team: a\n", Some("team=a")),
            ("matchLabels: {team: a, env: dev}", Some("env=dev team=a")),
            ("{}", Some("")),
            (r#"{"matchExpressions":null}"#, Some("")),
            (r#"{"matchExpressions":[{"key":"a","operator":"Exists"}]}"#, None),
            (r#"{"matchLabels":[]}"#, None),
            ("[]", None),
            ("x", None),
            ("{", None),
        ] {
            let fields = serde_json::json!({"bound_service_account_names": "*", "bound_service_account_namespace_selector": selector});
            let shown = role(&fields.to_string()).ok().map(|role| {
                let labels = role.namespace_selector.unwrap();
                labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(shown.as_deref(), wanted, "{selector}");
        }
    }

    #[test]
    fn a_selector_of_brackets_is_refused_in_a_moment() {
        let begun = std::time::Instant::now();
        let of = |selector: &str| {
            let fields = serde_json::json!({"bound_service_account_names": "*", "bound_service_account_namespace_selector": selector});
            role(&fields.to_string())
        };
        for selector in ["[".repeat(1 << 20), (0..40_000).map(|n| format!("k{n}: 1\n")).collect()] {
            let error = of(&selector).unwrap_err().to_string();
            assert!(error.contains("more than 8192 bytes of YAML"), "{error}");
        }
        assert!(of(&"[".repeat(MOST_YAML_BYTES)).is_err());
        let long = "a".repeat(MOST_YAML_BYTES);
        assert!(of(&format!(r#"{{"matchLabels":{{"team":"{long}"}}}}"#)).is_ok(), "JSON is no work");
        // The first is read in minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_the_server_would_refuse_is_refused_in_its_words() {
        for (json, field, words) in [
            (r#"{"bound_service_account_namespaces":"a"}"#, "bound_service_account_names", "can not be empty"),
            (r#"{"bound_service_account_names":"a"}"#, "bound_service_account_namespaces", "is not set"),
            (
                r#"{"bound_service_account_names":["a","*"],"bound_service_account_namespaces":"a"}"#,
                "bound_service_account_names",
                "can not mix",
            ),
            (
                r#"{"bound_service_account_names":"a","bound_service_account_namespaces":"a,*"}"#,
                "bound_service_account_namespaces",
                "can not mix",
            ),
            (
                r#"{"bound_service_account_names":"a","bound_service_account_namespaces":"a","alias_name_source":"x"}"#,
                "alias_name_source",
                "invalid alias_name_source \"x\"",
            ),
            (
                r#"{"bound_service_account_names":"a","bound_service_account_namespaces":"a","ttl":5,"max_ttl":3}"#,
                "token_ttl",
                "token ttl should not be greater",
            ),
            (
                r#"{"bound_service_account_names":"a","bound_service_account_namespaces":"a","token_type":"batch","token_period":3}"#,
                "token_type",
                "periodic tokens",
            ),
        ] {
            let error = role(json).unwrap_err();
            assert!(error.field() == field && error.to_string().contains(words), "{json}: {error}");
        }
        assert!(role(r#"{"bound_service_account_names":["*"],"bound_service_account_namespaces":"*","alias_name_source":"serviceaccount_name","unknown":1}"#).is_ok());
    }
}
