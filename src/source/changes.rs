//! Tells the log what a poll changed: an error once when it appears, once when it is gone, and not at every poll.

use super::Held;
use crate::observation::{SecretObservation, TokenError, label_value};
use std::cmp::Ordering;

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
        let old: &[TokenError] = old.map_or(&[], |secret| &secret.errors);
        let new: &[TokenError] = new.map_or(&[], |secret| &secret.errors);
        let is_in = |errors: &[TokenError], error: &TokenError| {
            errors.iter().any(|other| other.reason == error.reason && other.location == error.location)
        };
        new.iter().filter(|error| !is_in(old, error)).for_each(|error| tell(Change::Appeared, error));
        old.iter().filter(|error| !is_in(new, error)).for_each(|error| tell(Change::Gone, error));
    }
}

fn place(secret: &SecretObservation) -> (&str, &str) {
    (&secret.namespace, &secret.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Reason;
    use std::sync::Arc;

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
