//! The families of the renewals.

use super::family::{Family, RENEWAL_ERROR, RENEWAL_INSECURE, RENEWAL_LAST_SUCCESS, RENEWAL_NEXT, RENEWALS};
use super::text::Text;
use crate::time::UnixSeconds;
use std::io;

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

/// Writes the families, in the order of the configuration. Without a sample nothing of a family appears.
pub(super) fn encode(renewals: &[RenewalStatus], text: &mut Text<'_>) -> io::Result<()> {
    let mut counts = text.family(RENEWALS);
    for one in renewals {
        for (result, count) in [("failure", one.failures), ("success", one.successes)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            counts.sample(&["result=\"", result, "\",", &one.location], count)?;
        }
    }
    counts.end();
    family(RENEWAL_LAST_SUCCESS, renewals, text, &|one| Some(one.last_success?.0))?;
    family(RENEWAL_NEXT, renewals, text, &|one| Some(one.next?.0))?;
    let mut errors = text.family(RENEWAL_ERROR);
    for one in renewals {
        if let Some(reason) = one.error {
            errors.sample(&["reason=\"", reason, "\",", &one.location], 1)?;
        }
    }
    errors.end();
    family(RENEWAL_INSECURE, renewals, text, &|one| one.insecure.then_some(1))
}

/// One sample for each renewal that has a value.
fn family(
    family: Family,
    renewals: &[RenewalStatus],
    text: &mut Text<'_>,
    value: &dyn Fn(&RenewalStatus) -> Option<i64>,
) -> io::Result<()> {
    let mut samples = text.family(family);
    for one in renewals {
        if let Some(value) = value(one) {
            samples.sample(&[&one.location], value)?;
        }
    }
    samples.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::text::tests::written;

    #[test]
    fn what_is_not_known_has_no_sample() {
        assert_eq!(written(|text| encode(&[], text)), "");
        let fresh = RenewalStatus::new("n/s".into(), "secret_key=\"k\"".into(), false);
        let text = written(|text| encode(std::slice::from_ref(&fresh), text));
        assert!(text.ends_with(
            "jwt_exporter_renewals_total{result=\"failure\",secret_key=\"k\"} 0\n\
             jwt_exporter_renewals_total{result=\"success\",secret_key=\"k\"} 0\n"
        ));
        let at = Some(UnixSeconds(7));
        let all = RenewalStatus { last_success: at, next: at, error: Some("tls"), insecure: true, ..fresh };
        let text = written(|text| encode(&[all], text));
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
