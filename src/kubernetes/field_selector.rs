//! Field selectors on Secrets, checked before the API server is asked (Kubernetes, "Field Selectors"; apimachinery,
//! `fields.ParseSelector`).

use super::name::{check_dns_label, check_subdomain_name};

/// A selector such as `type=Opaque,metadata.namespace!=default`. The default one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    text: String,
}

impl FieldSelector {
    /// Reads a selector on Secrets: the fields that the API server can select them by are `metadata.name`, `metadata.namespace`
    /// and `type`.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut selector = Self::default();
        if text.trim().is_empty() {
            return Ok(selector);
        }
        for term in text.split(',') {
            let (field, operator, value) = term_of(term)?;
            match field {
                "metadata.name" => check_subdomain_name(value)?,
                "metadata.namespace" => check_dns_label(value)?,
                "type" => check_type(value)?,
                _ => return Err("the API server selects Secrets by metadata.name, metadata.namespace and type alone"),
            }
            selector = selector.and(field, operator, value);
        }
        Ok(selector)
    }

    /// With the requirement that the namespace is another than this one.
    #[must_use]
    pub fn not_in_namespace(self, namespace: &str) -> Self {
        self.and("metadata.namespace", "!=", namespace)
    }

    /// With the requirement that the name is this one.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.and("metadata.name", "=", name)
    }

    fn and(mut self, field: &str, operator: &str, value: &str) -> Self {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        for part in [field, operator, value] {
            self.text.push_str(part);
        }
        self
    }

    /// The requirements that do not hold of an object whose fields have the values that `field` tells; none if it is selected.
    pub fn unmet<'f>(&self, field: impl Fn(&str) -> &'f str) -> Vec<&str> {
        let holds = |term: &&str| {
            term_of(term).is_ok_and(|(name, operator, value)| (field(name) == value) == (operator != "!="))
        };
        self.text.split(',').filter(|term| !term.is_empty() && !holds(term)).collect()
    }

    /// As the API takes it in `fieldSelector`, not yet escaped for a URL. Empty if everything is selected.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn term_of(term: &str) -> Result<(&str, &'static str, &str), &'static str> {
    // The longer ones first: `=` is the end of both.
    for operator in ["!=", "==", "="] {
        if let Some((field, value)) = term.split_once(operator) {
            return Ok((field.trim(), operator, value.trim()));
        }
    }
    Err("a requirement is a field, one of =, == and !=, and a value; commas stand between requirements")
}

/// A Secret's type is any text; nobody has one that would need to be escaped.
fn check_type(value: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/');
    if value.is_empty() || !value.bytes().all(plain) {
        return Err("a type is a word such as Opaque or kubernetes.io/tls");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_met_is_told() {
        let selector = FieldSelector::parse("type!=Opaque,metadata.name=a,metadata.namespace!=n").unwrap();
        let field = |name: &str| match name {
            "type" => "Opaque",
            "metadata.name" => "a",
            _ => "n",
        };
        assert_eq!(selector.unmet(field), ["type!=Opaque", "metadata.namespace!=n"]);
        assert!(FieldSelector::default().unmet(field).is_empty());
    }

    #[test]
    fn what_the_api_server_takes() {
        for (text, sent) in [
            ("", ""),
            (" ", ""),
            ("type=Opaque", "type=Opaque"),
            (" type == kubernetes.io/tls ", "type==kubernetes.io/tls"),
            ("type!=helm.sh/release.v1,metadata.name!=a.b", "type!=helm.sh/release.v1,metadata.name!=a.b"),
            ("metadata.namespace=a , type=x", "metadata.namespace=a,type=x"),
        ] {
            assert_eq!(FieldSelector::parse(text).as_ref().map(FieldSelector::as_str), Ok(sent), "{text}");
        }
    }

    #[test]
    fn what_it_would_refuse_at_each_list() {
        for text in [
            "type",
            "=x",
            "type=",
            "type=a=b",
            "type=a,",
            ",",
            "type in (a,b)",
            "data=x",
            "metadata.labels=x",
            "Type=Opaque",
            "metadata.name=A",
            "metadata.namespace=a.b",
            "type=a\\,b",
            "type===a",
        ] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn requirements_are_added() {
        let selector = FieldSelector::parse("type=Opaque").unwrap().not_in_namespace("a").named("b");
        assert_eq!(selector.as_str(), "type=Opaque,metadata.namespace!=a,metadata.name=b");
        assert_eq!(FieldSelector::default().named("b").as_str(), "metadata.name=b");
    }
}
