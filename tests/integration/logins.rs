//! Every recorded login, replayed at its instant: verdict, reason and window as the real server gave them. What the recordings are
//! is told in `tests/fixtures/vault-logins/README.md`.

use jwt_exporter::json::{Duplicates, Value as Fields};
use jwt_exporter::jwt::jwk::JwkSet;
use jwt_exporter::login::{
    Assessment, Facts, Flavour, JwtConfig, JwtMount, JwtRole, KeySource, Keys, KubernetesConfig, KubernetesMount,
    KubernetesRole, NamespaceLabels, Origin, Refusal, Review, Server, SettingsError, Unknown, Verdict,
};
use jwt_exporter::redacted::Redacted;
use jwt_exporter::time::UnixSeconds;
use serde_json::Value;
use std::collections::BTreeMap;

/// Recordings whose answer this program cannot know, and what it says instead.
const UNDETERMINED: &[(&str, Unknown)] = &[
    // The key is on P-521, for which there is no code here.
    ("visible-alg-es512", Unknown::AlgorithmUnsupported),
    // SHA-512 with a smaller curve, and RSA parameters that `ring` does not have.
    ("key-es512-p384", Unknown::AlgorithmUnsupported),
    ("key-rs384-1024", Unknown::AlgorithmUnsupported),
    ("key-ps256-1024", Unknown::AlgorithmUnsupported),
    ("key-ps256-salt0", Unknown::AlgorithmUnsupported),
    ("key-ps256-salt100", Unknown::AlgorithmUnsupported),
];

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/fixtures/vault-logins/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn fields(json: &Value) -> Fields {
    Fields::parse(json.to_string().as_bytes(), Duplicates::LastWins).unwrap()
}

fn server() -> Server {
    Server { flavour: Flavour::OpenBao, version: Some((2, 7, 2)) }
}

fn roles<R>(case: &Value, role: Option<R>) -> BTreeMap<String, R> {
    let name = case["role_name"].as_str().unwrap().to_lowercase();
    role.map(|role| (name, role)).into_iter().collect()
}

/// The keys behind a source, from the documents that were served.
fn keys(case: &Value, source: &KeySource) -> Keys {
    let document = |url: &str| case["jwks"].get(url).map(ToString::to_string);
    let set = |url: &str| match document(url).map(|document| JwkSet::parse(document.as_bytes())) {
        Some(Ok(set)) => Keys::Sets(vec![set]),
        Some(Err(_)) => Keys::Unusable,
        None => Keys::Unavailable,
    };
    match source {
        KeySource::Static(_) => Keys::default(),
        KeySource::JwksUrl(endpoint) => set(&endpoint.url),
        KeySource::Discovery(endpoint) => {
            let base = endpoint.url.strip_suffix('/').unwrap_or(&endpoint.url);
            let discovery = case["jwks"].get(format!("{base}/.well-known/openid-configuration"));
            let url = discovery.and_then(|document| document["jwks_uri"].as_str());
            // Some recordings kept the key set alone.
            let url = url.map(str::to_owned).or_else(|| {
                let served = case["jwks"].as_object()?;
                served.iter().find(|(_, document)| document.get("keys").is_some()).map(|(url, _)| url.clone())
            });
            url.map_or(Keys::Unavailable, |url| set(&url))
        }
        other => panic!("{other:?}"),
    }
}

