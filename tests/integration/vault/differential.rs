//! Generated roles and tokens: what the program says of them, and what a real OpenBao does.

use super::key::{Key, key_set};
use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::openbao::{OpenBao, ROOT};
use crate::support::real_parts::RealPart;
use crate::support::token;
use jwt_exporter::http_client::BaseUrl;
use jwt_exporter::jwt::jwk::JwkSet;
use jwt_exporter::login::{Keys, Verdict};
use jwt_exporter::redacted::Redacted;
use jwt_exporter::time::UnixSeconds;
use jwt_exporter::vault::{Entry, LivePlan, Mount, read_mount};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Of each mount; `ROLES=500` outside of a gate.
fn roles() -> usize {
    std::env::var("ROLES").ok().and_then(|roles| roles.parse().ok()).unwrap_or(48)
}

/// Of each role.
const TOKENS: usize = 12;

/// xorshift64*, so that a seed tells everything.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % most
    }

    fn one(&mut self, of: &[Value]) -> Value {
        of[self.below(of.len())].clone()
    }

    /// Sets a member, or leaves it out, as likely as each of its values.
    fn member(&mut self, object: &mut Map<String, Value>, name: &str, values: &[Value]) {
        let at = self.below(values.len() + 1);
        if let Some(value) = values.get(at) {
            object.insert(name.to_owned(), value.clone());
        }
    }

    fn role(&mut self) -> Value {
        let mut role = Map::new();
        role.insert("role_type".into(), "jwt".into());
        role.insert("user_claim".into(), self.one(&[json!("sub"), json!("sub"), json!("/user/id"), json!("email")]));
        // What is odd is rare, or nobody would get in.
        let plain = [json!(["api"]), json!("api, b"), json!(["api", "b"])];
        let odd = [json!(" api "), json!([""]), json!(["API"])];
        let audiences = if self.below(5) == 0 { odd } else { plain };
        self.member(&mut role, "bound_audiences", &audiences);
        self.member(&mut role, "user_claim_json_pointer", &[json!(true)]);
        if self.below(3) == 0 {
            role.insert("bound_claims_type".into(), "glob".into());
            self.member(
                &mut role,
                "bound_claims",
                &[
                    json!({"team": "a*"}),
                    json!({"/org/unit": ["x*y", "pay"]}),
                    json!({"/org/groups/0": "*"}),
                    json!({"groups": ["h*", "*"]}),
                    json!({"level": "*"}),
                ],
            );
        } else {
            let claims = [
                json!({"team": ["a", "b"]}),
                json!({"level": 5}),
                json!({"/org/unit": "pay"}),
                json!({"flag": true}),
                json!({"/a~1b/~0": "deep"}),
                json!({"/org/groups/01": "g"}),
                json!({"/list/-": 5}),
                json!({"a/b": {"~": "deep"}}),
                json!({"groups": []}),
                json!({"list": [5, "5"]}),
                json!({"/list/1": [4, 5]}),
                json!({"aud": "api"}),
                json!({"/aud": ["api"]}),
                json!({"level": "5"}),
                json!({"team": null}),
                json!({"x.y": "dots"}),
            ];
            if self.below(2) == 0 {
                self.member(&mut role, "bound_claims", &claims);
            }
        }
        if self.below(4) == 0 {
            self.member(
                &mut role,
                "groups_claim",
                &[json!("groups"), json!("/org/groups"), json!("aud"), json!("/list"), json!("team")],
            );
        }
        if self.below(4) == 0 {
            self.member(
                &mut role,
                "claim_mappings",
                &[
                    json!({"team": "t"}),
                    json!({"level": "l"}),
                    json!({"aud": "a"}),
                    json!({"/org/groups/0": "g", "nobody": "n"}),
                    json!(["team=t"]),
                ],
            );
        }
        for leeway in ["expiration_leeway", "not_before_leeway", "clock_skew_leeway"] {
            self.member(
                &mut role,
                leeway,
                &[json!(0), json!(-1), json!(100), json!("1m40s"), json!("-1"), json!("1h")],
            );
        }
        let bound = role.contains_key("bound_audiences") || role.contains_key("bound_claims");
        if !bound || self.below(4) == 0 {
            role.insert("bound_subject".into(), "s".into());
        }
        Value::Object(role)
    }

    /// Claims that are mostly good. No date is near an edge of any leeway.
    fn claims(&mut self, now: i64) -> Value {
        let mut claims = Map::new();
        let mostly = |chance: &mut Self, claims: &mut Map<String, Value>, name: &str, good: Value, others: &[Value]| {
            if chance.below(5) > 0 {
                claims.insert(name.to_owned(), good);
            } else {
                chance.member(claims, name, others);
            }
        };
        mostly(self, &mut claims, "iss", json!("me"), &[json!("you"), json!(5), Value::Null]);
        mostly(self, &mut claims, "sub", json!("s"), &[json!("t"), json!(""), json!(true)]);
        mostly(
            self,
            &mut claims,
            "aud",
            json!("api"),
            &[json!(["x", "b"]), json!([]), json!(""), json!(7), json!("x")],
        );
        let dates = [
            json!(1e30),
            json!(-5),
            json!(now * 1_000),
            json!(0.5),
            json!(now - 1_000),
            json!(now - 30),
            json!(0),
            json!("soon"),
            json!(now as f64 + 500.5),
        ];
        mostly(self, &mut claims, "exp", json!(now + 1_000), &dates);
        mostly(self, &mut claims, "iat", json!(now - 20), &[json!(now + 30), json!(now + 2_000), json!(now - 5_000)]);
        self.member(&mut claims, "nbf", &[json!(now - 20), json!(now - 20), json!(now + 30), json!(now + 2_000)]);
        mostly(self, &mut claims, "team", json!("a"), &[json!("abc"), json!(["b"]), json!({"x": 1}), json!(3)]);
        mostly(self, &mut claims, "level", json!(5), &[json!(5.9), json!("5"), json!([5])]);
        mostly(self, &mut claims, "flag", json!(true), &[json!("true"), json!(false)]);
        mostly(
            self,
            &mut claims,
            "org",
            json!({"unit": "pay", "groups": ["g"]}),
            &[json!({"unit": "xzy"}), json!("pay")],
        );
        mostly(self, &mut claims, "groups", json!(["g", "h"]), &[json!("g"), json!(["g", 3]), json!(4)]);
        mostly(self, &mut claims, "email", json!("e@x"), &[json!(1)]);
        mostly(self, &mut claims, "user", json!({"id": "u"}), &[json!({"id": 1}), json!("u")]);
        mostly(self, &mut claims, "list", json!(["a", 5]), &[json!([]), json!([{"x": 1}]), json!({"1": 5})]);
        mostly(self, &mut claims, "a/b", json!({"~": "deep"}), &[json!({"~0": "deep"}), Value::Null]);
        mostly(self, &mut claims, "x.y", json!("dots"), &[json!("")]);
        self.member(&mut claims, "jti", &[json!("j"), json!("j"), json!("j"), json!("j"), json!(5)]);
        if self.below(12) == 0 {
            let other = self.one(&[json!("Sub"), json!("EXP"), json!("i\u{17f}s")]);
            claims.insert(other.as_str().unwrap().to_owned(), json!("s"));
        }
        Value::Object(claims)
    }

    fn token(&mut self, (key, stranger): (&Key, &Key), now: i64) -> String {
        let claims = self.claims(now);
        let header = self.one(&[
            json!({"alg": "ES256", "kid": "a"}),
            json!({"alg": "ES256", "kid": "a", "typ": 5}),
            json!({"alg": "ES256"}),
            json!({"alg": "ES256", "kid": "a"}),
            json!({"alg": "ES256", "kid": "b"}),
            json!({"alg": "HS256", "kid": "a"}),
            json!({"alg": "ES256", "kid": "a", "crit": ["b64"], "b64": true}),
            json!({"alg": "ES256", "kid": "a", "crit": ["exp"]}),
            json!({"alg": "ES256", "kid": "A"}),
            json!({"alg": "ES256", "kid": 5}),
            json!({"alg": "ES256", "kid": "a", "jku": "https://x.test", "x5u": "https://x.test", "jwk": key.jwk()}),
            json!({"alg": "ES256", "kid": "a", "x5c": ["x"]}),
            json!({"alg": "ES384", "kid": "a"}),
            json!({"alg": "none"}),
            json!({"kid": "a"}),
        ]);
        let header = if self.below(2) == 0 { json!({"alg": "ES256", "kid": "a"}) } else { header };
        let signer = if self.below(10) == 0 { stranger } else { key };
        let token = match self.below(28) {
            0 => signer.sign_text(&header, &claims.to_string().replacen('{', "{\"sub\":\"t\",", 1)),
            1 => signer.sign_text(&header, "[]"),
            2 => signer.sign_text(&header, &format!(" {claims}\n")),
            3 => signer.sign_text(&header, &format!("{claims}x")),
            _ => signer.sign_with(&header, &claims),
        };
        match self.below(28) {
            0 => format!("{token}="),
            1 => token.replacen('.', "\n.", 1),
            2 => token.replacen('.', "", 1),
            3 => format!("{token}."),
            4 => format!(" {token}\u{2028}"),
            5 => format!("Bearer {token}"),
            _ => token,
        }
    }
}

