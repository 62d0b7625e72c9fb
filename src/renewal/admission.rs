//! Whether a new token would get in where it is meant to, by the logins that its place names.

use crate::login::{Refusal, Unknown, Verdict};
use crate::time::UnixSeconds;
use crate::vault::Foreseen;

/// Clocks differ: a token that gets in from so many seconds on gets in.
const SKEW: i64 = 60;

/// What the logins say of a new token. No piece of the token is in the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// All let it in, or none is named.
    Granted,
    /// One does not.
    Refused(String),
    /// Nobody can tell.
    Unknown {
        /// Why.
        cause: String,
        /// Somebody may be able to tell a little later.
        passes: bool,
    },
}

impl Admission {
    /// Nobody answered.
    pub(super) fn no_answer() -> Self {
        Self::Unknown { cause: "the logins could not be worked out in time".to_owned(), passes: true }
    }

    /// The worst of what the logins say: one that refuses counts before one of which nobody can tell.
    pub(super) fn of(foreseen: &[Foreseen], now: UnixSeconds) -> Self {
        let mut sum = Self::Granted;
        for one in foreseen {
            sum = match (sum, Self::of_one(one, now)) {
                (refused @ Self::Refused(_), _) | (_, refused @ Self::Refused(_)) => return refused,
                (Self::Granted, other) => other,
                // What passes may become a refusal.
                (Self::Unknown { passes: false, .. }, other @ Self::Unknown { passes: true, .. }) => other,
                (sum, _) => sum,
            };
        }
        sum
    }

    fn of_one(one: &Foreseen, now: UnixSeconds) -> Self {
        let place = format!("{}/{}", one.name.login, one.name.role);
        let Some(judged) = &one.judged else {
            return Self::Unknown { cause: format!("{place}: `logins` has none of that name"), passes: false };
        };
        let mut verdict = judged.at(now);
        if let Verdict::Refused(Refusal::NotYetValid | Refusal::IssuedInFuture) = verdict {
            // The server's clock is not ours.
            verdict = (1..=SKEW)
                .map(|later| judged.at(now.plus(later)))
                .find(|later| !matches!(later, Verdict::Refused(_)))
                .unwrap_or(verdict);
        }
        match verdict {
            Verdict::Accepted => Self::Granted,
            Verdict::Refused(refusal) => Self::Refused(format!("{place}: {refusal} ({})", refusal.code())),
            Verdict::Undetermined(unknown) => {
                let passes = match unknown {
                    Unknown::KeysUnavailable | Unknown::MountUnreachable => true,
                    Unknown::ReviewUnavailable | Unknown::NamespaceUnavailable => one.asks_cluster,
                    Unknown::SourceAddress | Unknown::AlgorithmUnsupported | Unknown::PolicyTemplate => false,
                };
                Self::Unknown { cause: format!("{place}: {unknown} ({})", unknown.code()), passes }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Judged;
    use crate::observation::LoginName;

    fn foreseen(name: &str, verdict: Option<Verdict>, asks_cluster: bool) -> Foreseen {
        let judged = verdict.map(Judged::Always);
        Foreseen { name: LoginName::parse(name).unwrap(), judged, asks_cluster }
    }

    fn said(all: &[Foreseen]) -> (&'static str, String) {
        match Admission::of(all, UnixSeconds(0)) {
            Admission::Granted => ("granted", String::new()),
            Admission::Refused(cause) => ("refused", cause),
            Admission::Unknown { cause, passes: true } => ("passes", cause),
            Admission::Unknown { cause, passes: false } => ("unknown", cause),
        }
    }

    #[test]
    fn a_refusal_counts_before_doubt_and_doubt_before_consent() {
        let yes = foreseen("a/yes", Some(Verdict::Accepted), false);
        let no = foreseen("b/no", Some(Verdict::Refused(Refusal::AudienceMismatch)), false);
        let away = foreseen("c/away", Some(Verdict::Undetermined(Unknown::MountUnreachable)), false);
        let never = foreseen("d/never", Some(Verdict::Undetermined(Unknown::SourceAddress)), true);
        let strange = foreseen("e/strange", None, false);
        assert_eq!(said(&[]).0, "granted");
        assert_eq!(said(std::slice::from_ref(&yes)).0, "granted");
        assert_eq!(said(&[yes.clone(), away.clone(), no.clone(), never.clone()]).0, "refused");
        assert_eq!(said(&[no]).1, "b/no: no audience of the token is one of the role's (audience_mismatch)");
        assert_eq!(said(&[yes.clone(), never.clone(), away]).0, "passes");
        assert_eq!(said(&[yes, never]).0, "unknown");
        assert_eq!(said(&[strange]), ("unknown", "e/strange: `logins` has none of that name".to_owned()));
    }

    #[test]
    fn an_answer_that_is_never_asked_for_does_not_pass() {
        for unknown in [Unknown::ReviewUnavailable, Unknown::NamespaceUnavailable] {
            let verdict = Some(Verdict::Undetermined(unknown));
            assert_eq!(said(&[foreseen("a/r", verdict, true)]).0, "passes");
            assert_eq!(said(&[foreseen("a/r", verdict, false)]).0, "unknown");
        }
    }
}
