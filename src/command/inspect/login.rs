//! `inspect -login NAME/ROLE`: the checks that the server would make, in its order, and the first that fails.

use super::{read, report};
use crate::command::logins::judge_once;
use crate::command::looking::own_metrics;
use crate::command::{EXIT_FAILURE, EXIT_USAGE, complain, print, run};
use crate::config::Config;
use crate::jwt::without_decoration;
use crate::log::escape;
use crate::login::{Assessment, Check, Verdict};
use crate::metrics::Judged;
use crate::observation::{KeptToken, LoginName};
use crate::published::Published;
use crate::redacted::Redacted;
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

/// Explains what would become of a login with the token in a file.
pub(in crate::command) fn explain(config: &Config, name: &LoginName, file: Option<&str>) -> ExitCode {
    run::leave_no_core();
    let refuse = |reason: &str| {
        complain(&format!("jwt-exporter: {reason}\n"));
        ExitCode::from(EXIT_USAGE)
    };
    let file = file.unwrap_or("-");
    let Some(login) = config.logins.iter().find(|login| *login.name == *name.login) else {
        return refuse(&format!("the configuration has no login {}", name.login));
    };
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(reason) => return refuse(&format!("{}: {reason}", report::shown(file))),
    };
    let own = match own_metrics() {
        Ok(own) => own,
        Err(reason) => return refuse(&reason),
    };
    let text = Redacted::new(String::from_utf8_lossy(without_decoration(&bytes)).into_owned());
    let token = KeptToken { location: "".into(), logins: [name.clone()].into(), text: Some(Arc::new(text)) };
    let snapshot = Arc::new(Published::new(Snapshot::of_kept([token].into())));
    let config = Config { logins: vec![login.clone()], ..config.clone() };
    let judged = judge_once(&config, &own, snapshot).into_iter().next().map(|(_, _, judged)| judged);
    let Some(judged) = judged else { return refuse("the login could not be judged; -level debug says more") };
    let now = UnixSeconds::now();
    let printed = print(&words(name, &judged, now, &|_| true));
    if judged.at(now) == Verdict::Accepted { printed } else { ExitCode::from(EXIT_FAILURE) }
}

/// The whole answer. `is_shown`: whether it may be said what a check found in the token.
pub(in crate::command) fn words(
    name: &LoginName,
    judged: &Judged,
    now: UnixSeconds,
    is_shown: &dyn Fn(Check) -> bool,
) -> String {
    let place = format!("{}/{}", name.login, name.role);
    let mut text = match judged.at(now) {
        Verdict::Accepted => format!("{place} would let the token in.\n"),
        Verdict::Refused(reason) => {
            format!("{place} would not let the token in: {} ({}).\n", reason.words(), reason.code())
        }
        Verdict::Undetermined(reason) => {
            format!("Whether {place} would let the token in cannot be told: {} ({}).\n", reason.words(), reason.code())
        }
    };
    if let Judged::Assessed(assessment) = judged {
        write_checks(assessment, now, is_shown, &mut text);
    }
    text
}

fn write_checks(assessment: &Assessment, now: UnixSeconds, is_shown: &dyn Fn(Check) -> bool, out: &mut String) {
    if let Some(window) = assessment.window_at(now) {
        let bound = |at: Option<UnixSeconds>, none: &str| at.map_or_else(|| none.to_owned(), |at| at.to_string());
        let (from, until) = (bound(window.from, "ever"), bound(window.until, "for ever"));
        let _ = writeln!(out, "By the clock it is let in from {from} until {until}.");
    }
    for step in assessment.explain(now) {
        let mark = match step.verdict {
            Verdict::Accepted => "ok",
            Verdict::Refused(_) => "REFUSED",
            Verdict::Undetermined(_) => "unknown",
        };
        let has = if is_shown(step.check) { &*step.has } else { "something that the configuration hides" };
        let (wants, has) = (escape(&step.wants), escape(has));
        let _ = write!(out, "  {mark:8}{}: wants {wants}", step.check.words());
        let _ = if has.is_empty() { writeln!(out) } else { writeln!(out, "; has {has}") };
    }
}
