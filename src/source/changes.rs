//! Tells the log what a poll changed: an error once when it appears, once when it is gone, and not at every poll.

use super::Held;
use crate::observation::{SecretObservation, TokenError, label_value};
use std::cmp::Ordering;
use std::sync::Arc;

/// Compares what a source held with what it holds; both are sorted by namespace and name.
pub fn log_changes(source: &str, before: &Held, now: &Held) {
    each_change(before, now, |change, error| {
        let (reason, location) = (error.reason.as_str(), &*error.location);
        let (level, end) = match change {
            Change::Appeared => (log::Level::Warn, format!("{reason}: {}", error.detail)),
            Change::Gone => (log::Level::Info, format!("no more {reason}")),
        };
        log::log!(level, source, reason,
            secret_cluster = label_value(location, "secret_cluster"),
            secret_namespace = label_value(location, "secret_namespace"),
            secret_name = label_value(location, "secret_name"),
            secret_key = label_value(location, "secret_key");
            "{source}: {{{location}}} {end}");
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Appeared,
    Gone,
}

fn each_change(before: &Held, now: &Held, mut tell: impl FnMut(Change, &TokenError)) {
    let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
    loop {
        let order = match (before.peek(), now.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => place(old).cmp(&place(new)),
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { now.next() } else { None };
        for error in errors_not_in(new, old) {
            tell(Change::Appeared, error);
        }
        for error in errors_not_in(old, new) {
            tell(Change::Gone, error);
        }
    }
}

/// The errors of one state of a Secret that another does not have. Labels that the configuration adds may differ.
fn errors_not_in<'a>(
    one: Option<&'a Arc<SecretObservation>>,
    other: Option<&'a Arc<SecretObservation>>,
) -> impl Iterator<Item = &'a TokenError> {
    let is_in_other = move |secret: &SecretObservation, error: &TokenError| {
        let place = secret.extra.cut_off(&error.location);
        other.is_some_and(|other| {
            let same =
                |known: &TokenError| known.reason == error.reason && other.extra.cut_off(&known.location) == place;
            other.errors.iter().any(same)
        })
    };
    one.into_iter().flat_map(move |secret| secret.errors.iter().filter(move |error| !is_in_other(secret, error)))
}

fn place(secret: &SecretObservation) -> (&str, &str) {
    (&secret.namespace, &secret.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{ExtraLength, Reason};

    fn held(secrets: &[(&str, &[(&str, Reason)])]) -> Held {
        let error = |(location, reason): &(&str, Reason)| TokenError {
            location: (*location).into(),
            reason: *reason,
            detail: "".into(),
        };
        let secret = |(name, errors): &(&str, &[(&str, Reason)])| {
            Arc::new(SecretObservation {
                namespace: "".into(),
                name: (*name).into(),
                tokens: [].into(),
                errors: errors.iter().map(error).collect(),
                kept: [].into(),
                version: 0,
                extra: ExtraLength::default(),
            })
        };
        secrets.iter().map(secret).collect()
    }

    #[test]
    fn an_error_is_told_when_it_comes_and_when_it_goes() {
        use Reason::{InvalidClaims, NoToken, NotAJwt};
        let before =
            held(&[("a", &[("a", NotAJwt)]), ("b", &[("b", NoToken), ("b", InvalidClaims)]), ("d", &[("d", NoToken)])]);
        let now =
            held(&[("b", &[("b", NoToken), ("b/x", NoToken)]), ("c", &[("c", NotAJwt)]), ("d", &[("d", NoToken)])]);
        let mut told = Vec::new();
        each_change(&before, &now, |change, error| told.push((change, error.location.to_string(), error.reason)));
        assert_eq!(
            told,
            [
                (Change::Gone, "a".into(), NotAJwt),
                (Change::Appeared, "b/x".into(), NoToken),
                (Change::Gone, "b".into(), InvalidClaims),
                (Change::Appeared, "c".into(), NotAJwt),
            ]
        );
        told.clear();
        each_change(&now, &now, |change, error| told.push((change, error.location.to_string(), error.reason)));
        assert_eq!(told, []);
    }
}
