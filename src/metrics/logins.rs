//! The families of the logins: verdicts are told for the instant of the scrape.

use super::family::{
    Family, LOGIN_ACCEPTED, LOGIN_ACCEPTED_FROM, LOGIN_ACCEPTED_UNTIL, LOGIN_CONFIG_AGE, LOGIN_REFUSED,
    LOGIN_UNDETERMINED,
};
use crate::login::{Assessment, Verdict};
use crate::observation::{LoginName, push_label};
use crate::time::UnixSeconds;
use std::sync::Arc;

/// What is known of one token and one role.
#[derive(Clone, Debug)]
pub enum Judged {
    /// The same at any time: there is no such login, or its mount is not known.
    Always(Verdict),
    /// Worked out.
    Assessed(Arc<Assessment>),
}

/// What is shown of one token and one role.
#[derive(Clone, Debug)]
pub struct LoginCase {
    /// `login="…"`
    login: Box<str>,
    /// `role="…"` and the location labels.
    role_and_location: Box<str>,
    judged: Judged,
}

/// What is shown of all logins.
#[derive(Clone, Debug, Default)]
pub struct LoginBoard {
    /// In the order of the snapshot.
    pub cases: Vec<LoginCase>,
    /// Each login that has something to be read, and since when we know what we know of it.
    pub read: Vec<(String, UnixSeconds)>,
}

impl Judged {
    /// The verdict of an instant.
    #[must_use]
    pub fn at(&self, now: UnixSeconds) -> Verdict {
        match self {
            Self::Always(verdict) => *verdict,
            Self::Assessed(assessment) => assessment.at(now),
        }
    }
}

impl LoginCase {
    /// `location` is the text of the location labels.
    #[must_use]
    pub fn new(location: &str, name: &LoginName, judged: Judged) -> Self {
        let (mut login, mut role_and_location) = (String::new(), String::new());
        push_label(&mut login, "login", &name.login);
        push_label(&mut role_and_location, "role", &name.role);
        role_and_location.push(',');
        role_and_location.push_str(location);
        Self { login: login.into(), role_and_location: role_and_location.into(), judged }
    }
}

/// Appends the families at an instant. Without a sample nothing of a family appears.
pub(super) fn encode(board: &LoginBoard, now: UnixSeconds, out: &mut String) {
    let accepted = |case: &LoginCase| match case.judged.at(now) {
        Verdict::Accepted => Some(("", 1)),
        Verdict::Refused(_) => Some(("", 0)),
        Verdict::Undetermined(_) => None,
    };
    family(LOGIN_ACCEPTED, board, accepted, out);
    let refused = |case: &LoginCase| match case.judged.at(now) {
        Verdict::Refused(reason) => Some((reason.code(), 1)),
        _ => None,
    };
    family(LOGIN_REFUSED, board, refused, out);
    let undetermined = |case: &LoginCase| match case.judged.at(now) {
        Verdict::Undetermined(reason) => Some((reason.code(), 1)),
        _ => None,
    };
    family(LOGIN_UNDETERMINED, board, undetermined, out);
    windows(board, Some(now), out);
    let mut begun = false;
    for (name, at) in &board.read {
        let mut login = String::new();
        push_label(&mut login, "login", name);
        begin(LOGIN_CONFIG_AGE, &mut begun, out);
        sample(LOGIN_CONFIG_AGE, &[&login], now.since(*at).max(0), out);
    }
}

/// Appends from when until when tokens are let in. Without `now`: only where that does not depend on the clock.
pub(super) fn windows(board: &LoginBoard, now: Option<UnixSeconds>, out: &mut String) {
    let window = |case: &LoginCase| match (&case.judged, now) {
        (Judged::Always(_), _) => None,
        (Judged::Assessed(assessment), Some(now)) => assessment.window_at(now),
        (Judged::Assessed(assessment), None) => assessment.window(),
    };
    family(LOGIN_ACCEPTED_FROM, board, |case| Some(("", window(case)?.from?.0)), out);
    family(LOGIN_ACCEPTED_UNTIL, board, |case| Some(("", window(case)?.until?.0)), out);
}

/// One sample for each case that has a value, with the label `reason` where there is one.
fn family(
    family: Family,
    board: &LoginBoard,
    value: impl Fn(&LoginCase) -> Option<(&'static str, i64)>,
    out: &mut String,
) {
    let mut begun = false;
    for case in &board.cases {
        let Some((reason, value)) = value(case) else { continue };
        begin(family, &mut begun, out);
        let reason: &[&str] = if reason.is_empty() { &[] } else { &[",reason=\"", reason, "\""] };
        let labels = [&[&*case.login], reason, &[",", &*case.role_and_location]].concat();
        sample(family, &labels, value, out);
    }
}

fn begin(family: Family, begun: &mut bool, out: &mut String) {
    if !std::mem::replace(begun, true) {
        for part in
            ["# HELP ", family.name, " ", family.help, "\n# TYPE ", family.name, " ", family.kind.as_str(), "\n"]
        {
            out.push_str(part);
        }
    }
}

fn sample(family: Family, labels: &[&str], value: i64, out: &mut String) {
    out.push_str(family.name);
    out.push('{');
    out.extend(labels.iter().copied());
    out.push_str("} ");
    out.push_str(itoa::Buffer::new().format(value));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::{Refusal, Unknown};

    #[test]
    fn what_has_no_value_has_no_sample() {
        let case = |role, verdict| {
            let name = LoginName { login: "l".into(), role };
            LoginCase::new("secret_key=\"k\"", &name, Judged::Always(verdict))
        };
        let cases = vec![
            case("a".into(), Verdict::Accepted),
            case("b\"".into(), Verdict::Refused(Refusal::Expired)),
            case("c".into(), Verdict::Undetermined(Unknown::MountUnreachable)),
        ];
        let board = LoginBoard { cases, read: vec![("l".into(), UnixSeconds(90))] };
        let mut text = String::new();
        encode(&board, UnixSeconds(100), &mut text);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "jwt_exporter_login_accepted{login=\"l\",role=\"a\",secret_key=\"k\"} 1",
                "jwt_exporter_login_accepted{login=\"l\",role=\"b\\\"\",secret_key=\"k\"} 0",
                "jwt_exporter_login_refused{login=\"l\",reason=\"expired\",role=\"b\\\"\",secret_key=\"k\"} 1",
                "jwt_exporter_login_undetermined{login=\"l\",reason=\"mount_unreachable\",role=\"c\",secret_key=\"k\"} 1",
                "jwt_exporter_login_config_age_seconds{login=\"l\"} 10",
            ]
        );
        text.clear();
        encode(&LoginBoard::default(), UnixSeconds(100), &mut text);
        assert_eq!(text, "");
    }
}
