//! The parts of a Secret object that are looked at (Kubernetes API, `core/v1.Secret`), borrowed from the answer.

use crate::json::{self, JsonFault};
use crate::observation::DataValue;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// A Secret whose data has not been looked into yet: of one that did not change, nobody wants it.
#[derive(Debug)]
pub struct SecretObject<'a> {
    /// `metadata.namespace`
    pub namespace: Cow<'a, str>,
    /// `metadata.name`
    pub name: Cow<'a, str>,
    /// The value of the annotation that was asked for.
    pub annotation: Option<Cow<'a, str>>,
    /// The value of the annotation [`LOGIN_ANNOTATION`].
    pub login: Option<Cow<'a, str>>,
    /// `metadata.resourceVersion` where it is a number: a later state has a larger one (Kubernetes API concepts, "Resource
    /// versions"; KEP-5504). Anything else becomes a hash with the highest bit set, which can be told apart and has no order.
    pub version: u64,
    labels: &'a str,
    data: &'a str,
}

/// The annotation whose value names the logins that the tokens of a Secret are held against.
pub const LOGIN_ANNOTATION: &str = "jwt-exporter/login";

/// The parts of a Namespace object that are looked at (Kubernetes API, `core/v1.Namespace`).
#[derive(Debug)]
pub struct NamespaceObject<'a> {
    /// `metadata.name`
    pub name: Cow<'a, str>,
    /// `metadata.labels`
    pub labels: Labels<'a>,
}

/// Keys and values of `metadata.labels`.
#[derive(Debug, Default)]
pub struct Labels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Labels<'a> {
    /// Of an object, or `null`.
    fn read(labels: &'a str) -> Result<Self, JsonFault> {
        let mut pairs = Vec::new();
        members_or_null(labels, |key, value| pairs.extend(json::string(value).map(|value| (key, value))))?;
        Ok(Self(pairs))
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| &**value)
    }
}

impl<'a> NamespaceObject<'a> {
    /// Reads an item of a list, or the object itself.
    ///
    /// # Errors
    /// [`ObjectError`]: what the API server never sends.
    pub fn read(object: &'a [u8]) -> Result<Self, ObjectError> {
        let text = std::str::from_utf8(object).map_err(|_| JsonFault::NotUtf8)?;
        let (mut metadata, mut name, mut labels) = ("{}", None, "null");
        json::members(text, |member, value| {
            if member == "metadata" {
                metadata = value;
            }
        })?;
        json::members(metadata, |member, value| match &*member {
            "name" => name = json::string(value),
            "labels" => labels = value,
            _ => {}
        })?;
        Ok(Self { name: name.ok_or(ObjectError::NoName)?, labels: Labels::read(labels)? })
    }
}

/// Versions from here on have no order.
pub const UNORDERED: u64 = 1 << 63;

/// Why an item of a list is no Secret.
#[derive(Debug, PartialEq, Eq)]
pub enum ObjectError {
    /// The item, its metadata or its data.
    Json(JsonFault),
    /// `metadata.name` or `metadata.namespace` is not there.
    NoName,
}

impl std::fmt::Display for ObjectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Json(fault) => write!(f, "an item of the list {fault}"),
            Self::NoName => f.write_str("an item of the list has no name or no namespace"),
        }
    }
}

impl std::error::Error for ObjectError {}

impl From<JsonFault> for ObjectError {
    fn from(fault: JsonFault) -> Self {
        Self::Json(fault)
    }
}

impl<'a> SecretObject<'a> {
    /// Reads an item of a list; `annotation_key` is the annotation that is wanted.
    ///
    /// # Errors
    /// [`ObjectError`]: what the API server never sends.
    pub fn read(item: &'a [u8], annotation_key: &str) -> Result<Self, ObjectError> {
        let text = std::str::from_utf8(item).map_err(|_| JsonFault::NotUtf8)?;
        let (mut namespace, mut name, mut resource_version) = (None, None, "\"\"");
        let (mut labels, mut annotations, mut data) = ("null", "null", "null");
        let metadata = |member: Cow<'a, str>, value| match member.as_bytes() {
            b"namespace" => namespace = json::string(value),
            b"name" => name = json::string(value),
            b"resourceVersion" => resource_version = value,
            b"labels" => labels = value,
            b"annotations" => annotations = value,
            _ => {}
        };
        json::members_inside(text, "metadata", metadata, |name, value| {
            if name == "data" {
                data = value;
            }
        })?;
        let (mut annotation, mut login) = (None, None);
        members_or_null(annotations, |key, value| {
            if key == annotation_key {
                annotation = json::string(value);
            } else if key == LOGIN_ANNOTATION {
                login = json::string(value);
            }
        })?;
        let version = json::string(resource_version).unwrap_or_default();
        let version = version.parse::<u64>().ok().filter(|version| *version < UNORDERED).unwrap_or_else(|| {
            let mut hasher = DefaultHasher::new();
            version.hash(&mut hasher);
            hasher.finish() | UNORDERED
        });
        let (Some(namespace), Some(name)) = (namespace, name) else { return Err(ObjectError::NoName) };
        Ok(Self { namespace, name, annotation, login, version, labels, data })
    }

    /// Its labels.
    ///
    /// # Errors
    /// [`ObjectError::Json`] if they are no object.
    pub fn labels(&self) -> Result<Labels<'a>, ObjectError> {
        Ok(Labels::read(self.labels)?)
    }

    /// Appends its data keys and values to `entries`.
    ///
    /// # Errors
    /// [`ObjectError::Json`] if `data` is no object.
    pub fn data(&self, entries: &mut Vec<(Cow<'a, str>, DataValue<'a>)>) -> Result<(), ObjectError> {
        members_or_null(self.data, |key, value| {
            if let Some(encoded) = json::string(value) {
                entries.push((key, DataValue::Base64(encoded)));
            }
        })?;
        Ok(())
    }
}

