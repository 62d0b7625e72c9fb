use super::*;
use crate::command::golden::golden;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

/// 2026-11-22 04:30:00 UTC
const NOW: UnixSeconds = UnixSeconds(1_795_321_800);
const SIGNATURE: &str = "c2lnbmF0dXJlLXRoYXQtaXMtbmV2ZXItc2hvd24";

fn token(header: &str, claims: &str) -> String {
    format!("{}.{}.{SIGNATURE}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn good() -> String {
    token(
        r#"{"alg":"RS256","kid":"k1"}"#,
        r#"{"iss":"https://issuer.example/","sub":"me","aud":"api","iat":1795318200,"exp":1795595400}"#,
    )
}

fn places(input: &str) -> Vec<(String, bool)> {
    find("in", input.as_bytes()).into_iter().map(|found| (found.place.clone(), found.is_decoded())).collect()
}

fn codes(token: &str) -> Vec<&'static str> {
    let found = find("in", token.as_bytes());
    let [Found { result: Ok(token), .. }] = &found[..] else { panic!("{} found", found.len()) };
    oddities::oddities(token, NOW).into_iter().map(|odd| odd.code).collect()
}

#[test]
fn tokens_are_found_wherever_they_stand() {
    let (token, one) = (good(), |place: &str| vec![(place.to_owned(), true)]);
    assert_eq!(places(&token), one("in"));
    assert_eq!(places(&format!("  Bearer {token}\n\n")), one("in"));
    assert_eq!(places(&format!("Authorization: Bearer {token}")), one("in"));
    assert_eq!(places(&format!("TOKEN=\"{token}\"\n")), one("in"));
    let two = places(&format!("# a comment\n{token}\n\n{token}\n"));
    assert_eq!(two, [("in line 2".to_owned(), true), ("in line 4".to_owned(), true)]);
    assert_eq!(places(&format!(r#"{{"a":[{{"b":"{token}"}}]}}"#)), one("in /a/0/b"));
    let kubeconfig = format!("apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    token: {token}\n");
    assert_eq!(places(&kubeconfig), one("in /users/0/user/token"));
    let secret = format!(
        "kind: Secret\nmetadata: {{name: s, namespace: n}}\ndata: {{t: {}, other: eA==}}\nstringData: {{d: '{{\"x\":\"{token}\"}}'}}\n",
        STANDARD.encode(&token)
    );
    assert_eq!(places(&secret), [("in n/s:d/x".to_owned(), true), ("in n/s:t".to_owned(), true)]);
}

#[test]
fn what_cannot_be_decoded_is_told() {
    let bad = |place: &str| vec![(place.to_owned(), false)];
    for input in [
        "",
        " \n",
        "hunter2",
        "two words",
        "{\"a\":",
        "{\"a\":1}",
        "eyJhbGciOiJub25lIn0.e30",
        "eyJhbGciOiJub25lIn0.W10.",
    ] {
        assert_eq!(places(input), bad("in"), "{input}");
    }
    let broken = places(&format!("{}\neyJhbGciOi.broken.token\n", good()));
    assert_eq!(broken, [("in line 1".to_owned(), true), ("in line 2".to_owned(), false)]);
    assert!(!find("in", b"\xff\xfe\x00")[0].is_decoded());
}

#[test]
fn what_is_odd() {
    let claims = |claims: &str| {
        codes(&token(r#"{"alg":"RS256"}"#, &claims.replacen('{', r#"{"aud":"a","iss":"i","#, 1).replace(",}", "}")))
    };
    assert_eq!(claims(r#"{"exp":1795595400}"#), [""; 0]);
    assert_eq!(claims("{}"), ["no_exp"]);
    assert_eq!(claims(r#"{"exp":1795321800}"#), ["expired"]);
    assert_eq!(claims(r#"{"iat":1795321800,"exp":2110681800}"#), ["long_lifetime"]);
    assert_eq!(claims(r#"{"iat":1795400000,"exp":1795390000}"#), ["never_valid", "issued_in_future"]);
    assert_eq!(claims(r#"{"nbf":1795321801,"exp":1795595400}"#), ["not_yet_valid"]);
    assert_eq!(claims(r#"{"iat":1795321850,"exp":1795595400}"#), [""; 0]);
    assert_eq!(claims(r#"{"exp":1795595400000}"#), ["milliseconds"]);
    assert_eq!(claims(r#"{"exp":"1795595400"}"#), ["no_date"]);
    assert_eq!(claims(r#"{"exp":0}"#), ["no_date", "expired"]);
    assert_eq!(claims(r#"{"exp":1,"exp":1795595400,"exp":1795595400}"#), ["repeated_member"]);
    assert_eq!(codes(&token(r#"{"alg":"RS256"}"#, r#"{"exp":1795595400}"#)), ["no_aud", "no_iss"]);

    let header = |header: &str| codes(&token(header, r#"{"aud":"a","iss":"i","exp":1795595400}"#));
    assert_eq!(header("{}"), ["no_alg"]);
    assert_eq!(header(r#"{"alg":"none"}"#), ["alg_none_signed"]);
    assert_eq!(header(r#"{"alg":"RS256","alg":"HS256"}"#), ["repeated_member"]);
    assert_eq!(header(r#"{"alg":"RS256","crit":["x","b64"],"x":1,"b64":true}"#), ["unknown_crit"]);
    assert_eq!(header(r#"{"alg":"RS256","crit":["x"]}"#), ["invalid_crit"]);
    assert_eq!(header(r#"{"alg":"RS256","crit":[]}"#), ["invalid_crit"]);
    assert_eq!(header(r#"{"alg":"RS256","crit":[7]}"#), ["invalid_crit"]);
    assert_eq!(header(r#"{"alg":"RS256","jku":"https://x/"}"#), ["own_key"]);
    let unsigned = |algorithm: &str| {
        let whole = token(&format!(r#"{{"alg":"{algorithm}"}}"#), r#"{"aud":"a","iss":"i","exp":1795595400}"#);
        codes(whole.strip_suffix(SIGNATURE).unwrap())
    };
    assert_eq!(unsigned("none"), ["alg_none"]);
    assert_eq!(unsigned("nOnE"), ["alg_none"]);
    assert_eq!(unsigned("RS256"), ["no_signature"]);
    assert_eq!(codes(&format!("{}....", URL_SAFE_NO_PAD.encode(r#"{"alg":"dir"}"#))), ["encrypted"]);
    let large = format!(r#"{{"aud":"a","iss":"i","exp":1795595400,"x":"{}"}}"#, "x".repeat(9000));
    assert_eq!(codes(&token(r#"{"alg":"RS256"}"#, &large)), ["large"]);
}

fn harmful() -> String {
    let inner = good();
    let claims = serde_json::json!({
        "sub": "a\u{202e}b\u{1b}[31m\nc", "nested": {"token": inner, "list": [inner]}, "actor": inner,
        "exp": 4_070_908_800_i64, "auth_time": 1_795_318_200, "n\u{9b}": 1.5, "long": "x".repeat(1000), "漢字": null,
    });
    let header = serde_json::json!({"alg": "none", "crit": ["\u{202e}x"], inner: "name"});
    format!("{}\n{}\neyJhbGciOi.{SIGNATURE}.x\n", token(&header.to_string(), &claims.to_string()), good())
}

#[test]
fn the_answer_in_both_forms() {
    let found = find("tokens.txt", harmful().as_bytes());
    golden("inspect.txt", &report::text(&found, NOW));
    golden("inspect.json", &report::json(&found, NOW));
}

#[test]
fn no_signature_and_no_control_character_is_shown() {
    let found = find("in", harmful().as_bytes());
    for text in [report::text(&found, NOW), report::json(&found, NOW)] {
        assert!(!text.contains("c2lnbmF0"), "{text}");
        assert!(text.lines().all(|line| crate::log::escape(line) == line), "{text}");
    }
}

proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "(eyJ[a-zA-Z0-9.]{0,20}|kind: Secret|users:|[{}\\[\\]:\", \n]){0,20}") {
        for input in [&bytes[..], text.as_bytes()] {
            let found = find("in", input);
            prop_assert!(!found.is_empty());
            let _ = (report::text(&found, NOW), report::json(&found, NOW));
        }
    }

    #[test]
    fn no_header_and_no_claims_panic(header in "\\{(\"(alg|crit|x)\":(\"none\"|[0-9]{1,3}|\\[\"x\"\\]|null),){0,4}\"a\":1\\}", claims in "\\{(\"(exp|nbf|iat|aud)\":(-?[0-9]{1,20}(\\.[0-9])?|\"x\"|null|[0-9]e[0-9]{1,3}),){0,5}\"a\":1\\}") {
        let found = find("in", token(&header, &claims).as_bytes());
        let _ = (report::text(&found, NOW), report::json(&found, NOW));
    }
}