fn jwt(case: &Value) -> Result<Assessment, (&'static str, SettingsError)> {
    let config = JwtConfig::parse(&fields(&case["mount_config"]), server(), Origin::Written);
    let config = config.map_err(|error| ("config", error))?;
    let role = (!case["role"].is_null()).then(|| JwtRole::parse(&fields(&case["role"]), server(), Origin::Written));
    let role = role.transpose().map_err(|error| ("role", error))?;
    let mount = JwtMount { server: server(), config, roles: roles(case, role) };
    let keys = keys(case, &mount.config.keys);
    let source = case["client_address"].as_str().map(|address| address.parse().unwrap());
    let (role, token) = (case["login_role"].as_str(), token(case));
    let assessment = mount.assess(role, &token, &keys, source);
    // Beside other roles, and with nothing in words, it comes to the same.
    let each = mount.assess_each(&[Some("nobody"), role, role], &token, &keys, source);
    let edges = assessment.window().into_iter().flat_map(|window| [window.from, window.until]).flatten();
    for now in edges.chain([UnixSeconds(0), UnixSeconds(1_800_000_000), UnixSeconds(i64::MAX)]) {
        for (same, before) in [(&each[1], 0), (&each[2], -1)] {
            let now = UnixSeconds(now.0.saturating_add(before));
            assert_eq!(same.at(now), assessment.at(now), "{}", case["id"]);
            assert_eq!(same.window_at(now), assessment.window_at(now), "{}", case["id"]);
            assert_eq!(same.explain(now), [], "{}", case["id"]);
        }
    }
    assert_eq!(each[0].at(UnixSeconds(0)), Verdict::Refused(Refusal::RoleMissing));
    Ok(assessment)
}

fn token(case: &Value) -> Redacted {
    Redacted::new(case["token"].as_str().unwrap_or_default().to_owned())
}

fn kubernetes(case: &Value, reviewed: bool) -> Result<Assessment, (&'static str, SettingsError)> {
    let config = KubernetesConfig::parse(&fields(&case["mount_config"]), Origin::Written);
    let config = config.map_err(|error| ("config", error))?;
    let role = (!case["role"].is_null()).then(|| KubernetesRole::parse(&fields(&case["role"]), Origin::Written));
    let role = role.transpose().map_err(|error| ("role", error))?;
    let mount = KubernetesMount { server: server(), config, roles: roles(case, role) };
    let labels: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_value(case["namespace_labels"].clone()).unwrap_or_default();
    let told = &case["token_review"];
    let review = match told["authenticated"].as_bool().unwrap_or(false) && told["reviewer_allowed"] == true {
        true => Review::Authenticated {
            username: told["user"]["username"].as_str().unwrap().to_owned(),
            uid: told["user"]["uid"].as_str().unwrap_or_default().to_owned(),
        },
        false => Review::Refused,
    };
    let facts = Facts {
        source: case["client_address"].as_str().map(|address| address.parse().unwrap()),
        labels: &|namespace| labels.get(namespace).map_or(NamespaceLabels::Missing, NamespaceLabels::Known),
        review: reviewed.then_some(&review),
    };
    Ok(mount.assess(case["login_role"].as_str(), &token(case), facts))
}

/// What the assessment says at an instant, in the words of the recordings.
fn said(assessment: &Assessment, now: UnixSeconds) -> (String, Option<i64>, Option<i64>) {
    let reason = match assessment.at(now) {
        Verdict::Accepted => "accepted",
        Verdict::Refused(refusal) => refusal.code(),
        Verdict::Undetermined(unknown) => unknown.code(),
    };
    let window = assessment.window_at(now);
    let edge = |edge: Option<Option<UnixSeconds>>| edge.flatten().map(|at| at.0);
    (reason.to_owned(), edge(window.map(|window| window.from)), edge(window.map(|window| window.until)))
}

fn wanted(answer: &Value) -> (String, Option<i64>, Option<i64>) {
    let text = answer["reason"].as_str().unwrap().to_owned();
    (text, answer["accepted_from"].as_i64(), answer["accepted_until"].as_i64())
}

