//! The families of the renewals.

use super::family::{Family, RENEWAL_ERROR, RENEWAL_INSECURE, RENEWAL_LAST_SUCCESS, RENEWAL_NEXT, RENEWALS};
use crate::time::UnixSeconds;
use std::fmt::Write as _;

/// What is shown of one renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalStatus {
    /// Where its token is, for people.
    pub target: String,
    /// The location labels.
    pub location: String,
    /// Tokens that were written.
    pub successes: u64,
    /// Tries that failed.
    pub failures: u64,
    /// When a token was written last.
    pub last_success: Option<UnixSeconds>,
    /// When the next try is.
    pub next: Option<UnixSeconds>,
    /// The reason of the last failure, until it is mended.
    pub error: Option<&'static str>,
    /// The same in words.
    pub failure: Option<String>,
    /// The credentials go out unprotected.
    pub insecure: bool,
}

impl RenewalStatus {
    /// One that was not tried yet.
    #[must_use]
    pub fn new(target: String, location: String, insecure: bool) -> Self {
        let (successes, failures) = (0, 0);
        Self {
            target,
            location,
            successes,
            failures,
            last_success: None,
            next: None,
            error: None,
            failure: None,
            insecure,
        }
    }
}

/// Appends the families, in the order of the configuration. Without a sample nothing of a family appears.
pub(super) fn encode(renewals: &[RenewalStatus], out: &mut String) {
    let counts = renewals.iter().flat_map(|one| [(one, "failure", one.failures), (one, "success", one.successes)]);
    let counts =
        counts.map(|(one, result, count)| (format!("result=\"{result}\",{}", one.location), count.to_string()));
    family(RENEWALS, counts, out);
    let dates = |date: fn(&RenewalStatus) -> Option<UnixSeconds>| {
        renewals.iter().filter_map(move |one| date(one).map(|at| (one.location.clone(), at.0.to_string())))
    };
    family(RENEWAL_LAST_SUCCESS, dates(|one| one.last_success), out);
    family(RENEWAL_NEXT, dates(|one| one.next), out);
    let error = |one: &RenewalStatus| Some((format!("reason=\"{}\",{}", one.error?, one.location), "1".to_owned()));
    family(RENEWAL_ERROR, renewals.iter().filter_map(error), out);
    let insecure = renewals.iter().filter(|one| one.insecure);
    family(RENEWAL_INSECURE, insecure.map(|one| (one.location.clone(), "1".to_owned())), out);
}

fn family(family: Family, samples: impl Iterator<Item = (String, String)>, out: &mut String) {
    let mut begun = false;
    for (labels, value) in samples {
        if !begun {
            begun = true;
            let Family { name, help, kind } = family;
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
        }
        let _ = writeln!(out, "{}{{{labels}}} {value}", family.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_has_no_sample() {
        let mut text = String::new();
        encode(&[], &mut text);
        assert_eq!(text, "");
        let fresh = RenewalStatus::new("n/s".into(), "secret_key=\"k\"".into(), false);
        encode(std::slice::from_ref(&fresh), &mut text);
        assert!(text.ends_with(
            "jwt_exporter_renewals_total{result=\"failure\",secret_key=\"k\"} 0\n\
             jwt_exporter_renewals_total{result=\"success\",secret_key=\"k\"} 0\n"
        ));
        text.clear();
        let at = Some(UnixSeconds(7));
        encode(&[RenewalStatus { last_success: at, next: at, error: Some("tls"), insecure: true, ..fresh }], &mut text);
        for line in [
            "jwt_exporter_renewal_last_success_timestamp_seconds{secret_key=\"k\"} 7\n",
            "jwt_exporter_renewal_next_timestamp_seconds{secret_key=\"k\"} 7\n",
            "jwt_exporter_renewal_error{reason=\"tls\",secret_key=\"k\"} 1\n",
            "jwt_exporter_renewal_insecure{secret_key=\"k\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
