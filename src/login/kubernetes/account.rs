//! The service account of a token, read from its claims as the Kubernetes auth method does; `sub` is not consulted.

use crate::json::Value;

/// Whom a token names. Whatever it does not name is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) audiences: Vec<String>,
}

/// A claim of another type than the server decodes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WrongType;

impl Account {
    /// # Errors
    /// [`WrongType`]; the server answers 500.
    pub(super) fn read(claims: &Value) -> Result<Self, WrongType> {
        // Decoded whether they are used or not.
        let legacy = |name: &str| text(claims, &format!("kubernetes.io/serviceaccount/{name}"));
        let (name, uid) = (legacy("service-account.name")?, legacy("service-account.uid")?);
        let namespace = legacy("namespace")?;
        legacy("secret.name")?;
        let audiences = match member(claims, "aud") {
            None => Vec::new(),
            Some(Value::List(items)) => {
                items.iter().map(|item| item.as_text().map(str::to_owned)).collect::<Option<_>>().ok_or(WrongType)?
            }
            Some(_) => return Err(WrongType),
        };
        let mut account = Self { name, namespace, uid, audiences };
        if let Some(bound) = object(claims, "kubernetes.io")? {
            account.namespace = text(bound, "namespace")?;
            if let Some(pod) = object(bound, "pod")? {
                text(pod, "name")?;
                text(pod, "uid")?;
            }
            if let Some(named) = object(bound, "serviceaccount")? {
                account.name = text(named, "name")?;
                account.uid = text(named, "uid")?;
            }
        }
        Ok(account)
    }
}

/// A member by its name, else by its name in other letters; null is as good as absent.
fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Object(members) = object else { return None };
    let folded = || members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    object.member(name).or_else(folded).filter(|value| **value != Value::Null)
}

fn text(object: &Value, name: &str) -> Result<String, WrongType> {
    match member(object, name) {
        None => Ok(String::new()),
        Some(value) => value.as_text().map(str::to_owned).ok_or(WrongType),
    }
}

fn object<'a>(parent: &'a Value, name: &str) -> Result<Option<&'a Value>, WrongType> {
    match member(parent, name) {
        None => Ok(None),
        Some(object @ Value::Object(_)) => Ok(Some(object)),
        Some(_) => Err(WrongType),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Duplicates;

    fn read(json: &str) -> Result<(String, String, String), WrongType> {
        let account = Account::read(&Value::parse(json.as_bytes(), Duplicates::Refuse).unwrap())?;
        Ok((account.namespace, account.name, account.uid))
    }

    #[test]
    fn bound_tokens_go_before_legacy_ones() {
        let legacy = r#""kubernetes.io/serviceaccount/namespace":"ln","kubernetes.io/serviceaccount/service-account.name":"la","kubernetes.io/serviceaccount/service-account.uid":"lu""#;
        let of = |a: &str, b: &str, c: &str| Ok((a.to_owned(), b.to_owned(), c.to_owned()));
        for (json, wanted) in [
            (format!("{{{legacy}}}"), of("ln", "la", "lu")),
            (format!(r#"{{{legacy},"kubernetes.io":null}}"#), of("ln", "la", "lu")),
            (format!(r#"{{{legacy},"kubernetes.io":{{}}}}"#), of("", "la", "lu")),
            (
                format!(r#"{{{legacy},"kubernetes.io":{{"namespace":"n","serviceaccount":{{"name":"a"}}}}}}"#),
                of("n", "a", ""),
            ),
            (r#"{"sub":"system:serviceaccount:n:a"}"#.to_owned(), of("", "", "")),
            (r#"{"kubernetes.io":5}"#.to_owned(), Err(WrongType)),
            (r#"{"kubernetes.io":{"serviceaccount":{"name":5}}}"#.to_owned(), Err(WrongType)),
            (r#"{"aud":"a"}"#.to_owned(), Err(WrongType)),
            (r#"{"aud":["a"]}"#.to_owned(), of("", "", "")),
        ] {
            assert_eq!(read(&json), wanted, "{json}");
        }
    }
}
