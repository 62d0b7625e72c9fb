//! What the answers of servers say, once they are read as JSON. Whoever answers is not trusted: whatever is there, or is not,
//! comes to a verdict of ours and to nothing else.

use crate::json::Value;
use crate::login::{Flavour, Review, ReviewRequest, Server};

/// Which program answers, and in which version, by `GET sys/health`; `None`: neither Vault nor OpenBao.
#[must_use]
pub fn server_of(health: &Value) -> Option<Server> {
    let version = health.member("version")?.as_text().unwrap_or_default();
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    let version = match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Some((major, minor, patch)),
        _ => None,
    };
    // Only Vault says whether it is the enterprise edition; before it did, its versions began with 0 or 1.
    let is_vault = health.member("enterprise").is_some() || version.is_some_and(|(major, ..)| major < 2);
    let flavour = if is_vault { Flavour::Vault } else { Flavour::OpenBao };
    Some(Server { flavour, version })
}

/// The names in the answer to a LIST.
#[must_use]
pub fn names_of(list: &Value) -> Vec<&str> {
    match list.member("keys") {
        Some(Value::List(keys)) => keys.iter().filter_map(Value::as_text).collect(),
        _ => Vec::new(),
    }
}

/// The `jwks_uri` of a discovery document (OpenID Connect Discovery 1.0, section 4), which has to name the very URL that it was
/// asked for by.
///
/// # Errors
/// What is wrong with it, for people.
pub fn keys_url<'a>(document: Option<&'a Value>, asked: &str) -> Result<&'a str, &'static str> {
    let text = |name: &str| document?.member(name)?.as_text();
    if text("issuer") != Some(asked) {
        return Err("the issuer in the document is not oidc_discovery_url, slash and all");
    }
    text("jwks_uri").ok_or("the document names no jwks_uri")
}

/// What the `status` of a TokenReview says.
#[must_use]
pub fn review_of(status: &Value, wanted: &ReviewRequest) -> Review {
    let failed = status.member("error").and_then(Value::as_text).is_some_and(|error| !error.is_empty());
    if failed || status.member("authenticated") != Some(&Value::Boolean(true)) {
        return Review::Refused;
    }
    // Who asks for audiences wants to hear of one of them.
    let told = match status.member("audiences") {
        Some(Value::List(told)) => told.as_slice(),
        _ => &[],
    };
    let is_meant = |audience: &String| told.iter().any(|told| told.as_text() == Some(audience));
    if !wanted.audiences.is_empty() && !wanted.audiences.iter().any(is_meant) {
        return Review::Refused;
    }
    let user = status.member("user");
    let text = |name| user.and_then(|user| user.member(name)).and_then(Value::as_text).unwrap_or_default().to_owned();
    Review::Authenticated { username: text("username"), uid: text("uid") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Duplicates;

    fn value(json: &str) -> Value {
        Value::parse(json.as_bytes(), Duplicates::LastWins).unwrap()
    }

    /// As a real OpenBao judged the same answers.
    #[test]
    fn a_review_needs_no_error_and_an_audience_that_was_asked_for() {
        let wanted =
            |audiences: &[&str]| ReviewRequest { audiences: audiences.iter().map(ToString::to_string).collect() };
        for (more, asked, confirmed) in [
            (r#","audiences":["api"]"#, &["api", "x"][..], true),
            (r#","audiences":["zzz"]"#, &["api", "x"], false),
            (r#","audiences":[]"#, &["api"], false),
            ("", &["api"], false),
            ("", &[], true),
            (r#","audiences":["zzz"]"#, &[], true),
            (r#","audiences":["api"],"error":"boom""#, &["api"], false),
            (r#","audiences":["api"],"error":"""#, &["api"], true),
            (r#","authenticated":false"#, &[], false),
            (r#","authenticated":"true""#, &[], false),
        ] {
            let status = value(&format!(r#"{{"authenticated":true,"user":{{"username":"u","uid":"i"}}{more}}}"#));
            let yes = Review::Authenticated { username: "u".to_owned(), uid: "i".to_owned() };
            let expected = if confirmed { yes } else { Review::Refused };
            assert_eq!(review_of(&status, &wanted(asked)), expected, "{more} {asked:?}");
        }
    }

    #[test]
    fn servers_are_told_by_their_health() {
        let server = |json: &str| server_of(&value(json)).map(|server| (server.flavour, server.version));
        assert_eq!(server(r#"{"version":"2.7.2"}"#), Some((Flavour::OpenBao, Some((2, 7, 2)))));
        assert_eq!(server(r#"{"version":"2.0.0+ent","enterprise":true}"#), Some((Flavour::Vault, Some((2, 0, 0)))));
        assert_eq!(server(r#"{"version":"1.19.0"}"#), Some((Flavour::Vault, Some((1, 19, 0)))));
        assert_eq!(server(r#"{"version":"dev"}"#), Some((Flavour::OpenBao, None)));
        assert_eq!(server(r#"{"sealed":false}"#), None);
    }

    #[test]
    fn a_discovery_document_names_the_url_that_it_was_asked_for_by() {
        let document = value(r#"{"issuer":"https://i/","jwks_uri":"https://k/"}"#);
        assert_eq!(keys_url(Some(&document), "https://i/"), Ok("https://k/"));
        assert!(keys_url(Some(&document), "https://i").is_err());
        assert!(keys_url(Some(&value(r#"{"issuer":"https://i/"}"#)), "https://i/").is_err());
        assert!(keys_url(None, "https://i/").is_err());
    }
}
