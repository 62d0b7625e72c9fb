//! Which of the logins that they are meant for would refuse the tokens that were found, and why.

use super::Explanation;
use crate::command::inspect::login::words;
use crate::command::{logins, looking};
use crate::config::Config;
use crate::login::{Check, Verdict};
use crate::metrics::Judged;
use crate::observation::LoginName;
use crate::published::Published;
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use std::sync::Arc;

/// Judges all of them in one look at the mounts that they need.
pub(super) fn explain(config: &Config, now: UnixSeconds, told: &mut Explanation) {
    let kept = std::mem::take(&mut told.kept);
    if kept.is_empty() {
        return;
    }
    let is_named = |name: &str| kept.iter().flat_map(|token| token.logins.iter()).any(|named| *named.login == *name);
    let mut asked = config.clone();
    asked.logins.retain(|login| is_named(&login.name));
    let judged = looking::own_metrics()
        .map(|own| logins::judge_once(&asked, &own, Arc::new(Published::new(Snapshot::of_kept(kept)))));
    let judged = match judged {
        Ok(judged) => judged,
        Err(reason) => return told.say(format!("  the logins cannot be judged: {reason}")),
    };
    for (place, name, judged) in judged {
        tell(config, (&place, &name), &judged, now, told);
    }
}

fn tell(config: &Config, (place, name): (&str, &LoginName), judged: &Judged, now: UnixSeconds, told: &mut Explanation) {
    if !config.logins.iter().any(|login| *login.name == *name.login) {
        let (login, role) = (&name.login, &name.role);
        return told.say(format!("  {place}: {login}/{role}: the configuration has no login {login} (role_missing)"));
    }
    // Of one that gets in the checks say nothing new: the answer and its window.
    let most = if judged.at(now) == Verdict::Accepted { 2 } else { usize::MAX };
    let text = words(name, judged, now, &|check| is_shown(config, check));
    for (number, line) in text.lines().take(most).enumerate() {
        told.say(if number == 0 { format!("  {place}: {line}") } else { format!("    {line}") });
    }
}

/// Whether it may be said what this check found in a token: not if it is what `drop_labels` or `hash_labels` hide. Some checks
/// look at any claim.
fn is_shown(config: &Config, check: Check) -> bool {
    let hidden = || config.dropped.iter().chain(&config.hashed);
    let is_plain = |label: &str| !hidden().any(|name| name == label);
    match check {
        Check::Role
        | Check::Token
        | Check::SourceAddress
        | Check::Keys
        | Check::Syntax
        | Check::Time
        | Check::Policies => true,
        Check::Algorithm | Check::Signature => is_plain("algorithm"),
        Check::Issuer => is_plain("issuer"),
        Check::Audience | Check::UnboundAudience => is_plain("audience"),
        Check::Subject | Check::ServiceAccountName | Check::Namespace | Check::TokenReview => is_plain("subject"),
        Check::Claims | Check::UserClaim | Check::ClaimMappings | Check::GroupsClaim | Check::BoundClaims => {
            hidden().next().is_none()
        }
    }
}