/// One line for every recording that does not come out as it was, and the number of those that do.
fn replay(
    cases: &[Value],
    assess: impl Fn(&Value) -> Result<Assessment, (&'static str, SettingsError)>,
) -> (usize, Vec<String>) {
    let (mut right, mut wrong) = (0, Vec::new());
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let now = UnixSeconds(case["now"].as_i64().unwrap());
        let stage = case["stage"].as_str().unwrap();
        let outcome = match assess(case) {
            Err((refused, error)) => {
                let reason = case["errors"][0].as_str().unwrap_or_default();
                let same = refused == stage && error.to_string().contains(reason.split(':').next().unwrap());
                if same { Ok(()) } else { Err(format!("{refused} refused: {error}; the server: {stage} {reason}")) }
            }
            Ok(_) if stage != "login" => Err(format!("{stage} was refused: {}", case["errors"])),
            Ok(assessment) => {
                let said = said(&assessment, now);
                let unknown = UNDETERMINED.iter().find(|(known, _)| *known == id);
                let wanted = match unknown {
                    Some((_, unknown)) => (unknown.code().to_owned(), said.1, said.2),
                    None => wanted(case),
                };
                if said == wanted { Ok(()) } else { Err(format!("{said:?}, the server: {wanted:?}")) }
            }
        };
        match outcome {
            Ok(()) => right += 1,
            Err(line) => wrong.push(format!("{id}: {line}")),
        }
    }
    (right, wrong)
}

#[test]
fn every_recorded_jwt_login_is_predicted() {
    let (right, wrong) = replay(&cases("jwt-logins.json"), jwt);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!(right, 144);
}

#[test]
fn every_recorded_kubernetes_login_is_predicted() {
    let (right, wrong) = replay(&cases("kubernetes-logins.json"), |case| kubernetes(case, true));
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!(right, 35);
}

