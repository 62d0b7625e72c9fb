//! `POST auth/kubernetes/role/:name`.

use crate::json::{Duplicates, Value};
use crate::login::bound_claims::glob;
use crate::login::cidr::Cidr;
use crate::login::jwt_config::Origin;
use crate::login::jwt_role::{check_token_fields, check_ttl};
use crate::login::settings::{Settings, SettingsError, refused};
use crate::yaml;

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
    let read = match Value::parse(text.as_bytes(), Duplicates::LastWins) {
        Ok(value) => value,
        Err(_) => Value::from(&yaml::Node::parse(&text).map_err(|_| invalid())?),
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
            let pair = |(name, value): &(String, Value)| Some((name.clone(), value.as_text()?.to_owned()));
            members.iter().map(pair).collect::<Option<_>>().ok_or_else(invalid)?
        }
        Some(_) => return Err(invalid()),
    };
    labels.sort();
    Ok(Some(labels))
}
