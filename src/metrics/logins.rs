//! The families of the logins: verdicts are told for the instant of the scrape.

use super::family::{
    Family, LOGIN_ACCEPTED, LOGIN_ACCEPTED_FROM, LOGIN_ACCEPTED_UNTIL, LOGIN_CONFIG_AGE, LOGIN_REFUSED,
    LOGIN_UNDETERMINED,
};
use super::text::Text;
use crate::login::{Assessment, Verdict, Window};
use crate::observation::{LoginName, labels, push_label};
use crate::time::UnixSeconds;
use std::borrow::Cow;
use std::io;
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
    /// Where in it the location begins.
    location_at: usize,
    judged: Judged,
}

/// What a login says to a token at an instant, for people.
#[derive(Clone, Debug)]
pub struct LoginAnswer<'a> {
    /// The login's name.
    pub login: Cow<'a, str>,
    /// The role's name; empty for the mount's own default role.
    pub role: Cow<'a, str>,
    /// Whether the token gets in.
    pub verdict: Verdict,
    /// From when until when the clock lets it in, as far as that explains the verdict.
    pub window: Option<Window>,
}

/// What is shown of all logins.
#[derive(Clone, Debug, Default)]
pub struct LoginBoard {
    /// In the order of the snapshot.
    cases: Vec<LoginCase>,
    /// Their numbers, by the text of their locations.
    by_location: Vec<usize>,
    /// Each login that has something to be read, and since when we know what we know of it.
    read: Vec<(String, UnixSeconds)>,
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

    /// From when until when, as [`Assessment::window_at`] tells it.
    #[must_use]
    pub fn window_at(&self, now: UnixSeconds) -> Option<Window> {
        match self {
            Self::Always(_) => None,
            Self::Assessed(assessment) => assessment.window_at(now),
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
        let location_at = role_and_location.len();
        role_and_location.push_str(location);
        Self { login: login.into(), role_and_location: role_and_location.into(), location_at, judged }
    }

    fn location(&self) -> &str {
        self.role_and_location.get(self.location_at..).unwrap_or_default()
    }

    fn answer(&self, now: UnixSeconds) -> LoginAnswer<'_> {
        let value = |text| labels(text).next().map(|(_, value)| value).unwrap_or_default();
        let (login, role) = (value(&*self.login), value(&*self.role_and_location));
        LoginAnswer { login, role, verdict: self.judged.at(now), window: self.judged.window_at(now) }
    }
}

impl LoginAnswer<'_> {
    /// `login/role`, as annotations write it; `login` for the mount's own default role.
    #[must_use]
    pub fn name(&self) -> String {
        [&*self.login, if self.role.is_empty() { "" } else { "/" }, &*self.role].concat()
    }

    /// When it gets in first, if that lies ahead.
    #[must_use]
    pub fn begins_after(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        self.window?.from.filter(|from| *from > now)
    }

    /// When the clock lets it in no more; `None` if there is no such time, or the clock does not decide.
    #[must_use]
    pub fn until(&self) -> Option<UnixSeconds> {
        self.window?.until
    }
}

impl LoginBoard {
    /// `cases` in the order of the snapshot; `read`: each login that has something to be read, and since when we know what we know
    /// of it.
    #[must_use]
    pub fn new(cases: Vec<LoginCase>, read: Vec<(String, UnixSeconds)>) -> Self {
        let mut by_location: Vec<usize> = (0..cases.len()).collect();
        // Stable: those of one location stay in their order.
        by_location.sort_by_key(|at| cases.get(*at).map(LoginCase::location));
        Self { cases, by_location, read }
    }

    /// Whether no token is held against anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// What logins say to the token at a location, given as the text of its labels, at an instant: by login and role.
    pub fn at(&self, location: &str, now: UnixSeconds) -> impl Iterator<Item = LoginAnswer<'_>> {
        self.cases_at(location).map(move |case| case.answer(now))
    }

    /// The same without names: what counts many asks for them by the row.
    pub fn verdicts_at(&self, location: &str, now: UnixSeconds) -> impl Iterator<Item = Verdict> {
        self.cases_at(location).map(move |case| case.judged.at(now))
    }

    fn cases_at(&self, location: &str) -> impl Iterator<Item = &LoginCase> {
        let place = |at: &usize| self.cases.get(*at).map_or("", LoginCase::location);
        let from = self.by_location.partition_point(|at| place(at) < location);
        let behind = self.by_location.get(from..).unwrap_or_default();
        let count = behind.iter().take_while(|at| place(at) == location).count();
        behind.get(..count).unwrap_or_default().iter().filter_map(|at| self.cases.get(*at))
    }
}

