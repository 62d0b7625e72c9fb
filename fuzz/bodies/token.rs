//! A value that is read as a token. What is accepted is read a second time, the slow way with `serde_json`'s tree, and has
//! to be the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_exporter::jwt::{
    ClaimPaths, Decoder, NumericDate, OpenedJwt, Segments, TokenType, UnverifiedJwt, looks_like_jwt, without_decoration,
};
use serde_json::{Map, Value};

/// Something else to have in a decoder's buffers.
const ANOTHER: &[u8] = b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm90aGVyIiwic2NvcGUiOiJhIGIgYyIsImV4cCI6MX0.";

/// Runs one input. Returns whether it was accepted.
pub(super) fn run(input: &[u8]) -> bool {
    let paths = ClaimPaths::default();
    let bare = without_decoration(input);
    let mut decoder = Decoder::default();
    let opened = OpenedJwt::open(input);
    let Ok(jwt) = decoder.decode(input, &paths) else { return false };
    let opened = opened.expect("what can be decoded can be opened");
    assert_eq!(opened.token_type, jwt.token_type);
    assert!(opened.claims.is_none_or(|claims| claims.is_ok()), "decoded, and its claims cannot be opened");

    let mut used = Decoder::default();
    used.decode(ANOTHER, &paths).expect("a good token");
    assert_eq!(used.decode(input, &paths).as_ref(), Ok(&jwt), "a token leaves something behind in the decoder");
    assert!(Segments::split(bare).is_ok(), "decoded, but not split");

    let segments: Vec<&[u8]> = bare.split(|byte| *byte == b'.').collect();
    assert_eq!(segments.len(), if jwt.token_type == TokenType::Jws { 3 } else { 5 });
    let header = URL_SAFE_NO_PAD.decode(segments[0]).expect("a header in base64url");
    // White space may stand before the brace, and then nobody takes the value for a token unless it is told to.
    assert!(header[0] != b'{' || looks_like_jwt(bare), "a token that does not look like one");
    if let Some(header) = object(&header) {
        assert_eq!(header.get("alg").and_then(Value::as_str), Some(&*jwt.algorithm));
    }
    if jwt.token_type == TokenType::Jws {
        let claims = URL_SAFE_NO_PAD.decode(segments[1]).expect("a claims set in base64url");
        if let Some(claims) = object(&claims) {
            compare(&claims, &jwt);
        }
    }
    true
}

/// The object in a segment that was accepted. `serde_json` builds no tree where a number leaves the range of `f64` or a
/// string has half of a surrogate pair; both may stand in a claim that nobody asks for.
fn object(segment: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(segment) {
        Ok(Value::Object(object)) => Some(object),
        Ok(other) => panic!("accepted, and no object: {other}"),
        Err(error) => {
            let text = error.to_string();
            let known = ["number out of range", "surrogate", "hex escape"].iter().any(|known| text.contains(known));
            assert!(known, "accepted, and no JSON: {text}");
            None
        }
    }
}

fn compare(claims: &Map<String, Value>, jwt: &UnverifiedJwt<'_>) {
    let found = &jwt.claims;
    for (name, found) in [("exp", found.expires), ("iat", found.issued), ("nbf", found.not_before)] {
        match (claims.get(name).map(Value::as_f64), found) {
            (None, NumericDate::Absent) | (Some(None), NumericDate::Invalid) => {}
            // The two parsers of floating point may differ in the last bit, at a whole second or at the end of the range.
            (Some(Some(number)), NumericDate::At(at)) => {
                assert!((at.0 as f64 - number).abs() <= 1.0, "{name}: {number}")
            }
            (Some(Some(number)), NumericDate::Invalid) => {
                assert!(number.abs() > 8_639_999_999_999.0, "{name}: {number}")
            }
            (wanted, found) => panic!("{name}: {wanted:?}, found {found:?}"),
        }
    }
    for (name, found) in [
        ("iss", &found.issuer),
        ("sub", &found.subject),
        ("jti", &found.id),
        ("name", &found.name),
        ("email", &found.email),
    ] {
        match claims.get(name) {
            Some(Value::String(text)) => assert_eq!(text, found, "{name}"),
            Some(Value::Bool(value)) => assert_eq!(value.to_string(), **found, "{name}"),
            Some(Value::Number(_)) => assert!(serde_json::from_str::<f64>(found).is_ok(), "{name}: {found}"),
            None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => assert_eq!(found, "", "{name}"),
        }
    }
    if let Some(Value::Array(audiences)) = claims.get("aud") {
        let texts: Vec<&str> = audiences.iter().filter_map(Value::as_str).collect();
        assert_eq!(found.audience, texts.join(","));
    }
    for list in [&found.scopes, &found.roles] {
        for (at, text) in list.iter().enumerate() {
            assert!(!list[..at].contains(text), "{text} is there twice");
        }
    }
    if let Some(Value::String(scope)) = claims.get("scope") {
        assert!(scope.split_whitespace().all(|word| found.scopes.iter().any(|scope| scope == word)), "{scope}");
    }
}