/// What the recorded logins say of an answer's words: the reasons that were behind them.
fn reasons_by_words() -> BTreeMap<String, BTreeSet<String>> {
    let recorded: Value =
        serde_json::from_str(&crate::support::manifests::text("tests/fixtures/vault-logins/jwt-logins.json")).unwrap();
    let mut reasons: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for case in recorded.as_array().unwrap() {
        if let Some(reason) = case["reason"].as_str() {
            reasons.entry(plain(&case["errors"].to_string())).or_default().insert(reason.to_owned());
        }
    }
    // One sentence for whatever is wrong before the claims are read.
    let early = ["bad_signature", "unknown_kid", "unsupported_alg", "unsupported_header", "malformed_claims"];
    for (words, known) in &mut reasons {
        if words.contains("failed to verify id token signature") || words.contains("no known key successfully") {
            known.extend(early.map(str::to_owned));
        }
    }
    reasons
}

/// The words without names and numbers.
fn plain(errors: &str) -> String {
    let mut words = String::new();
    let mut quoted = false;
    for c in errors.replace("\\\"", "'").chars() {
        quoted ^= c == '\'';
        if !quoted && !c.is_ascii_digit() {
            words.push(c);
        }
    }
    words
}

/// Rounds of roles and tokens against one mount.
fn agree(bao: &OpenBao, path: &str, config: &Value, sets: &Keys, keys: (&Key, &Key), seed: u64) {
    println!("seed {seed}");
    let mut chance = Chance(seed);
    bao.enable(path, "jwt");
    bao.write(&format!("auth/{path}/config"), config);
    let token_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token_file.path(), ROOT).unwrap();
    for role in 0..roles() {
        let fields = chance.role();
        let (status, answer) = bao.request("POST", &format!("auth/{path}/role/R{role}"), ROOT, Some(&fields));
        assert!((200..300).contains(&status), "seed {seed}: {fields}: {answer}");
    }
    let plan = LivePlan {
        address: BaseUrl::parse(&bao.url()).unwrap(),
        mount: format!("auth/{path}"),
        roles: Vec::new(),
        ca_file: None,
        namespace: String::new(),
        entry: Entry::TokenFile(token_file.path().to_owned()),
        refresh_interval: Duration::from_secs(300),
    };
    let Mount::Jwt(mount) = read_mount(&plan, &|_| None).unwrap() else { panic!("no JWT mount") };
    assert_eq!(mount.roles.len(), roles());
    let words = reasons_by_words();
    let (mut accepted, mut by_reason, mut told) = (0, BTreeMap::<String, usize>::new(), 0);
    for role in 0..roles() {
        for _ in 0..TOKENS {
            let name = format!("r{role}");
            let jwt = chance.token(keys, token::now());
            let assessment = mount.assess(Some(&name), &Redacted::new(jwt.clone()), sets, None);
            let verdict = assessment.at(UnixSeconds(token::now()));
            let (status, errors) = bao.login(&format!("auth/{path}"), &name, &jwt);
            let about = || {
                let fields = bao.request("GET", &format!("auth/{path}/role/{name}"), ROOT, None).1;
                let claims = jwt_exporter::jwt::OpenedJwt::open(jwt.replace(['\n', '='], "").as_bytes())
                    .map(|opened| opened.claims.and_then(Result::ok).map(|text| text.to_string()));
                format!(
                    "seed {seed}: said {verdict:?}, and the server {status} {errors}\nrole {}\nclaims {claims:?}\nat {}",
                    fields["data"],
                    token::now()
                )
            };
            match verdict {
                Verdict::Accepted => {
                    accepted += 1;
                    assert_eq!(status, 200, "{}", about());
                }
                Verdict::Refused(reason) => {
                    assert_ne!(status, 200, "{}", about());
                    *by_reason.entry(reason.code().to_owned()).or_default() += 1;
                    if let Some(known) = words.get(&plain(&errors)) {
                        told += 1;
                        assert!(known.contains(reason.code()), "{known:?}\n{}", about());
                    }
                }
                Verdict::Undetermined(_) => panic!("{}", about()),
            }
        }
    }
    println!("{accepted} accepted, {told} refused in words that were recorded, {by_reason:?}");
    assert!(accepted > 0 && by_reason.len() > 6 && told > 100, "{accepted} {told} {by_reason:?}");
}

fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() & u128::from(u64::MAX >> 1)).unwrap() | 1
    })
}

#[test]
fn static_keys_agree_with_the_server() {
    require_part!(RealPart::OpenBao);
    let (bao, key, stranger) = (OpenBao::start(), Key::new("a"), Key::new("a"));
    let config = json!({"jwt_validation_pubkeys": [key.pem()], "bound_issuer": "me"});
    agree(&bao, "static", &config, &Keys::default(), (&key, &stranger), seed());
}

#[test]
fn a_key_set_agrees_with_the_server() {
    require_part!(RealPart::OpenBao);
    let (bao, key, stranger) = (OpenBao::start(), Key::new("a"), Key::new("a"));
    let set = key_set(&[&key, &Key::new("b")]);
    let sets = Keys::Sets(vec![JwkSet::parse(set.to_string().as_bytes()).unwrap()]);
    let server = FakeApiServer::start(move |_| Answer::json(200, &set));
    let config = json!({ "jwks_url": server.url() });
    agree(&bao, "urls", &config, &sets, (&key, &stranger), seed());
}