/// Edges of parsing, keys and settings, recorded without a window: accepted or not, for which reason, or which write is refused.
#[test]
fn every_recorded_edge_is_predicted() {
    let cases = cases("openbao-edges.json");
    let mut wrong = Vec::new();
    for case in &cases {
        let (id, stage) = (case["id"].as_str().unwrap(), case["stage"].as_str().unwrap());
        let reason = case["reason"].as_str().unwrap();
        let now = UnixSeconds(case["now"].as_i64().unwrap());
        let said = match jwt(case) {
            Err((stage, _)) => format!("invalid_{stage}"),
            Ok(assessment) => said(&assessment, now).0,
        };
        let unknown = UNDETERMINED.iter().find(|(known, _)| *known == id);
        // A server asks for the keys when the config is written already.
        let stages = stage == "login" || reason == "keys_unavailable" || reason == format!("invalid_{stage}");
        if said != unknown.map_or(reason, |(_, unknown)| unknown.code()) || !stages {
            wrong.push(format!("{id}: {said}, the server: {stage} {reason} {}", case["errors"]));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!(cases.len(), 645);
}

/// The two servers differ where the rules say so.
#[test]
fn vault_and_openbao_differ() {
    let cases = cases("openbao-edges.json");
    let assess = |id: &str, flavour| {
        let case = cases.iter().find(|case| case["id"] == id).unwrap();
        let server = Server::newest(flavour);
        let config = JwtConfig::parse(&fields(&case["mount_config"]), server, Origin::Written).unwrap();
        let role = JwtRole::parse(&fields(&case["role"]), server, Origin::Written).unwrap();
        let keys = keys(case, &config.keys);
        let mount = JwtMount { server, config, roles: roles(case, Some(role)) };
        let now = UnixSeconds(case["now"].as_i64().unwrap());
        said(&mount.assess(case["login_role"].as_str(), &token(case), &keys, None), now).0
    };
    for (id, openbao, vault) in [
        ("static-unbound-aud-emptystr", "audience_missing_in_role", "accepted"),
        ("static-unbound-aud-listempty", "audience_missing_in_role", "audience_missing_in_role"),
        ("static-map-aud", "claim_mapping_not_string", "accepted"),
        ("static-uc-aud-ptr", "user_claim_not_string", "accepted"),
        ("static-tmpl-miss", "policy_template_failed", "accepted"),
        ("jwks-good", "accepted", "accepted"),
    ] {
        assert_eq!(assess(id, Flavour::OpenBao), openbao, "{id}");
        assert_eq!(assess(id, Flavour::Vault), vault, "{id}");
    }
    let pairs = serde_json::json!({"jwks_pairs": [{"jwks_url": "https://a/"}, {"jwks_url": "https://b/"}]});
    let parse = |json: &Value, flavour| JwtConfig::parse(&fields(json), Server::newest(flavour), Origin::Written);
    assert!(parse(&pairs, Flavour::OpenBao).is_err());
    assert!(matches!(parse(&pairs, Flavour::Vault).unwrap().keys, KeySource::JwksPairs(pairs) if pairs.len() == 2));
    for more in ["bound_issuer", "jwks_ca_pem"] {
        let mut pairs = pairs.clone();
        pairs[more] = "x".into();
        assert!(parse(&pairs, Flavour::Vault).is_err(), "{more}");
    }
}

/// With several sets a kid is mandatory, and chooses across all of them.
#[test]
fn pairs_of_key_sets_need_a_kid() {
    let cases = cases("openbao-edges.json");
    for (id, wanted) in [
        ("jwks-good", Verdict::Refused(Refusal::UnknownKid)),
        ("jwks-kid-main", Verdict::Accepted),
        ("jwks-kid-MAIN", Verdict::Refused(Refusal::UnknownKid)),
    ] {
        let case = cases.iter().find(|case| case["id"] == id).unwrap();
        let server = Server::newest(Flavour::Vault);
        let fetched = KeySource::JwksUrl(jwt_exporter::login::Endpoint {
            url: case["mount_config"]["jwks_url"].as_str().unwrap().to_owned(),
            ca_pem: String::new(),
        });
        let Keys::Sets(mut sets) = keys(case, &fetched) else { panic!("no keys") };
        sets.insert(0, JwkSet::default());
        let pairs = serde_json::json!({"jwks_pairs": [{"jwks_url": "https://a/"}, {"jwks_url": "https://b/"}]});
        let config = JwtConfig::parse(&fields(&pairs), server, Origin::Written).unwrap();
        let role = JwtRole::parse(&fields(&case["role"]), server, Origin::Written).unwrap();
        let mount = JwtMount { server, config, roles: roles(case, Some(role)) };
        let now = UnixSeconds(case["now"].as_i64().unwrap());
        assert_eq!(mount.assess(Some("R"), &token(case), &Keys::Sets(sets), None).at(now), wanted, "{id}");
        let unfetched = mount.assess(Some("r"), &token(case), &Keys::Unavailable, None);
        assert_eq!(unfetched.at(now), Verdict::Undetermined(Unknown::KeysUnavailable));
    }
}

/// A role that is bound to addresses is not judged without one, and what comes before is.
#[test]
fn an_unknown_source_address_is_said() {
    let cases = cases("jwt-logins.json");
    let case = cases.iter().find(|case| case["id"] == "visible-cidr-only-bound").unwrap();
    let mut case = case.clone();
    case["client_address"] = Value::Null;
    let now = UnixSeconds(case["now"].as_i64().unwrap());
    assert_eq!(jwt(&case).unwrap().at(now), Verdict::Undetermined(Unknown::SourceAddress));
    case["token"] = "".into();
    assert_eq!(jwt(&case).unwrap().at(now), Verdict::Refused(Refusal::MissingToken));
    case["login_role"] = "another".into();
    assert_eq!(jwt(&case).unwrap().at(now), Verdict::Refused(Refusal::RoleMissing));
}

/// The time stands in the middle: what fails before it hides it, what fails behind it is hidden while the time is wrong.
#[test]
fn the_time_hides_what_is_checked_behind_it() {
    let cases = cases("jwt-logins.json");
    let at = |id: &str, at: fn(i64, i64) -> i64| {
        let case = cases.iter().find(|case| case["id"] == id).unwrap();
        let reference = cases.iter().find(|case| case["id"] == "visible-alg-rs256").unwrap();
        let edge = |name: &str| reference[name].as_i64().unwrap();
        let now = UnixSeconds(at(edge("accepted_from"), edge("accepted_until")));
        let assessment = jwt(case).unwrap();
        (said(&assessment, now).0, assessment.window_at(now).is_some())
    };
    let behind = "visible-bc-string-mismatch";
    assert_eq!(at(behind, |from, _| from), ("claim_mismatch".to_owned(), false));
    assert_eq!(at(behind, |_, until| until - 1), ("claim_mismatch".to_owned(), false));
    assert_eq!(at(behind, |_, until| until), ("expired".to_owned(), true));
    assert_eq!(at(behind, |from, _| from - 1), ("not_yet_valid".to_owned(), true));
    let before = "visible-aud-mismatch";
    assert_eq!(at(before, |_, until| until + 1), ("audience_mismatch".to_owned(), false));
}

/// Without an answer of the cluster the local checks speak alone; where they let the token pass, nobody guesses.
#[test]
fn before_the_review_only_the_local_checks_speak() {
    for case in cases("kubernetes-logins.json") {
        if case["stage"] != "login" {
            continue;
        }
        let id = &case["id"];
        let now = UnixSeconds(case["now"].as_i64().unwrap());
        let assessment = kubernetes(&case, false).unwrap();
        let (reason, from, until) = said(&assessment, now);
        let mut wanted = wanted(&case["before_review"]);
        if wanted.0 == "accepted" {
            wanted.0 = "review_unavailable".to_owned();
        }
        assert_eq!((reason, from, until), wanted, "{id}");
        let audiences = assessment.review_needed().map(|request| request.audiences.clone());
        if wanted.0 == "review_unavailable" {
            let asked: Vec<String> = serde_json::from_value(case["token_review"]["audiences_asked"].clone()).unwrap();
            assert_eq!(audiences, Some(asked), "{id}");
        }
    }
}

/// The edges that were watched on the clock, to the second.
#[test]
fn watched_edges_lie_where_the_verdict_flips() {
    let mut watched = 0;
    for case in cases("jwt-logins.json").iter().chain(&cases("kubernetes-logins.json")) {
        let Some(observed) = case["observed"].as_object() else { continue };
        let assessment = if case["mount_config"].get("kubernetes_host").is_some() {
            kubernetes(case, true).unwrap()
        } else {
            jwt(case).unwrap()
        };
        let at = |name: &str| UnixSeconds(observed[name].as_f64().unwrap() as i64);
        if observed["edge"] == "accepted_until" {
            assert_eq!(assessment.at(at("last_accepted_sent_at")), Verdict::Accepted);
            assert_eq!(assessment.at(at("first_refused_answered_at")), Verdict::Refused(Refusal::Expired));
        } else {
            assert_eq!(assessment.at(at("last_refused_sent_at")), Verdict::Refused(Refusal::NotYetValid));
            // The API server had refused it at the time, and was not asked again.
            if case["token_review"].is_null() {
                assert_eq!(assessment.at(at("first_accepted_answered_at")), Verdict::Accepted);
            }
        }
        watched += 1;
    }
    assert!(watched >= 9, "{watched}");
}

/// What is told of a login holds no token and no signature.
#[test]
fn explanations_hold_no_piece_of_the_token() {
    for case in cases("jwt-logins.json") {
        let (Ok(assessment), token) = (jwt(&case), token(&case)) else { continue };
        let now = UnixSeconds(case["now"].as_i64().unwrap());
        let shown = format!("{:?} {assessment:?}", assessment.explain(now));
        for segment in token.expose().split('.').filter(|segment| segment.len() > 8) {
            assert!(!shown.contains(segment), "{}", case["id"]);
        }
        let last = assessment.explain(now).pop().unwrap();
        assert_eq!(last.verdict == Verdict::Accepted, assessment.at(now) == Verdict::Accepted, "{}", case["id"]);
    }
}
