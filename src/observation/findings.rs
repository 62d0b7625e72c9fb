//! What is found in one Secret: tokens, errors and values that are kept whole, within the bounds, each place once.

use super::token::location;
use super::{
    Bounds, KeptToken, LoginName, Reading, Reason, SecretObservation, SecretView, TokenError, TokenObservation,
};
use crate::jwt::{DecodeError, NumericDate, TokenType, UnverifiedJwt};
use crate::redacted::Redacted;
use std::sync::Arc;

/// What has been found in one Secret so far.
pub(super) struct Findings<'a> {
    secret: &'a SecretView<'a>,
    known_logins: Arc<[String]>,
    bounds: Bounds,
    tokens: Vec<TokenObservation>,
    errors: Vec<TokenError>,
    kept: Vec<KeptToken>,
    /// Of the value that is being read.
    logins: Arc<[LoginName]>,
    places: usize,
    /// There were more than the bound allows.
    pub(super) overflown: bool,
}

impl<'a> Findings<'a> {
    pub(super) fn new(secret: &'a SecretView<'a>, reading: &Reading) -> Self {
        Self {
            secret,
            known_logins: Arc::clone(&reading.logins),
            bounds: reading.bounds,
            tokens: Vec::new(),
            errors: Vec::new(),
            kept: Vec::new(),
            logins: Arc::default(),
            places: 0,
            overflown: false,
        }
    }

    /// From here on tokens of this data key are found.
    pub(super) fn keep_of(&mut self, key: &str) {
        if !self.known_logins.is_empty() {
            self.logins = self.secret.logins.of_key(key);
        }
    }

    /// Keeps a value whole that is held against a login, whether we can read it or not: servers read some that we do not.
    fn keep(&mut self, location: &str, value: &[u8]) {
        if self.logins.is_empty() {
            return;
        }
        let is_known = |name: &LoginName| self.known_logins.iter().any(|known| **known == *name.login);
        // What is no UTF-8 is no token for anybody.
        let text = self.logins.iter().any(is_known).then(|| Redacted::new(String::from_utf8_lossy(value).into_owned()));
        self.kept.push(KeptToken {
            location: location.into(),
            logins: Arc::clone(&self.logins),
            text: text.map(Arc::new),
        });
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len() + self.errors.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes one of the places that the bound allows, for a token or for an error in place of one.
    fn takes_place(&mut self) -> bool {
        self.overflown |= self.places == self.bounds.max_tokens_per_secret;
        self.places += usize::from(!self.overflown);
        !self.overflown
    }

    pub(super) fn token(
        &mut self,
        key: &str,
        jwt: &UnverifiedJwt<'_>,
        reading: &Reading,
        value: &[u8],
        text: &mut String,
    ) {
        if !self.takes_place() {
            return;
        }
        let location = location(self.secret.namespace, self.secret.name, key, self.secret.extra);
        self.keep(&location, value);
        let token = TokenObservation::new(jwt, &location, reading, text);
        let joined = token.joined;
        self.tokens.push(token);
        if jwt.token_type == TokenType::Jwe {
            self.beside(key, Reason::Encrypted, "an encrypted token (JWE): its claims cannot be read".into());
        }
        if jwt.claims.has_invalid_date() {
            let dates =
                [("exp", jwt.claims.expires), ("iat", jwt.claims.issued), ("nbf", jwt.claims.not_before)].into_iter();
            let names: Vec<&str> =
                dates.filter(|(_, date)| *date == NumericDate::Invalid).map(|(name, _)| name).collect();
            self.beside(key, Reason::InvalidClaims, format!("no date is in: {}", names.join(", ")));
        }
        if joined {
            let detail = format!(
                "more than {} series: its roles and scopes are joined into one (max_series_per_token)",
                self.bounds.max_series_per_token
            );
            self.beside(key, Reason::TooManySeries, detail);
        }
    }

    pub(super) fn decode_error(&mut self, key: &str, value: &[u8], error: &DecodeError) {
        if self.takes_place() {
            self.beside(key, Reason::from(error), error.to_string());
            self.keep(&location(self.secret.namespace, self.secret.name, key, self.secret.extra), value);
        }
    }

    pub(super) fn error(&mut self, key: &str, reason: Reason, detail: String) {
        if self.takes_place() {
            self.beside(key, reason, detail);
        }
    }

    fn beside(&mut self, key: &str, reason: Reason, detail: String) {
        let location = location(self.secret.namespace, self.secret.name, key, self.secret.extra);
        self.errors.push(TokenError { location: location.into(), reason, detail: detail.into() });
    }

    pub(super) fn into_observation(mut self, secret: &SecretView<'_>) -> SecretObservation {
        if self.overflown {
            let most = self.bounds.max_tokens_per_secret;
            let detail = format!("only the first {most} tokens in it are shown (max_tokens_per_secret)");
            self.beside("", Reason::TooManyTokens, detail);
        }
        // A location begins with its key. Two that are the same to the letter (a repeated member, two keys that were cut to
        // the same) would be one sample twice: the last one counts.
        self.tokens.sort_by(|a, b| a.location().cmp(b.location()));
        self.tokens.dedup_by(|next, kept| {
            let same = next.location() == kept.location();
            if same {
                std::mem::swap(next, kept);
            }
            same
        });
        self.kept.sort_by(|a, b| a.location.cmp(&b.location));
        self.kept.dedup_by(|next, kept| {
            let same = next.location == kept.location;
            if same {
                std::mem::swap(next, kept);
            }
            same
        });
        self.errors.sort_by(|a, b| (&a.location, a.reason).cmp(&(&b.location, b.reason)));
        self.errors.dedup_by(|a, b| a.location == b.location && a.reason == b.reason);
        SecretObservation {
            namespace: secret.namespace.into(),
            name: secret.name.into(),
            tokens: self.tokens.into(),
            errors: self.errors.into(),
            kept: self.kept.into(),
            version: secret.version,
            extra: secret.extra.length(),
        }
    }
}
