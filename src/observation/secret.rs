//! What is kept of one Secret: its tokens, and what is wrong with it.

use super::{ExtraLabels, ExtraLength, KeptToken, Reason, TokenObservation, location};
use std::fmt;

/// One Secret that holds tokens, or was expected to.
#[derive(Debug, PartialEq, Eq)]
pub struct SecretObservation {
    /// Empty for a file.
    pub namespace: Box<str>,
    /// Of a file, its path.
    pub name: Box<str>,
    /// Sorted by key.
    pub tokens: Box<[TokenObservation]>,
    /// Sorted by key.
    pub errors: Box<[TokenError]>,
    /// Those with a login, sorted by key.
    pub kept: Box<[KeptToken]>,
    /// Tells one state of the object from another; see [`SecretView::version`](super::SecretView::version).
    pub version: u64,
    /// How much of each location is labels that the configuration adds.
    pub extra: ExtraLength,
}

impl SecretObservation {
    /// A Secret that was asked for, by these data keys if there are any, and could not be had.
    #[must_use]
    pub fn unread(
        (namespace, name): (&str, &str),
        keys: &[String],
        why: (Reason, &str),
        extra: &ExtraLabels,
        version: u64,
    ) -> Self {
        let (reason, detail) = why;
        let error = |key: &str| TokenError {
            location: location(namespace, name, key, extra).into(),
            reason,
            detail: detail.into(),
        };
        let mut errors: Vec<TokenError> = keys.iter().map(|key| error(key)).collect();
        if errors.is_empty() {
            errors.push(error(""));
        }
        errors.sort_by(|a, b| a.location.cmp(&b.location));
        let (tokens, extra) = ([].into(), extra.length());
        let kept = [].into();
        Self { namespace: namespace.into(), name: name.into(), tokens, errors: errors.into(), kept, version, extra }
    }

    /// The same with why it could not be read since then.
    #[must_use]
    pub fn unread_since(&self, unread: &Self) -> Self {
        let location = self.first_location();
        let behind = |cut: &str| location.get(cut.len()..).unwrap_or_default();
        let labels = behind(self.extra.cut_off(location));
        let known = self.with_namespace_labels(behind(self.extra.cut_off_namespace(location)));
        let mut errors = known.errors.into_vec();
        // Those of earlier tries.
        errors.retain(|error| !matches!(error.reason, Reason::NotFound | Reason::Forbidden | Reason::Unreadable));
        errors.extend(unread.errors.iter().map(|error| TokenError {
            location: [unread.extra.cut_off(&error.location), labels].concat().into(),
            reason: error.reason,
            detail: error.detail.clone(),
        }));
        errors.sort_by(|a, b| a.location.cmp(&b.location));
        Self { errors: errors.into(), version: unread.version, ..known }
    }

    /// The label of its cluster, as [`cluster_label`](super::cluster_label) writes it.
    #[must_use]
    pub fn cluster(&self) -> &str {
        // Not to be found within a value: quotes are escaped there.
        self.first_location().split_once("secret_key=\"").map_or("", |(cluster, _)| cluster)
    }

    fn first_location(&self) -> &str {
        let location = self.tokens.first().map(TokenObservation::location);
        location.or_else(|| self.errors.first().map(|error| &*error.location)).unwrap_or_default()
    }

    /// The same with other labels of its namespace, as [`LabelMap::render`](super::LabelMap::render) writes them.
    #[must_use]
    pub fn with_namespace_labels(&self, of_namespace: &str) -> Self {
        let moved = |location: &str| [self.extra.cut_off_namespace(location), of_namespace].concat();
        let error = |error: &TokenError| TokenError {
            location: moved(&error.location).into(),
            reason: error.reason,
            detail: error.detail.clone(),
        };
        Self {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            tokens: self.tokens.iter().map(|token| token.with_location(&moved(token.location()))).collect(),
            errors: self.errors.iter().map(error).collect(),
            kept: self.kept.iter().map(|token| token.at(&moved(&token.location))).collect(),
            version: self.version,
            extra: self.extra.with_namespace(of_namespace),
        }
    }

    /// A file that holds no Secret or token because of `errors`. Each reason counts once, with the detail named first.
    #[must_use]
    pub fn broken(path: &str, mut errors: Vec<(Reason, String)>, extra: &ExtraLabels) -> Self {
        errors.sort_by_key(|(reason, _)| *reason);
        errors.dedup_by_key(|(reason, _)| *reason);
        let error = |(reason, detail): (Reason, String)| TokenError {
            location: location("", path, "", extra).into(),
            reason,
            detail: detail.into(),
        };
        Self {
            namespace: "".into(),
            name: path.into(),
            tokens: [].into(),
            errors: errors.into_iter().map(error).collect(),
            kept: [].into(),
            version: 0,
            extra: extra.length(),
        }
    }
}

/// Why a token, or a whole Secret (then the key is empty), is not shown or not in full.
#[derive(PartialEq, Eq)]
pub struct TokenError {
    /// The location labels as text.
    pub location: Box<str>,
    /// The code behind the label `reason`.
    pub reason: Reason,
    /// The same for people. Holds no piece of a value.
    pub detail: Box<str>,
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}} {}: {}", self.location, self.reason.as_str(), self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::{ClaimPaths, ClaimsSet, NumericDate, TokenType, UnverifiedJwt};
    use crate::observation::{Bounds, Reading};
    use crate::time::UnixSeconds;

    #[test]
    fn other_labels_of_the_namespace_change_nothing_else() {
        let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 4 };
        let reading = Reading::new(ClaimPaths::default(), bounds);
        let observe = |of_namespace: &str| {
            let extra = ExtraLabels::new(r#",team="t""#.into(), of_namespace);
            let claims = ClaimsSet {
                subject: "s".into(),
                roles: vec!["r".into(), "q".into()],
                expires: NumericDate::At(UnixSeconds(7)),
                ..ClaimsSet::default()
            };
            let jwt = UnverifiedJwt { token_type: TokenType::Jws, algorithm: "RS256".into(), claims };
            let token = TokenObservation::new(&jwt, &location("ns", "s", "k", &extra), &reading, &mut String::new());
            let unread = SecretObservation::unread(("ns", "s"), &[], (Reason::Forbidden, "no"), &extra, 3);
            SecretObservation { tokens: [token].into(), ..unread }
        };
        let (one, other) = (observe(r#",env="production",zone="a""#), observe(r#",env="",zone="b""#));
        assert!(one != other && one.tokens[0].tail().ends_with(r#",team="t",env="production",zone="a",subject="s""#));
        assert_eq!(one.with_namespace_labels(r#",env="",zone="b""#), other);
        assert_eq!(other.with_namespace_labels(r#",env="production",zone="a""#), one);
    }
}
