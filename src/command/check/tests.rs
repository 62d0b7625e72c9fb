use super::*;
use crate::command::golden::golden;
use crate::jwt::ClaimPaths;
use crate::observation::{Bounds, DataValue, ExtraLabels, Logins, Observer, Reading, SecretObservation, SecretView};
use crate::snapshot::SourceStatus;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::sync::Arc;

/// 2026-11-22 04:30:00 UTC
const NOW: UnixSeconds = UnixSeconds(1_795_321_800);
const WEEK: i64 = 7 * 86_400;
const SIGNATURE: &str = "c2lnbmF0dXJlLXRoYXQtaXMtbmV2ZXItc2hvd24";

fn token(algorithm: &str, claims: &serde_json::Value) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{SIGNATURE}", encode(&format!(r#"{{"alg":"{algorithm}"}}"#)), encode(&claims.to_string()))
}

fn secret(namespace: &str, name: &str, annotation: Option<&str>, value: String) -> Arc<SecretObservation> {
    let data = [("token".into(), DataValue::Plain(value.into()))];
    let view = SecretView {
        namespace,
        name,
        annotation,
        data: &data,
        logins: Logins::Annotation(None),
        picked: true,
        extra: &ExtraLabels::default(),
        version: 0,
    };
    let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 3 };
    Arc::new(Observer::new(Reading::new(ClaimPaths::default(), bounds)).observe(&view).unwrap())
}

fn source(name: &str, failure: Option<&str>) -> SourceStatus {
    let up = failure.is_none();
    SourceStatus { tried: true, up, failure: failure.map(Arc::from), ..SourceStatus::untried(name) }
}

fn mixed() -> Snapshot {
    let claims = |issuer: &str, subject: &str, from: i64, until: i64| serde_json::json!({"iss": issuer, "sub": subject, "iat": NOW.0 + from, "exp": NOW.0 + until});
    let jwe = format!("{}.a2V5.aXY.Y2lwaGVy.dGFn", URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP"}"#));
    let held = [
        secret("billing", "expired", None, token("ES256", &claims("https://issuer.example/", "cron", -9000, -7200))),
        secret(
            "billing",
            "partner-with-a-very-long-name-that-has-to-be-cut-somewhere",
            None,
            token(
                "RS256",
                &claims(
                    "https://a-very-long-issuer.example/realms/production",
                    "system:serviceaccount:billing:partner",
                    -3600,
                    273_600,
                ),
            ),
        ),
        secret(
            "datagate",
            "漢字",
            None,
            token("RS256", &claims("https://発行者.example/", "利用者🙂", -3600, 90 * 86_400)),
        ),
        secret(
            "datagate",
            "forged",
            None,
            token("none", &claims("=HYPERLINK(\"x\")", "a\u{202e}b\u{1b}[31m\nc,\"d\"", -60, WEEK + 1)),
        ),
        secret("datagate", "jwe", None, jwe),
        secret("datagate", "missing", Some("nope"), "hunter2".into()),
        secret("datagate", "never", None, token("HS256", &serde_json::json!({"sub": "robot", "nbf": NOW.0 + 3600}))),
        secret("datagate", "no-date", None, token("HS256", &serde_json::json!({"exp": "soon"}))),
        secret("datagate", "many", None, token("HS256", &serde_json::json!({"roles": ["a", "b", "c", "d"]}))),
    ];
    let mut held = held;
    held.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Snapshot::assemble([(&source("kubernetes", None), &held[..])], 100)
}

#[test]
fn the_table_at_every_width() {
    let snapshot = mixed();
    let answer = Answer::new(&snapshot, NOW, WEEK);
    for width in [60, 100, 200] {
        let text = answer.table(Look { width: Some(width), colour: false });
        golden(&format!("check_{width}.txt"), &text);
        let summary = text.trim_end().lines().last().unwrap().to_owned();
        for line in text.lines().filter(|line| *line != summary) {
            assert!(crate::command::words::width(line) <= width, "{line}");
        }
    }
    golden("check_colour.txt", &answer.table(Look { width: Some(80), colour: true }));
    golden("check.txt", &answer.table(Look { width: None, colour: false }));
}

#[test]
fn json_and_csv() {
    let snapshot = mixed();
    let answer = Answer::new(&snapshot, NOW, WEEK);
    golden("check.json", &answer.json());
    golden("check.csv", &answer.csv());
    let parsed: serde_json::Value = serde_json::from_str(&answer.json()).unwrap();
    let counts = |name: &str| parsed["summary"][name].as_u64().unwrap();
    assert_eq!(counts("tokens"), parsed["tokens"].as_array().unwrap().len() as u64);
    assert_eq!((counts("expired"), counts("expiring"), counts("valid"), counts("never_expires")), (1, 1, 2, 2));
}

#[test]
fn no_signature_and_no_control_character_is_in_any_answer() {
    let snapshot = mixed();
    let answer = Answer::new(&snapshot, NOW, WEEK);
    for text in [answer.table(Look { width: None, colour: false }), answer.json(), answer.csv()] {
        assert!(!text.contains("c2lnbmF0") && !text.contains("hunter2") && !text.contains("Y2lwaGVy"), "{text}");
        let text = text.replace("\r\n", "\n");
        assert!(text.lines().all(|line| escape(line) == line), "{text}");
    }
}

#[test]
fn exit_codes() {
    let good = |until: i64| secret("a", "b", None, token("ES256", &serde_json::json!({"exp": NOW.0 + until})));
    let code = |held: &[Arc<SecretObservation>], failure| {
        Answer::new(&Snapshot::assemble([(&source("kubernetes", failure), held)], 0), NOW, WEEK).exit_code()
    };
    assert_eq!(code(&[], None), 0);
    assert_eq!(code(&[good(WEEK + 1)], None), 0);
    assert_eq!(code(&[good(WEEK)], None), 1);
    assert_eq!(code(&[good(0)], None), 1);
    assert_eq!(code(&[secret("a", "b", None, "x".into())], None), 1);
    assert_eq!(
        code(&[secret("a", "b", None, token("none", &serde_json::json!({"roles": ["a", "b", "c", "d"]})))], None),
        0
    );
    assert_eq!(code(&[good(WEEK + 1)], Some("no way")), 2);
}

#[test]
fn nothing_and_a_source_that_failed() {
    let nothing = Snapshot::assemble([(&source("manifests", None), &[][..])], 0);
    let plain = Look { width: None, colour: false };
    assert_eq!(Answer::new(&nothing, NOW, WEEK).table(plain), "No token.\n");
    let failed = Snapshot::assemble([(&source("kubernetes", Some("no\nway")), &[][..])], 0);
    let text = Answer::new(&failed, NOW, WEEK).table(plain);
    assert_eq!(text, "kubernetes: no\\nway\nNo token: 1 of 1 sources not read.\n");
}
