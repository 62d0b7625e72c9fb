use super::*;
use crate::command::golden::golden;
use crate::json::{Duplicates, Value as Fields};
use crate::jwt::ClaimPaths;
use crate::login::{
    Facts, Flavour, KubernetesConfig, KubernetesMount, KubernetesRole, NamespaceLabels, Origin, Refusal, Review,
    Server, Unknown,
};
use crate::metrics::{Judged, LoginCase};
use crate::observation::{
    Bounds, DataValue, ExtraLabels, LoginName, Logins, Observer, Reading, SecretObservation, SecretView, Showing,
};
use crate::redacted::Redacted;
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

fn no_logins() -> &'static LoginBoard {
    Box::leak(Box::default())
}

/// What a Kubernetes mount says to a token of a service account with this end, which the cluster knows.
fn let_in_until(until: i64) -> Judged {
    let fields = |text: &str| Fields::parse(text.as_bytes(), Duplicates::Refuse).unwrap();
    let config = r#"{"kubernetes_host":"https://k"}"#;
    let role = r#"{"bound_service_account_names":["app"],"bound_service_account_namespaces":["default"]}"#;
    let mount = KubernetesMount {
        server: Server::newest(Flavour::Vault),
        config: KubernetesConfig::parse(&fields(config), Origin::Written).unwrap(),
        roles: [("app".to_owned(), KubernetesRole::parse(&fields(role), Origin::Written).unwrap())].into(),
    };
    let claims = serde_json::json!({"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:default:app", "aud": ["a"],
        "iat": NOW.0 - 60, "nbf": NOW.0 - 60, "exp": until,
        "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "app", "uid": "u"}}});
    let review =
        Review::Authenticated { username: "system:serviceaccount:default:app".to_owned(), uid: "u".to_owned() };
    let facts = Facts { source: None, labels: &|_| NamespaceLabels::Missing, review: Some(&review) };
    let assessment = mount.assess(Some("app"), &Redacted::new(token("RS256", &claims)), facts);
    assert_eq!(assessment.at(NOW.plus(-30)), Verdict::Accepted, "{assessment:?}");
    Judged::Assessed(Arc::new(assessment))
}

/// What each of these logins says to the token of the Secret of this namespace and name.
fn board(cases: Vec<(&str, &str, Judged)>) -> LoginBoard {
    let case = |(place, login, judged): (&str, &str, Judged)| {
        let (namespace, name) = place.split_once('/').unwrap();
        let location = format!("secret_key=\"token\",secret_name=\"{name}\",secret_namespace=\"{namespace}\"");
        LoginCase::new(&location, &LoginName::parse(login).unwrap(), judged)
    };
    LoginBoard::new(cases.into_iter().map(case).collect(), Vec::new())
}

fn refused(refusal: Refusal) -> Judged {
    Judged::Always(Verdict::Refused(refusal))
}

fn unknown(unknown: Unknown) -> Judged {
    Judged::Always(Verdict::Undetermined(unknown))
}

fn mixed_logins() -> LoginBoard {
    board(vec![
        ("billing/expired", "cluster/app", let_in_until(NOW.0 - 65)),
        ("datagate/漢字", "cluster/app", let_in_until(NOW.0 + 90 * 86_400)),
        ("datagate/漢字", "vault-dev/reader", refused(Refusal::AudienceMismatch)),
        ("datagate/漢字", "vault-dev/writer-with-a-rather-long-name", unknown(Unknown::SourceAddress)),
        ("datagate/forged", "vault-dev/", refused(Refusal::BadSignature)),
        ("datagate/many", "vault-dev/reader", unknown(Unknown::MountUnreachable)),
        ("datagate/jwe", "vault-dev/reader", refused(Refusal::MalformedToken)),
        ("datagate/never", "cluster/app", let_in_until(NOW.0 + 86_400)),
        ("datagate/no-token-any-more", "cluster/app", let_in_until(NOW.0)),
    ])
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
    let answer = Answer::new(&snapshot, no_logins(), NOW, WEEK);
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
fn the_table_with_logins_at_every_width() {
    let (snapshot, board) = (mixed(), mixed_logins());
    let answer = Answer::new(&snapshot, &board, NOW, WEEK);
    for width in [44, 60, 100, 200] {
        let text = answer.table(Look { width: Some(width), colour: false });
        golden(&format!("check_logins_{width}.txt"), &text);
        let summary = text.trim_end().lines().last().unwrap().to_owned();
        for line in text.lines().filter(|line| *line != summary) {
            assert!(crate::command::words::width(line) <= width, "{line}");
        }
    }
    golden("check_logins_colour.txt", &answer.table(Look { width: Some(120), colour: true }));
}

#[test]
fn logins_in_json_and_csv() {
    let (snapshot, board) = (mixed(), mixed_logins());
    let answer = Answer::new(&snapshot, &board, NOW, WEEK);
    golden("check_logins.json", &answer.json());
    golden("check_logins.csv", &answer.csv());
    let parsed: serde_json::Value = serde_json::from_str(&answer.json()).unwrap();
    let counts = |name: &str| parsed["summary"][name].as_u64().unwrap();
    assert_eq!((counts("login_refused"), counts("login_ending"), counts("login_undetermined")), (4, 1, 2));
    let of = |list: &str, name: &str| {
        let all = parsed[list].as_array().unwrap();
        all.iter().find(|row| row["secret_name"] == name).unwrap()["logins"].clone()
    };
    assert_eq!(of("tokens", "漢字")[1]["reason"], "audience_mismatch");
    assert_eq!(of("tokens", "jwe")[0]["verdict"], "refused");
    assert_eq!(of("errors", "missing"), serde_json::json!([]));
    let lines = answer.csv();
    assert!(lines.lines().all(|line| line.split(',').count() >= 23), "{lines}");
}

#[test]
fn a_label_of_the_configuration_is_no_member_of_the_row() {
    let names = ["state", "issued_at", "type_", "expires_at_unix", "logins", "labels", "detail"];
    let mut reading =
        Reading::new(ClaimPaths::default(), Bounds { max_tokens_per_secret: 32, max_series_per_token: 3 });
    for name in names {
        reading.claims.added.push("/mine".parse().unwrap());
        reading.show.added.push((name.to_owned(), Showing::Plain));
    }
    let value = token("ES256", &serde_json::json!({"exp": NOW.0 + 1, "mine": "theirs"}));
    let data = [("token".into(), DataValue::Plain(value.into()))];
    let (logins, extra) = (Logins::Annotation(None), ExtraLabels::new(",detail=\"of the Secret\"".to_owned(), ""));
    let view = SecretView {
        namespace: "a",
        name: "b",
        annotation: Some("token,gone"),
        data: &data,
        logins,
        picked: true,
        extra: &extra,
        version: 0,
    };
    let held = [Arc::new(Observer::new(reading).observe(&view).unwrap())];
    let snapshot = Snapshot::assemble([(&source("kubernetes", None), &held[..])], 100);
    let json = Answer::new(&snapshot, no_logins(), NOW, WEEK).json();
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    let row = &parsed["tokens"][0];
    assert_eq!((&row["state"], &row["logins"]), (&"expiring".into(), &serde_json::json!([])));
    assert_eq!((&row["expires_at_unix"], &row["issued_at"]), (&(NOW.0 + 1).into(), &serde_json::Value::Null));
    for name in names.iter().filter(|name| **name != "detail") {
        assert_eq!(row["labels"][name], "theirs", "{json}");
    }
    let error = &parsed["errors"][0];
    assert_eq!((&error["labels"]["detail"], &error["secret_key"]), (&"of the Secret".into(), &"gone".into()));
    assert!(error["detail"].as_str().unwrap().starts_with("a data key is named"), "{json}");
}

#[test]
fn json_and_csv() {
    let snapshot = mixed();
    let answer = Answer::new(&snapshot, no_logins(), NOW, WEEK);
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
    let answer = Answer::new(&snapshot, no_logins(), NOW, WEEK);
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
        Answer::new(&Snapshot::assemble([(&source("kubernetes", failure), held)], 0), no_logins(), NOW, WEEK)
            .exit_code()
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
    let with = |judged: Judged| {
        let held = [good(WEEK + 1)];
        let snapshot = Snapshot::assemble([(&source("kubernetes", None), &held[..])], 0);
        Answer::new(&snapshot, &board(vec![("a/b", "l/r", judged)]), NOW, WEEK).exit_code()
    };
    assert_eq!(with(refused(Refusal::IssuerMismatch)), 1);
    assert_eq!(with(unknown(Unknown::MountUnreachable)), 0);
    // The leeway of a minute is its own.
    assert_eq!((with(let_in_until(NOW.0 + WEEK - 60)), with(let_in_until(NOW.0 + WEEK - 59))), (1, 0));
}

#[test]
fn nothing_and_a_source_that_failed() {
    let nothing = Snapshot::assemble([(&source("manifests", None), &[][..])], 0);
    let plain = Look { width: None, colour: false };
    assert_eq!(Answer::new(&nothing, no_logins(), NOW, WEEK).table(plain), "No token.\n");
    let failed = Snapshot::assemble([(&source("kubernetes", Some("no\nway")), &[][..])], 0);
    let text = Answer::new(&failed, no_logins(), NOW, WEEK).table(plain);
    assert_eq!(text, "kubernetes: no\\nway\nNo token: 1 of 1 sources not read.\n");
}