fn members_or_null<'a>(value: &'a str, each: impl FnMut(Cow<'a, str>, &'a str)) -> Result<(), JsonFault> {
    if value == "null" { Ok(()) } else { json::members(value, each) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(item: &str) -> Result<SecretObject<'_>, ObjectError> {
        SecretObject::read(item.as_bytes(), "jwt-exporter/secret-key")
    }

    #[test]
    fn a_secret_as_the_api_server_writes_it() {
        let item = r#"{"metadata":{"name":"s","namespace":"ns","uid":"1-2","resourceVersion":"42","labels":{"a":"b"},
            "annotations":{"jwt-exporter/secret-key":"token","other":"\"{\\n}\"","jwt-exporter/login":"a/b"},"managedFields":[{"f":{}}]},
            "data":{"token":"ZXlK","b\u0061":"LQ=="},"type":"Opaque"}"#;
        let secret = read(item).unwrap();
        assert_eq!((&*secret.namespace, &*secret.name), ("ns", "s"));
        assert_eq!((secret.annotation.as_deref(), secret.login.as_deref()), (Some("token"), Some("a/b")));
        let labels = secret.labels().unwrap();
        assert_eq!((labels.get("a"), labels.get("b")), (Some("b"), None));
        let mut entries = Vec::new();
        secret.data(&mut entries).unwrap();
        let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        assert_eq!(entries, [r#"token=Base64("ZXlK")"#, r#"ba=Base64("LQ==")"#]);
    }

    #[test]
    fn a_secret_without_anything() {
        for item in [
            r#"{"metadata":{"name":"s","namespace":"ns"}}"#,
            r#"{"data":null,"metadata":{"annotations":null,"name":"s","namespace":"ns"}}"#,
        ] {
            let secret = read(item).unwrap();
            let mut entries = Vec::new();
            secret.data(&mut entries).unwrap();
            assert!(secret.annotation.is_none() && entries.is_empty());
            assert_eq!(secret.labels().unwrap().get("a"), None);
        }
    }

    #[test]
    fn a_namespace_as_the_api_server_writes_it() {
        let item = r#"{"metadata":{"name":"billing","uid":"1-2","resourceVersion":"42","labels":{"team":"m\u0061x","a/b":""},
            "managedFields":[{"f":{}}]},"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Active"}}"#;
        let namespace = NamespaceObject::read(item.as_bytes()).unwrap();
        assert_eq!(namespace.name, "billing");
        let labels = namespace.labels;
        assert_eq!((labels.get("team"), labels.get("a/b"), labels.get("b")), (Some("max"), Some(""), None));
        assert_eq!(NamespaceObject::read(br#"{"metadata":{"labels":null}}"#).unwrap_err(), ObjectError::NoName);
        for item in ["[]", "{", r#"{"metadata":[]}"#, r#"{"metadata":{"name":"n","labels":1}}"#] {
            assert!(matches!(NamespaceObject::read(item.as_bytes()), Err(ObjectError::Json(_))), "{item}");
        }
    }

    #[test]
    fn versions_have_an_order_where_they_are_numbers() {
        let version = |version: &str| {
            let item = format!(r#"{{"metadata":{{"name":"s","namespace":"n","resourceVersion":"{version}"}}}}"#);
            read(&item).unwrap().version
        };
        assert_eq!((version("7"), version("12")), (7, 12));
        for odd in ["", "abc", "-1", "9223372036854775808", "1.5"] {
            assert!(version(odd) >= UNORDERED, "{odd}");
        }
        assert_ne!(version("a"), version("b"));
    }

    #[test]
    fn what_is_no_secret() {
        assert_eq!(read("{}").unwrap_err(), ObjectError::NoName);
        assert_eq!(read(r#"{"metadata":{"name":"s"}}"#).unwrap_err(), ObjectError::NoName);
        for item in ["[]", "{", r#"{"metadata":[]}"#, r#"{"metadata":{"name":"s","namespace":"n","annotations":1}}"#] {
            assert!(matches!(read(item), Err(ObjectError::Json(_))), "{item}");
        }
        assert!(SecretObject::read(b"{\"a\":\"\xff\"}", "k").is_err());
    }
}
