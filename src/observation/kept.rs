//! Tokens that are held against logins: the only ones that are kept whole.

use super::without_tokens;
use crate::redacted::Redacted;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A Secret may name so many logins; further ones are passed over.
pub const MAX_LOGINS: usize = 32;

/// A longer name is none of a login or role.
const MAX_NAME_BYTES: usize = 256;

/// A login of the configuration and a role in it, as somebody named them. Nobody has looked whether they are there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginName {
    /// The login's name.
    pub login: Box<str>,
    /// The role's name; empty for the mount's own default role.
    pub role: Box<str>,
}

/// Which logins the tokens of a Secret are held against.
#[derive(Clone, Copy, Debug)]
pub enum Logins<'a> {
    /// None that is named beside it: what its annotation says counts, for all of its tokens.
    Annotation(Option<&'a str>),
    /// Those of the configuration: data key (`None`: all of them), and login with role.
    Named(&'a [(Option<String>, LoginName)]),
}

/// One token, whole. Its text is wiped when the last who holds it lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptToken {
    /// The location labels as text.
    pub location: Box<str>,
    /// What it is held against; each once, sorted.
    pub logins: Arc<[LoginName]>,
    /// The text as it would be sent to log in; `None` where no login is known.
    pub text: Option<Arc<Redacted>>,
}

impl LoginName {
    /// Reads `login/role`, or `login` alone for the mount's default role.
    ///
    /// Names of logins are made of letters, digits, `-`, `_` and `.`; those of roles hold no white space and no comma.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (login, role) = text.split_once('/').unwrap_or((text, ""));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_login = !login.is_empty() && login.bytes().all(allowed);
        let is_role = !role.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',');
        // A label shows each name as it is, so that no two samples are made equal.
        let is_shown = text.len() <= MAX_NAME_BYTES && without_tokens(text) == text;
        (is_login && is_role && is_shown).then(|| Self { login: login.into(), role: role.into() })
    }
}

impl KeptToken {
    /// The same token at another location.
    pub(super) fn at(&self, location: &str) -> Self {
        Self { location: location.into(), ..self.clone() }
    }
}

impl<'a> Logins<'a> {
    /// What the tokens of a data key are held against. What is no name of a login is passed over: an annotation is anybody's.
    #[must_use]
    pub fn of_key(self, key: &str) -> Arc<[LoginName]> {
        let names: BTreeSet<LoginName> = match self {
            Self::Annotation(None) => return Arc::default(),
            Self::Annotation(Some(text)) => {
                let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
                names.filter_map(LoginName::parse).take(MAX_LOGINS).collect()
            }
            Self::Named(all) => {
                let of_key =
                    |(named, _): &&(Option<String>, LoginName)| named.as_ref().is_none_or(|named| named == key);
                all.iter().filter(of_key).map(|(_, name)| name.clone()).collect()
            }
        };
        names.into_iter().collect()
    }

    /// The configuration's, if it names any, else the annotation's.
    #[must_use]
    pub fn named_or(named: &'a [(Option<String>, LoginName)], annotation: Option<&'a str>) -> Self {
        if named.is_empty() { Self::Annotation(annotation) } else { Self::Named(named) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(names: &[LoginName]) -> Vec<String> {
        names.iter().map(|name| format!("{}/{}", name.login, name.role)).collect()
    }

    #[test]
    fn an_annotation_names_logins_each_once() {
        let of = |text: &str| shown(&Logins::Annotation(Some(text)).of_key("k"));
        assert_eq!(of(" b/r, a/r/s ,,b/r, c"), ["a/r/s", "b/r", "c/"]);
        assert_eq!(of("a b/r, /r, a/r s, \u{e9}/r"), [""; 0]);
        assert_eq!(of(&"a".repeat(257)), [""; 0]);
        assert_eq!(of("a/eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2ln,a/r"), ["a/r"]);
        let many: Vec<String> = (0..100).map(|n| format!("a/{n}")).collect();
        assert_eq!(of(&many.join(",")).len(), MAX_LOGINS);
        assert!(Logins::Annotation(None).of_key("k").is_empty());
    }

    #[test]
    fn the_configuration_names_logins_key_by_key() {
        let name = |text| LoginName::parse(text).unwrap();
        let named = [(Some("a".to_owned()), name("x/1")), (None, name("y/2"))];
        let of = |key| shown(&Logins::named_or(&named, Some("z/3")).of_key(key));
        assert_eq!(of("a"), ["x/1", "y/2"]);
        assert_eq!(of("b"), ["y/2"]);
        assert_eq!(shown(&Logins::named_or(&[], Some("z/3")).of_key("a")), ["z/3"]);
    }
}
