//! `renew -dry-run`: what the renewals would do now, and what is in the way.

use super::run::leave_no_core;
use super::{EXIT_FAILURE, complain, logins, looking, print, sources};
use crate::config::Config;
use crate::renewal::{self, Clusters};
use crate::time::UnixSeconds;
use std::process::ExitCode;

/// Asks the API server, no endpoint; writes nothing. Something in the way: exit 1.
pub(super) fn dry_run(config: &Config) -> ExitCode {
    leave_no_core();
    if config.renewals.is_empty() {
        return print("No renewals are configured.\n");
    }
    let clusters = sources::check_contexts(config).and_then(|()| looking::own_metrics());
    let clusters =
        clusters.and_then(|own| Clusters::of(&config.renewals, |context| sources::cluster(config, context, &own)));
    let clusters = match clusters {
        Ok(clusters) => clusters,
        Err(reason) => {
            complain(&format!("jwt-exporter: {reason}\n"));
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    let logins = logins::of_renewals(config);
    let (mut text, mut all_well) = (String::new(), true);
    for renewal in &config.renewals {
        let one = renewal::dry_run(renewal, &clusters, &*logins, &|name| std::env::var(name).ok(), UnixSeconds::now());
        text.push_str(&one.text);
        all_well &= one.all_well;
    }
    text.push_str(if all_well { "Nothing is in the way.\n" } else { "Something is in the way: see above.\n" });
    let printed = print(&text);
    if all_well { printed } else { ExitCode::from(EXIT_FAILURE) }
}
