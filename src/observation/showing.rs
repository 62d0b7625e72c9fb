//! Which labels made of a token are shown, and how.

use super::label_set::push_label;
use crate::jwt::PseudonymKey;
use std::borrow::Cow;

/// How a label is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Showing {
    /// As it is.
    #[default]
    Plain,
    /// As a pseudonym.
    Hashed(PseudonymKey),
    /// Not at all: the label is left out.
    Dropped,
}

impl Showing {
    /// Appends `name="value",`, or whatever of it is to be seen.
    pub(super) fn push(&self, set: &mut String, name: &str, value: &str) {
        match self {
            Self::Plain => push_label(set, name, value),
            Self::Hashed(key) => push_label(set, name, &key.pseudonym(value)),
            Self::Dropped => return,
        }
        set.push(',');
    }

    /// What may be shown of several values; of hashed ones the first `most` at most.
    pub(super) fn of_texts<'t>(&self, texts: &'t [Cow<'t, str>], most: usize) -> Cow<'t, [Cow<'t, str>]> {
        match self {
            Self::Plain => Cow::Borrowed(texts),
            Self::Hashed(key) => texts.iter().take(most).map(|text| key.pseudonym(text).into()).collect(),
            Self::Dropped => Cow::Borrowed(&[]),
        }
    }
}

/// How each label made of a token is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the labels' names
pub struct Showings {
    pub algorithm: Showing,
    pub audience: Showing,
    pub email: Showing,
    pub id: Showing,
    pub issuer: Showing,
    pub name: Showing,
    pub role: Showing,
    pub scope: Showing,
    pub subject: Showing,
    /// Names of the labels that the configuration adds, in the order of [`ClaimPaths::added`](crate::jwt::ClaimPaths::added).
    pub added: Vec<(String, Showing)>,
}

impl Showings {
    /// The labels that every configuration has.
    pub const NAMES: [&str; 9] = ["algorithm", "audience", "email", "id", "issuer", "name", "role", "scope", "subject"];

    /// The label of this name.
    pub fn named(&mut self, name: &str) -> Option<&mut Showing> {
        Some(match name {
            "algorithm" => &mut self.algorithm,
            "audience" => &mut self.audience,
            "email" => &mut self.email,
            "id" => &mut self.id,
            "issuer" => &mut self.issuer,
            "name" => &mut self.name,
            "role" => &mut self.role,
            "scope" => &mut self.scope,
            "subject" => &mut self.subject,
            _ => return self.added.iter_mut().find(|(added, _)| added == name).map(|(_, showing)| showing),
        })
    }
}

/// Whether the reference's families, which have a sample for each role and scope of a token, are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenSeries {
    /// They are.
    #[default]
    Detailed,
    /// They are left out: a token has its `jwt_exporter_token_*` samples alone.
    Compact,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_own_label() {
        let mut showings = Showings { added: vec![("tenant".into(), Showing::Plain)], ..Showings::default() };
        for name in Showings::NAMES.into_iter().chain(["tenant"]) {
            let showing = showings.named(name).unwrap();
            assert_eq!(*showing, Showing::Plain, "{name}");
            *showing = Showing::Dropped;
        }
        assert_eq!(showings.named("secret_name"), None);
    }
}
