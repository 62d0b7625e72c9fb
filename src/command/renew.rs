//! `renew -dry-run`: what the renewals would do now, and what is in the way.

use super::BUILD;
use super::run::{connect, leave_no_core};
use crate::config::Config;
use crate::metrics::{BuildInfo, OwnMetrics};
use crate::renewal::dry_run;
use crate::time::UnixSeconds;

/// The whole answer.
pub(super) struct Report {
    pub(super) text: String,
    pub(super) all_well: bool,
}

/// Asks the API server, no endpoint; writes nothing.
///
/// # Errors
/// If there is no way into the cluster.
pub(super) fn report(config: &Config) -> Result<Report, String> {
    leave_no_core();
    if config.renewals.is_empty() {
        return Ok(Report { text: "No renewals are configured.\n".to_owned(), all_well: true });
    }
    let build = BuildInfo { version: BUILD.version, revision: BUILD.revision, rustc: BUILD.rustc };
    let own = OwnMetrics::new(build).map_err(|error| format!("the exporter's own metrics: {error}"))?;
    let cluster = if config.kubernetes { Some(connect(config, &own)?) } else { None };
    let mut report = Report { text: String::new(), all_well: true };
    for renewal in &config.renewals {
        let one = dry_run(renewal, cluster.as_ref(), &|name| std::env::var(name).ok(), UnixSeconds::now());
        report.text.push_str(&one.text);
        report.all_well &= one.all_well;
    }
    let end = if report.all_well { "Nothing is in the way." } else { "Something is in the way: see above." };
    report.text.push_str(end);
    report.text.push('\n');
    Ok(report)
}
