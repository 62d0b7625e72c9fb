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
    use crate::jwt::ClaimPaths;
    use crate::observation::{Bounds, DataValue, ExtraLabels, Logins, Observer, Reading, SecretView, label_value};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

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

    /// A token whose every claim holds a text that stands nowhere else, and all that is kept of it.
    fn observe(reading: Reading, text: impl Fn(&str) -> Value) -> (String, crate::observation::SecretObservation) {
        let listed = |name: &str| json!([text(name), "x"]);
        let claims = json!({
            "aud": listed("audience"), "email": text("email"), "jti": text("id"), "iss": text("issuer"), "name": text("name"),
            "roles": listed("role"), "scope": listed("scope"), "sub": text("subject"), "tenant": {"id": text("tenant")},
            "exp": "never",
        });
        let header = json!({"alg": text("algorithm")});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.c2ln", encode(&header), encode(&claims));
        let data = [("k".into(), DataValue::Plain(token.into()))];
        let extra = &ExtraLabels::default();
        let view = SecretView {
            namespace: "n",
            name: "s",
            annotation: None,
            data: &data,
            picked: true,
            extra,
            logins: Logins::Annotation(None),
            version: 0,
        };
        let secret = Observer::new(reading).observe(&view).unwrap();
        // Texts escape twice in it; what is looked for has nothing to escape.
        (format!("{secret:?}"), secret)
    }

    proptest! {
        /// Whatever the claims are, nothing that is kept, and so nothing that is shown anywhere, holds a value that is dropped or
        /// hashed.
        #[test]
        fn no_hidden_value_is_kept(
            hows in proptest::collection::vec(0usize..3, 10), noise in "\\PC{0,9}", most in 1usize..5, compact in any::<bool>(),
        ) {
            let names: Vec<&str> = Showings::NAMES.into_iter().chain(["tenant"]).collect();
            let key = PseudonymKey::new(b"0123456789abcdef").unwrap();
            let bounds = Bounds { max_tokens_per_secret: 9, max_series_per_token: most };
            let mut reading = Reading::new(ClaimPaths::default(), bounds);
            reading.claims.added = vec!["/tenant/id".parse().unwrap()];
            reading.show.added = vec![("tenant".into(), Showing::Plain)];
            let of_all = [Showing::Plain, Showing::Hashed(key.clone()), Showing::Dropped];
            for (name, how) in names.iter().zip(&hows) {
                *reading.show.named(name).unwrap() = of_all[*how].clone();
            }
            if compact {
                reading.token_series = TokenSeries::Compact;
            }
            let text = |name: &str| json!(format!("{noise}<{name}>{noise}"));
            let (kept, secret) = observe(reading, text);
            let token = &secret.tokens[0];
            for (name, how) in names.iter().zip(&hows) {
                let is_series = ["role", "scope"].contains(name);
                let is_plain = *how == 0 && !(compact && is_series);
                prop_assert_eq!(kept.contains(&format!("<{name}>")), is_plain, "{} {} {}", name, how, kept);
                let labels = [token.head(), token.tail()].concat() + &token.series().collect::<String>();
                let shown = label_value(&labels, name);
                match (how, compact && is_series) {
                    (2, _) | (_, true) => prop_assert_eq!(shown, None),
                    (1, _) if *name == "audience" => {
                        prop_assert_eq!(shown, Some(key.pseudonym(&format!("{noise}<{name}>{noise},x"))));
                    }
                    (1, _) => {
                        let wanted = key.pseudonym(&format!("{noise}<{name}>{noise}"));
                        prop_assert!(shown.unwrap().starts_with(&wanted));
                    }
                    _ => {}
                }
            }
        }
    }
}
