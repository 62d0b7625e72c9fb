//! What a snapshot holds, place by place, for people: a token with what is wrong with it, or an error in the place of a token.

use super::{Snapshot, key, namesakes};
use crate::observation::{Reason, SecretObservation, TokenError, TokenObservation, labels};
use std::borrow::Cow;

/// One token, or one Secret, key or file in which none could be read.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// It and the errors have the same location.
    token: Option<&'a TokenObservation>,
    errors: &'a [TokenError],
}

impl<'a> Row<'a> {
    /// The names of the labels that say where it is.
    pub const LOCATION: [&'static str; 4] = ["secret_cluster", "secret_key", "secret_name", "secret_namespace"];

    /// The token, if it could be read.
    #[must_use]
    pub fn token(&self) -> Option<&'a TokenObservation> {
        self.token
    }

    /// Why it is not shown, or not in full: code and, for people, the detail.
    pub fn errors(&self) -> impl Iterator<Item = (Reason, &'a str)> {
        self.errors.iter().map(|error| (error.reason, &*error.detail))
    }

    /// The text of the labels of its place.
    #[must_use]
    pub fn place(&self) -> &'a str {
        let of_error = || self.errors.first().map_or("", |error| &*error.location);
        self.token.map_or_else(of_error, TokenObservation::location)
    }

    /// The labels of its place: `secret_key`, `secret_name`, `secret_namespace`, and whatever the configuration adds there.
    pub fn location(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        labels(self.place())
    }

    /// All its labels, once each, but for `role` and `scope`, which it may have several of.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let (head, tail) = self.token.map_or_else(|| ("", self.place()), |token| (token.head(), token.tail()));
        labels(head).chain(labels(tail))
    }

    /// The value of one of [`labels`](Self::labels); empty if there is no such label.
    #[must_use]
    pub fn label(&self, name: &str) -> Cow<'a, str> {
        self.labels().find(|(known, _)| *known == name).map(|(_, value)| value).unwrap_or_default()
    }
}

/// Of a key what its place does not say already: that of a file begins with the file's name.
#[must_use]
pub fn key_beside_name<'a>(namespace: &str, name: &str, key: &'a str) -> &'a str {
    let file_name = if namespace.is_empty() { name.rsplit('/').next() } else { None };
    match file_name.and_then(|file| key.strip_prefix(file)) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => key,
    }
}

impl Snapshot {
    /// Every token and every error, by namespace, name, key and cluster. That a token has no series (`max_series`) is not among the
    /// errors: it is no fault of the token.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        namesakes(&self.secrets).flat_map(|secrets| {
            let (single, several) = match secrets {
                [one] => (Some(rows_of(one)), Vec::new()),
                several => {
                    let mut rows: Vec<Row<'_>> = several.iter().flat_map(|secret| rows_of(secret)).collect();
                    rows.sort_by_key(|row| key(row.place()));
                    (None, rows)
                }
            };
            single.into_iter().flatten().chain(several)
        })
    }
}

/// Both lists are sorted by location: merges them.
fn rows_of(secret: &SecretObservation) -> impl Iterator<Item = Row<'_>> {
    let (mut tokens, mut errors) = (&*secret.tokens, &*secret.errors);
    std::iter::from_fn(move || {
        if errors.is_empty() {
            // Nearly always: then no text is touched, which lies elsewhere in memory.
            let (token, others) = tokens.split_first()?;
            tokens = others;
            return Some(Row { token: Some(token), errors });
        }
        let location = match (tokens.first(), errors.first()) {
            (None, None) => return None,
            (Some(token), None) => token.location(),
            (None, Some(error)) => &error.location,
            (Some(token), Some(error)) => token.location().min(&error.location),
        };
        let token = tokens.first().filter(|token| token.location() == location);
        if token.is_some() {
            tokens = tokens.get(1..).unwrap_or_default();
        }
        let here = errors.iter().take_while(|error| *error.location == *location).count();
        let (errors_here, others) = errors.split_at_checked(here).unwrap_or((errors, &[]));
        errors = others;
        Some(Row { token, errors: errors_here })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::ClaimPaths;
    use crate::observation::{Bounds, DataValue, ExtraLabels, Logins, Observer, Reading, SecretView};
    use crate::snapshot::SourceStatus;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use std::sync::Arc;

    #[test]
    fn tokens_and_errors_of_one_place_are_one_row() {
        let token = |claims: &str| {
            let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
            DataValue::Plain(format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims)).into())
        };
        let data = [
            ("b".into(), token(r#"{"exp":7,"sub":"a\"b\n","iss":"i"}"#)),
            ("d".into(), token(r#"{"exp":"soon","iat":5}"#)),
        ];
        let view = SecretView {
            namespace: "ns",
            name: "s",
            annotation: Some("a,b,c,d"),
            data: &data,
            logins: Logins::Annotation(None),
            picked: true,
            extra: &ExtraLabels::default(),
            version: 0,
        };
        let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 100 };
        let mut observer = Observer::new(Reading::new(ClaimPaths::default(), bounds));
        let held = [Arc::new(observer.observe(&view).unwrap())];
        let snapshot = Snapshot::assemble([(&SourceStatus::untried("kubernetes"), &held[..])], 0);
        let rows: Vec<_> = snapshot
            .rows()
            .map(|row| {
                let errors: Vec<_> = row.errors().map(|(reason, _)| reason.as_str()).collect();
                (row.label("secret_key").into_owned(), row.token().is_some(), errors.join(" "))
            })
            .collect();
        let row = |key: &str, token, errors: &str| (key.to_owned(), token, errors.to_owned());
        assert_eq!(
            rows,
            [
                row("a", false, "missing_key"),
                row("b", true, ""),
                row("c", false, "missing_key"),
                row("d", true, "invalid_claims")
            ]
        );
        let row = snapshot.rows().nth(1).unwrap();
        let labels: Vec<_> = row.labels().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            labels.join(";"),
            "algorithm=none;audience=;email=;id=;issuer=i;name=;secret_key=b;secret_name=s;secret_namespace=ns;subject=a\"b\n"
        );
        assert_eq!((row.location().count(), &*row.label("subject"), &*row.label("none")), (3, "a\"b\n", ""));
    }
}
