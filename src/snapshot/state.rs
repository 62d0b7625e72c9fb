//! How a token stands at a moment.

use super::Row;
use crate::jwt::TokenType;
use crate::observation::Reason;
use crate::time::UnixSeconds;

/// How a token, or what is in the place of one, stands at a moment. In the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// `exp` is over.
    Expired,
    /// `exp` comes within the window.
    Expiring,
    /// `exp` comes later.
    Valid,
    /// There is no `exp`.
    Never,
    /// There is no date that could be read.
    Unreadable,
}

impl State {
    /// The code, as programs get it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::Valid => "valid",
            Self::Never => "never_expires",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Row<'_> {
    /// Its state at `now`; what expires within `window` seconds is expiring.
    #[must_use]
    pub fn state(&self, now: UnixSeconds, window: i64) -> State {
        let Some(token) = self.token() else { return State::Unreadable };
        match token.expires() {
            Some(at) if at <= now => State::Expired,
            Some(at) if at.since(now) <= window => State::Expiring,
            Some(_) => State::Valid,
            None if token.token_type == TokenType::Jwe || self.is_in_trouble() => State::Unreadable,
            None => State::Never,
        }
    }

    /// Whether something could not be read. A token with too many series is read in full.
    #[must_use]
    pub fn is_in_trouble(&self) -> bool {
        self.errors().any(|(reason, _)| reason != Reason::TooManySeries)
    }
}
