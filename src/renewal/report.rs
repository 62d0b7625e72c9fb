//! What the log says of a try.

use super::attempt::Outcome;
use super::claim::Claim;
use super::course::{Course, Next};
use super::reason::Reason;
use super::verdict::Found;
use crate::time::UnixSeconds;
use log::Level;

/// The line for the outcome of a try, `None` where there is no news. `course` as it stands after the try.
#[must_use]
pub(super) fn line(outcome: &Outcome, course: &Course, now: UnixSeconds) -> Option<(Level, String)> {
    Some(match outcome {
        Outcome::Fresh { asked: false, .. } | Outcome::Waiting => return None,
        Outcome::Fresh { expires, asked: true } => {
            (Level::Info, format!("somebody else has renewed it meanwhile; {}", ends(*expires)))
        }
        Outcome::Claimed(Claim { holder, until, failures: 0 }) => {
            (Level::Info, format!("{holder} is renewing it, and has time until {until}"))
        }
        // The holder says it itself.
        Outcome::Claimed(Claim { holder, until, .. }) => {
            (Level::Debug, format!("{holder} could not renew it; nobody tries before {until}"))
        }
        Outcome::BrokenOff => {
            (Level::Info, "broken off, since the program stops; whoever comes next may try at once".to_owned())
        }
        Outcome::Renewed { expires, late, doubt } => {
            let how = if *late { "renewed, with the token that an earlier try had got" } else { "renewed" };
            let next = match course.next() {
                Next::At(at) => format!(", and is renewed at {at}"),
                Next::Unknown | Next::Never => String::new(),
            };
            let (level, doubt) = match doubt {
                None => (Level::Info, String::new()),
                Some((cause, passes)) => {
                    let level = if *passes { Level::Warn } else { Level::Info };
                    (level, format!("; nobody could tell whether it gets in: {cause}"))
                }
            };
            (level, format!("{how}; it {}{next}{doubt}", ends(*expires)))
        }
        Outcome::Failed { failure, next, in_hand } => {
            let state = match course.found() {
                Some(Found::Token(dates)) if dates.expires.is_some_and(|at| at <= now) => {
                    "the old token has expired".to_owned()
                }
                Some(found @ Found::Token(_)) => format!("the old token {}", ends(found.expires())),
                Some(Found::Missing) => "there is no token".to_owned(),
                Some(Found::Unreadable(_)) => "what is there is no token".to_owned(),
                None => "what is there is not known".to_owned(),
            };
            let level = match course.found() {
                Some(Found::Token(dates)) if dates.expires.is_none_or(|at| at > now) => Level::Warn,
                _ => Level::Error,
            };
            let what = if failure.reason == Reason::LoginUndetermined {
                "the new token waits"
            } else if *in_hand {
                "the new token could not be written"
            } else {
                "not renewed"
            };
            let advice = match failure.reason {
                Reason::CredentialsRefused if course.failures() == 1 => {
                    " (the credentials are refused: this waits the longest, so that no account gets locked)"
                }
                _ => "",
            };
            let code = failure.reason.as_str();
            (level, format!("{what} ({code}): {failure}; tried again at {next}{advice}; {state}"))
        }
    })
}

fn ends(expires: Option<UnixSeconds>) -> String {
    expires.map_or_else(|| "never expires".to_owned(), |at| format!("expires at {at}"))
}
