//! Why a token or Secret is not shown, or not in full: the closed list behind the label `reason`.

use crate::jwt::DecodeError;

/// An interface: dashboards and alerts select on these codes. They are added to, never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A Secret or file that the configuration names is not there.
    NotFound,
    /// The annotation or the configuration names a data key that the Secret does not have.
    MissingKey,
    /// No data key holds anything that looks like a token.
    NoToken,
    /// The value is not a compact serialization.
    NotAJwt,
    /// The JOSE header is not base64url of a JSON object with a text `alg`.
    InvalidHeader,
    /// The claims set is not base64url of a JSON object, or a date in it is none.
    InvalidClaims,
    /// A document that should hold tokens cannot be parsed.
    InvalidDocument,
    /// A JWE: nobody but the recipient can read its claims.
    Encrypted,
    /// The value is larger than what is looked at.
    TooLarge,
    /// The Secret holds more tokens than `max_tokens_per_secret`.
    TooManyTokens,
    /// More series than `max_series_per_token` or `max_series`.
    TooManySeries,
    /// A file cannot be read, or the API server answers with an error for a Secret that the configuration names.
    Unreadable,
    /// The API server does not let us read it.
    Forbidden,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::NotFound,
        Self::MissingKey,
        Self::NoToken,
        Self::NotAJwt,
        Self::InvalidHeader,
        Self::InvalidClaims,
        Self::InvalidDocument,
        Self::Encrypted,
        Self::TooLarge,
        Self::TooManyTokens,
        Self::TooManySeries,
        Self::Unreadable,
        Self::Forbidden,
    ];

    /// The code, as the label has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MissingKey => "missing_key",
            Self::NoToken => "no_token",
            Self::NotAJwt => "not_a_jwt",
            Self::InvalidHeader => "invalid_header",
            Self::InvalidClaims => "invalid_claims",
            Self::InvalidDocument => "invalid_document",
            Self::Encrypted => "encrypted",
            Self::TooLarge => "too_large",
            Self::TooManyTokens => "too_many_tokens",
            Self::TooManySeries => "too_many_series",
            Self::Unreadable => "unreadable",
            Self::Forbidden => "forbidden",
        }
    }
}

impl Reason {
    /// What it means, as half a sentence.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::NotFound => "named in the configuration, and not there",
            Self::MissingKey => "a data key that was named, and that the Secret does not have",
            Self::NoToken => "there should be a token, and nothing looks like one",
            Self::NotAJwt => "the named value is no token in compact serialization",
            Self::InvalidHeader => "the first part of the token is no JSON object with a text `alg`",
            Self::InvalidClaims => "the second part of the token is no JSON object, or a date in it is none",
            Self::InvalidDocument => "a JSON document, kubeconfig or manifest that cannot be parsed",
            Self::Encrypted => "an encrypted token (JWE): its dates are for its recipient alone",
            Self::TooLarge => "larger than what is looked into",
            Self::TooManyTokens => "more tokens in one Secret than `max_tokens_per_secret`",
            Self::TooManySeries => "more series than `max_series_per_token` allows, and so joined into one",
            Self::Unreadable => "a file or Secret that is there and cannot be read",
            Self::Forbidden => "the API server does not let us read it",
        }
    }
}

impl From<&DecodeError> for Reason {
    fn from(error: &DecodeError) -> Self {
        match error {
            DecodeError::Empty => Self::NoToken,
            DecodeError::TooLarge { .. } => Self::TooLarge,
            DecodeError::NotUtf8 | DecodeError::SegmentCount { .. } | DecodeError::NotBase64Url { .. } => Self::NotAJwt,
            DecodeError::Header(_) | DecodeError::NoAlgorithm => Self::InvalidHeader,
            DecodeError::Claims(_) => Self::InvalidClaims,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_snake_case() {
        let codes: std::collections::BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert!(codes.iter().all(|code| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }
}
