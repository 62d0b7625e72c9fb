use super::*;
use crate::jwt::ClaimPaths;
use crate::login::{Refusal, Unknown, Verdict};
use crate::metrics::{Judged, LoginCase};
use crate::observation::{
    Bounds, DataValue, ExtraLabels, LoginName, Logins, Observer, Reading, Reason, SecretObservation, SecretView,
};
use crate::snapshot::{ScopeStatus, SourceStatus};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::Arc;

/// 2026-11-22 04:30:00 UTC
const NOW: UnixSeconds = UnixSeconds(1_795_321_800);
const DAY: i64 = 86_400;

fn token(claims: &Value) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.c2lnbmF0dXJl", encode(r#"{"alg":"ES256"}"#), encode(&claims.to_string()))
}

fn secret(namespace: &str, name: &str, annotation: Option<&str>, value: String) -> Arc<SecretObservation> {
    let data = [("token".into(), DataValue::Plain(value.into()))];
    let view = SecretView {
        namespace,
        name,
        annotation,
        data: &data,
        picked: true,
        extra: &ExtraLabels::default(),
        logins: Logins::Annotation(None),
        version: 0,
    };
    let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 40 };
    Arc::new(Observer::new(Reading::new(ClaimPaths::default(), bounds)).observe(&view).unwrap())
}

fn source(tokens: usize) -> SourceStatus {
    let last_success = Some(NOW.plus(-90));
    SourceStatus { tried: true, up: true, last_success, tokens, secrets: tokens, ..SourceStatus::untried("kubernetes") }
}