/// Writes the families at an instant. Without a sample nothing of a family appears.
pub(super) fn encode(board: &LoginBoard, now: UnixSeconds, text: &mut Text<'_>) -> io::Result<()> {
    family(LOGIN_ACCEPTED, board, text, &|case| match case.judged.at(now) {
        Verdict::Accepted => Some(("", 1)),
        Verdict::Refused(_) => Some(("", 0)),
        Verdict::Undetermined(_) => None,
    })?;
    family(LOGIN_REFUSED, board, text, &|case| match case.judged.at(now) {
        Verdict::Refused(reason) => Some((reason.code(), 1)),
        _ => None,
    })?;
    family(LOGIN_UNDETERMINED, board, text, &|case| match case.judged.at(now) {
        Verdict::Undetermined(reason) => Some((reason.code(), 1)),
        _ => None,
    })?;
    windows(board, Some(now), text)?;
    let mut ages = text.family(LOGIN_CONFIG_AGE);
    for (name, at) in &board.read {
        let mut login = String::new();
        push_label(&mut login, "login", name);
        ages.sample(&[&login], now.since(*at).max(0))?;
    }
    ages.end();
    Ok(())
}

/// Writes from when until when tokens are let in. Without `now`: only where that does not depend on the clock.
pub(super) fn windows(board: &LoginBoard, now: Option<UnixSeconds>, text: &mut Text<'_>) -> io::Result<()> {
    let window = |case: &LoginCase| match (&case.judged, now) {
        (judged, Some(now)) => judged.window_at(now),
        (Judged::Always(_), None) => None,
        (Judged::Assessed(assessment), None) => assessment.window(),
    };
    family(LOGIN_ACCEPTED_FROM, board, text, &|case| Some(("", window(case)?.from?.0)))?;
    family(LOGIN_ACCEPTED_UNTIL, board, text, &|case| Some(("", window(case)?.until?.0)))
}

/// One sample for each case that has a value, with the label `reason` where there is one.
fn family(
    family: Family,
    board: &LoginBoard,
    text: &mut Text<'_>,
    value: &dyn Fn(&LoginCase) -> Option<(&'static str, i64)>,
) -> io::Result<()> {
    let mut samples = text.family(family);
    for case in &board.cases {
        let Some((reason, value)) = value(case) else { continue };
        let (begin, end) = if reason.is_empty() { ("", ",") } else { (",reason=\"", "\",") };
        samples.sample(&[&case.login, begin, reason, end, &case.role_and_location], value)?;
    }
    samples.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::{Refusal, Unknown};
    use crate::metrics::text::tests::written;

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
        let board = LoginBoard::new(cases, vec![("l".into(), UnixSeconds(90))]);
        let text = written(|text| encode(&board, UnixSeconds(100), text));
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
        assert_eq!(written(|text| encode(&LoginBoard::default(), UnixSeconds(100), text)), "");
    }

    #[test]
    fn the_cases_of_a_location_are_found_whatever_the_order() {
        let case = |location, role: &str| {
            let name = LoginName { login: "l\"".into(), role: role.into() };
            LoginCase::new(location, &name, Judged::Always(Verdict::Accepted))
        };
        let board = LoginBoard::new(vec![case("k=2", "a"), case("k=1", "c"), case("k=1", "b"), case("k=", "")], vec![]);
        let names = |location| board.at(location, UnixSeconds(0)).map(|answer| answer.name()).collect::<Vec<_>>();
        assert_eq!(names("k=1"), ["l\"/c", "l\"/b"]);
        assert_eq!(names("k=2"), ["l\"/a"]);
        assert_eq!(names("k="), ["l\""]);
        for location in ["", "k", "k=0", "k=11", "k=3"] {
            assert_eq!(names(location), [""; 0], "{location}");
        }
    }
}
