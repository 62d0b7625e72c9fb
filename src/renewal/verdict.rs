//! Trust, but check: what an endpoint answered, before anything is written.

use super::reason::{Failure, Reason};
use super::schedule::Dates;
use crate::json;
use crate::jwt::{ClaimPaths, DecodeError, Decoder, JsonPointer, TokenType, UnverifiedJwt, without_decoration};
use crate::redacted::Redacted;
use crate::time::UnixSeconds;

/// Clocks differ: a token that is valid from so many seconds on is valid.
const SKEW: i64 = 60;

/// What a Secret's data key or a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No such key or file, or nothing in it.
    Missing,
    /// No token that anybody could read. Why, for people.
    Unreadable(String),
    /// A token.
    Token(Dates),
}

impl Found {
    /// Looks at a value.
    #[must_use]
    pub(super) fn of(value: &[u8]) -> Self {
        if value.trim_ascii().is_empty() {
            return Self::Missing;
        }
        match decode(value, |jwt| (jwt.token_type, dates(jwt))) {
            Ok((TokenType::Jws, dates)) => Self::Token(dates),
            Ok((TokenType::Jwe, _)) => Self::Unreadable("it is encrypted".to_owned()),
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }

    /// When it expires, where that is known.
    #[must_use]
    pub(super) fn expires(&self) -> Option<UnixSeconds> {
        match self {
            Self::Token(dates) => dates.expires,
            Self::Missing | Self::Unreadable(_) => None,
        }
    }
}

/// Takes the token out of an answer: the text that `pointer` leads to, without white space around it and without a leading
/// `Bearer `.
///
/// # Errors
/// [`Reason::BadAnswer`] and [`Reason::NoToken`].
pub(super) fn token_of(answer: &[u8], pointer: &JsonPointer) -> Result<Redacted, Failure> {
    let bad = |cause: String| Failure::new(Reason::BadAnswer, format!("the answer {cause}"));
    let text = json::text(answer).map_err(|fault| bad(fault.to_string()))?;
    let mut found = None;
    json::members(text.trim_ascii(), |name, value| {
        if name == pointer.first() {
            found = Some(value);
        }
    })
    .map_err(|fault| bad(fault.to_string()))?;
    let nothing = || {
        let advice = "look at `token` of this renewal, and at what the endpoint answers";
        Failure::new(Reason::NoToken, format!("the answer has no text at {pointer}; {advice}"))
    };
    let value = found.and_then(|value| pointer.follow(value)).and_then(json::string).ok_or_else(nothing)?;
    // Owned here, and wiped with the answer's other copies when they go.
    let value = Redacted::new(value.into_owned());
    let token = std::str::from_utf8(without_decoration(value.expose().as_bytes())).unwrap_or_default();
    if token.is_empty() { Err(nothing()) } else { Ok(Redacted::new(token.to_owned())) }
}

/// Whether a token may take the place of what is there.
///
/// # Errors
/// The first thing that speaks against it.
pub(super) fn judge(token: &Redacted, old: &Found, now: UnixSeconds) -> Result<Dates, Failure> {
    let (token_type, dates) = decode(token.expose().as_bytes(), |jwt| (jwt.token_type, dates(jwt)))
        .map_err(|error| refused(Reason::NotAJwt, &format!("is no JSON Web Token: {error}")))?;
    if token_type == TokenType::Jwe {
        return Err(refused(Reason::Encrypted, "is encrypted (JWE): nobody but its recipient knows when it expires"));
    }
    let Some(expires) = dates.expires else {
        return Err(refused(Reason::NoExpiry, "does not say when it expires (claim exp)"));
    };
    if expires <= now {
        return Err(refused(Reason::Expired, &format!("expired at {expires}; is one of the clocks wrong?")));
    }
    if let Some(from) = dates.not_before.filter(|from| from.since(now) > SKEW) {
        return Err(refused(
            Reason::NotYetValid,
            &format!("is valid only from {from} on; is one of the clocks wrong?"),
        ));
    }
    match old.expires() {
        Some(old) if expires <= old => {
            let cause = format!("expires at {expires}, no later than the one that is there ({old})");
            Err(refused(Reason::NotLater, &cause))
        }
        _ => Ok(dates),
    }
}

fn refused(reason: Reason, cause: &str) -> Failure {
    Failure::new(reason, format!("the token that came {cause}"))
}

fn dates(jwt: &UnverifiedJwt<'_>) -> Dates {
    let claims = &jwt.claims;
    Dates { expires: claims.expires.at(), issued: claims.issued.at(), not_before: claims.not_before.at() }
}

fn decode<T>(value: &[u8], read: impl FnOnce(&UnverifiedJwt<'_>) -> T) -> Result<T, DecodeError> {
    let nothing_else =
        ClaimPaths { scope: Vec::new(), role: Vec::new(), name: Vec::new(), email: Vec::new(), added: Vec::new() };
    Decoder::default().decode(value, &nothing_else).map(|jwt| read(&jwt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    const NOW: UnixSeconds = UnixSeconds(1_000);

    fn jwt(claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(claims))
    }

    fn verdict(token: &str, old: &Found) -> Result<i64, Reason> {
        judge(&Redacted::new(token.to_owned()), old, NOW)
            .map(|dates| dates.expires.unwrap().0)
            .map_err(|failure| failure.reason)
    }

    #[test]
    fn a_token_has_to_be_better_than_the_one_that_is_there() {
        let old = Found::of(jwt(r#"{"exp":2000}"#).as_bytes());
        for (token, wanted) in [
            (jwt(r#"{"exp":2001}"#), Ok(2001)),
            (jwt(r#"{"exp":2001,"nbf":1060}"#), Ok(2001)),
            (jwt(r#"{"exp":2001,"nbf":1061}"#), Err(Reason::NotYetValid)),
            (jwt(r#"{"exp":2000}"#), Err(Reason::NotLater)),
            (jwt(r#"{"exp":1000}"#), Err(Reason::Expired)),
            (jwt("{}"), Err(Reason::NoExpiry)),
            (jwt(r#"{"exp":"soon"}"#), Err(Reason::NoExpiry)),
            (jwt("no JSON"), Err(Reason::NotAJwt)),
            ("opaque".to_owned(), Err(Reason::NotAJwt)),
            (format!("{}.YQ.YQ.YQ.YQ", URL_SAFE_NO_PAD.encode(r#"{"alg":"dir"}"#)), Err(Reason::Encrypted)),
        ] {
            assert_eq!(verdict(&token, &old), wanted, "{token}");
        }
        for old in [Found::Missing, Found::Unreadable(String::new()), Found::of(jwt("{}").as_bytes())] {
            assert_eq!(verdict(&jwt(r#"{"exp":1001}"#), &old), Ok(1001));
        }
    }

    #[test]
    fn what_is_found() {
        for (value, is_missing) in [("", true), (" \n", true), ("x", false)] {
            assert_eq!(matches!(Found::of(value.as_bytes()), Found::Missing), is_missing);
        }
        assert_eq!(Found::of(format!("Bearer {}\n", jwt(r#"{"exp":7}"#)).as_bytes()).expires(), Some(UnixSeconds(7)));
        assert!(matches!(Found::of(b"e30.e30"), Found::Unreadable(_)));
    }

    #[test]
    fn the_token_is_where_the_pointer_says() {
        let read = |answer: &str, pointer: &str| {
            token_of(answer.as_bytes(), &pointer.parse().unwrap())
                .map(|token| token.expose().to_owned())
                .map_err(|failure| failure.reason)
        };
        assert_eq!(read(r#"{"token":"a.b.c"}"#, "/token").as_deref(), Ok("a.b.c"));
        assert_eq!(read(r#" {"d":[{"t":" Bearer a\u002eb.c\n"}]} "#, "/d/0/t").as_deref(), Ok("a.b.c"));
        for (answer, reason) in [
            (r#"{"token":7}"#, Reason::NoToken),
            (r#"{"token":null}"#, Reason::NoToken),
            (r#"{"token":" "}"#, Reason::NoToken),
            (r#"{"Token":"a.b.c"}"#, Reason::NoToken),
            (r#"["a.b.c"]"#, Reason::BadAnswer),
            ("<html>", Reason::BadAnswer),
            ("", Reason::BadAnswer),
            (r#"{"token":"a.b.c""#, Reason::BadAnswer),
        ] {
            assert_eq!(read(answer, "/token"), Err(reason), "{answer}");
        }
        assert_eq!(token_of(b"\xff", &"/token".parse().unwrap()).unwrap_err().reason, Reason::BadAnswer);
    }

    #[test]
    fn no_refusal_repeats_the_token() {
        let token = "hunter2hunter2.hunter2hunter2.hunter2hunter2";
        let failure = judge(&Redacted::new(token.to_owned()), &Found::Missing, NOW).unwrap_err();
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        let failure = token_of(br#"{"token":["hunter2"]}"#, &"/token".parse().unwrap()).unwrap_err();
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }
}