/// Every state, every odd text.
fn mixed() -> Vec<Arc<SecretObservation>> {
    let until = |seconds: i64| json!({"iss": "https://issuer.example/", "sub": "cron", "exp": NOW.0 + seconds});
    let roles: Vec<String> = (0..20).map(|n| format!("role-{n}")).collect();
    let jwe = format!("{}.a2V5.aXY.Y2lwaGVy.dGFn", URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP"}"#));
    vec![
        secret("billing", "expired", None, token(&until(-7200))),
        secret("billing", "soon", None, token(&until(3 * DAY + 4 * 3600))),
        secret("billing", "valid", None, token(&until(90 * DAY))),
        secret(
            "datagate",
            "everything",
            None,
            token(
                &json!({"iss": "i", "sub": "s", "aud": ["a", "b"], "exp": NOW.0 + 30 * DAY, "iat": NOW.0 - 60, "nbf": NOW.0 - 60,
                "jti": "1", "name": "n".repeat(200), "email": "e@example.com", "roles": roles, "scope": "read write"}),
            ),
        ),
        secret("datagate", "later", None, token(&json!({"exp": NOW.0 + 2 * DAY, "nbf": NOW.0 + DAY}))),
        secret("datagate", "missing", Some("gone"), token(&json!({}))),
        secret("datagate", "never", None, token(&json!({"sub": 7}))),
        secret("datagate", "odd-date", None, token(&json!({"exp": NOW.0 + 9 * DAY, "iat": "yesterday"}))),
        secret("datagate", "sealed", None, jwe),
        secret(
            "hostile",
            "payloads",
            None,
            token(
                &json!({"exp": NOW.0 + 10 * DAY, "name": "<script>alert(1)</script>", "iss": "\"><img src=x onerror=alert(1)>",
                "sub": "a\u{202e}b\u{0}\n'&", "email": "</dd></table><style>*{display:none}", "jti": "javascript:alert(1)"}),
            ),
        ),
        secret("hostile", "unreadable", Some("token"), "hello".to_owned()),
    ]
}

fn snapshot(held: &[Arc<SecretObservation>]) -> Snapshot {
    let path = SecretObservation::broken(
        "/etc/tokens/<b>.yaml",
        vec![(Reason::InvalidDocument, "line 3: a tab".to_owned())],
        &ExtraLabels::default(),
    );
    let (kubernetes, broken) = (source(held.len()), [Arc::new(path)]);
    let scopes = [("billing", true), ("<gone>", false)].map(|(name, up)| ScopeStatus { name: name.into(), up });
    let manifests = SourceStatus {
        tried: true,
        failure: Some("a <file> is\u{7} not there".into()),
        scopes: scopes.into(),
        tokens: 1,
        ..SourceStatus::untried("manifests")
    };
    let files = SourceStatus::untried("files");
    Snapshot::assemble([(&kubernetes, held), (&manifests, &broken[..]), (&files, &[][..])], 1000)
}

fn page(held: &[Arc<SecretObservation>], query: &str) -> String {
    status_page(&snapshot(held), &LoginBoard::default(), query, "1.2.3", NOW)
}

/// What logins say to the tokens of [`mixed`].
fn board() -> LoginBoard {
    let case = |(place, login, verdict): (&str, &str, Verdict)| {
        let (namespace, name) = place.split_once('/').unwrap();
        let location = format!("secret_key=\"token\",secret_name=\"{name}\",secret_namespace=\"{namespace}\"");
        LoginCase::new(&location, &LoginName::parse(login).unwrap(), Judged::Always(verdict))
    };
    let cases = [
        ("billing/expired", "vault-dev/cron", Verdict::Refused(Refusal::Expired)),
        ("billing/soon", "vault-dev/cron", Verdict::Accepted),
        ("billing/soon", "cluster", Verdict::Refused(Refusal::AudienceMismatch)),
        ("billing/valid", "cluster/app", Verdict::Undetermined(Unknown::SourceAddress)),
        ("hostile/payloads", "vault-dev/<img>\"&'", Verdict::Refused(Refusal::RoleMissing)),
        // Its token is gone, and the board not yet another one.
        ("billing/gone", "cluster/app", Verdict::Refused(Refusal::Expired)),
    ];
    LoginBoard::new(cases.into_iter().map(case).collect(), Vec::new())
}

fn with_logins(query: &str) -> String {
    status_page(&snapshot(&mixed()), &board(), query, "1.2.3", NOW)
}

/// The names in the table's rows.
fn names(page: &str) -> Vec<String> {
    page.split("<bdi class=\"name\">").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

fn many(count: usize) -> Vec<Arc<SecretObservation>> {
    // Scattered, so that an order shows.
    let exp = |n: usize| NOW.0 + i64::try_from(n * 7919 % count).unwrap() * 60 + 1;
    (0..count).map(|n| secret("ns", &format!("s-{n:05}"), None, token(&json!({"exp": exp(n), "sub": n})))).collect()
}

/// Without its style, so that a golden file shows what is said. Written anew with GOLDEN=rewrite in the environment.
fn golden(name: &str, found: &str) {
    let path = format!("{}/tests/golden/page/{name}.html", env!("CARGO_MANIFEST_DIR"));
    let found = found.replace(STYLE, "");
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "rewrite") {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap_or_default(), "{path}");
}

#[test]
fn golden_pages() {
    golden("every_state", &page(&mixed(), ""));
    golden("filtered", &page(&mixed(), "q=DATAGATE&state=error&sort=namespace"));
    golden("nothing_found", &page(&mixed(), "q=%3Cb%3E%22+nobody"));
    golden("last_page", &page(&many(7), "size=3&page=99&q=ns"));
    golden("empty", &status_page(&Snapshot::default(), &LoginBoard::default(), "", "1.2.3", NOW));
}

#[test]
fn what_logins_say_stands_beside_the_token() {
    golden("logins", &with_logins("q=billing"));
    let whole = with_logins("");
    assert!(whole.contains("<title>1 expired · 3 would be refused · "), "{}", &whole[..600]);
    assert!(whole.contains("vault-dev/&lt;img&gt;&quot;&amp;&#39;") && !whole.contains("<img"), "{whole}");
    for (query, wanted) in [
        ("state=refused", &["expired", "soon", "payloads"][..]),
        ("q=audience_mismatch", &["soon"]),
        ("q=vault-dev/cron", &["expired", "soon"]),
        ("q=source+bound+known", &["valid"]),
        ("q=let+in", &[]),
    ] {
        assert_eq!(names(&with_logins(query)), wanted, "{query}");
    }
    // Without logins nobody is told of them.
    let page = page(&mixed(), "state=refused");
    assert!(!page.contains("efused</") && !page.contains("Login"), "{page}");
}

#[test]
fn that_a_bound_left_series_out_is_said() {
    let held = many(5);
    let kubernetes = source(5);
    let told = |most| {
        let snapshot = Snapshot::assemble([(&kubernetes, &held[..])], most);
        status_page(&snapshot, &LoginBoard::default(), "q=nobody", "1.2.3", NOW)
    };
    assert!(told(3).contains("<code>max_series</code> is reached: 2 of all tokens have no samples"));
    assert!(!told(5).contains("max_series"));
}

#[test]
fn soonest_first_and_what_has_no_date_last() {
    let found = names(&page(&mixed(), ""));
    assert_eq!(
        found,
        [
            "expired",
            "later",
            "soon",
            "odd-date",
            "payloads",
            "everything",
            "valid",
            "never",
            "/etc/tokens/&lt;b&gt;.yaml",
            "missing",
            "sealed",
            "unreadable"
        ]
    );
    let by_place = names(&page(&mixed(), "sort=namespace"));
    assert_eq!(by_place[1..4], ["expired", "soon", "valid"]);
}

#[test]
fn text_and_state_select() {
    for (query, wanted) in [
        ("state=expired", &["expired"][..]),
        ("state=expiring", &["soon"]),
        ("state=not_yet_valid", &["later"]),
        ("state=never_expires", &["never"]),
        ("state=unreadable&q=datagate", &["missing", "sealed"]),
        ("state=error&q=datagate", &["odd-date", "missing", "sealed"]),
        ("q=missing_key", &["missing"]),
        ("q=line+3", &["/etc/tokens/&lt;b&gt;.yaml"]),
        ("q=BILLING+cron+val", &["valid"]),
        ("q=billing/so", &["soon"]),
        ("q=role-19", &["everything"]),
        ("q=E%40EXAMPLE", &["everything"]),
        ("q=%5Cu%7B202e%7D", &["payloads"]),
        ("q=%E2%80%AE", &["payloads"]),
        ("q=secret_name", &[]),
    ] {
        assert_eq!(names(&page(&mixed(), query)), wanted, "{query}");
    }
}

#[test]
fn every_page_has_its_part_of_the_order() {
    let held = many(101);
    for order in ["expiry", "namespace"] {
        let mut all: Vec<String> = Vec::new();
        for number in 1..=8 {
            let part = names(&page(&held, &format!("sort={order}&size=13&page={number}&q=s-0")));
            assert!(part.len() <= 13);
            all.extend(part);
        }
        let mut expected: Vec<(usize, String)> = (0..101).map(|n| (n * 7919 % 101, format!("s-{n:05}"))).collect();
        if order == "expiry" {
            expected.sort();
        }
        assert_eq!(all, expected.into_iter().map(|(_, name)| name).collect::<Vec<_>>(), "{order}");
    }
}

#[test]
fn texts_from_outside_are_texts() {
    let page = page(&mixed(), "q=%22%3E%3Cscript%3E");
    assert!(page.contains(r#"value="&quot;&gt;&lt;script&gt;""#), "{page}");
    let page = self::page(&mixed(), "q=hostile");
    for part in ["<script", "<img", "onerror=alert(1)>", "</dd></table>", "\u{202e}", "\0", "\u{7}", "<gone>", "<file>"]
    {
        assert!(!page.contains(part), "{part:?}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("a\\u{202e}b\\x00\\n&#39;&amp;"));
}

#[test]
fn a_page_is_bounded_whatever_is_held() {
    let worst = "\u{2066}".repeat(512);
    let roles: Vec<String> = (0..40).map(|n| format!("{n}{worst}")).collect();
    let claims = json!({"exp": NOW.0 + 1, "iss": worst, "sub": worst, "aud": worst, "jti": worst, "name": worst, "email": worst,
        "roles": roles, "nbf": "x"});
    let held: Vec<_> = (0..300).map(|n| secret("ns", &format!("s-{n}"), None, token(&claims))).collect();
    let page = page(&held, "size=200");
    assert!(page.len() < 6_000_000, "{}", page.len());
}
