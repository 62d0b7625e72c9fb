//! Would this token still get in? The whole program against real and scripted servers.

mod cluster;
mod differential;
pub mod key;
mod key_sets;
mod live;
mod offline;

use crate::support::exporter::Exporter;
use crate::support::exposition::find;

/// The verdict on a Secret's token: `accepted`, or the reason. `None` if there is none yet.
fn verdict(metrics: &str, secret: &str, login: &str, role: &str) -> Option<String> {
    let labels = [("secret_name", secret), ("login", login), ("role", role)];
    let one = |family: &str| {
        let found = find(metrics, family, &labels);
        assert!(found.len() <= 1, "{family}: {found:?}");
        found.into_iter().next()
    };
    let reason = |family: &str| one(family).map(|sample| sample.label("reason").to_owned());
    let accepted = one("jwt_exporter_login_accepted").map(|sample| sample.value);
    let (refused, undetermined) = (reason("jwt_exporter_login_refused"), reason("jwt_exporter_login_undetermined"));
    match (accepted, refused, undetermined) {
        (None, None, None) => None,
        (Some(1.0), None, None) => Some("accepted".to_owned()),
        (Some(0.0), Some(reason), None) => Some(reason),
        (None, None, Some(reason)) => Some(reason),
        other => panic!("{secret} {login} {role}: {other:?}\n{metrics}"),
    }
}

fn wait_for_verdict(exporter: &Exporter, (secret, login, role): (&str, &str, &str), wanted: &str) -> String {
    exporter.wait_for_metrics(&format!("{secret} with {login}/{role}: {wanted}"), |metrics| {
        verdict(metrics, secret, login, role).as_deref() == Some(wanted)
    })
}

/// A Secret's manifest with the annotation that names its logins.
fn manifest(name: &str, logins: &str, token: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  annotations: {{jwt-exporter/login: \"{logins}\"}}\n\
         stringData: {{token: \"{token}\"}}\n"
    )
}
