//! What the page tells apart: the states of tokens, and what has an error.

use crate::snapshot::{Row, State};
use crate::time::UnixSeconds;

/// So many seconds before its end a token expires soon.
pub(super) const SOON: i64 = 7 * 86_400;

/// Every row is of one of the first six kinds; those that a login would refuse, and those with an error, are of the last two besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Expired,
    Expiring,
    NotYetValid,
    Valid,
    Never,
    Unreadable,
    Refused,
    Error,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Expired,
        Self::Expiring,
        Self::NotYetValid,
        Self::Valid,
        Self::Never,
        Self::Unreadable,
        Self::Refused,
        Self::Error,
    ];

    /// That of a row, by its dates.
    pub(super) fn of(row: &Row<'_>, now: UnixSeconds) -> Self {
        let begins_later = row.token().and_then(|token| token.not_before()).is_some_and(|begins| begins > now);
        match row.state(now, SOON) {
            State::Expired => Self::Expired,
            State::Unreadable => Self::Unreadable,
            _ if begins_later => Self::NotYetValid,
            State::Expiring => Self::Expiring,
            State::Valid => Self::Valid,
            State::Never => Self::Never,
        }
    }

    /// In the address, and as a class.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::NotYetValid => "not_yet_valid",
            Self::Valid => "valid",
            Self::Never => "never_expires",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
            Self::Error => "error",
        }
    }

    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Expired => "Expired",
            Self::Expiring => "Expires soon",
            Self::NotYetValid => "Not yet valid",
            Self::Valid => "Valid",
            Self::Never => "Never expires",
            Self::Unreadable => "Unreadable",
            Self::Refused => "Would be refused",
            Self::Error => "With an error",
        }
    }
}
