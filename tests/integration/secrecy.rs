//! No piece of a token and none of our own credentials leaves the program: not in the log at its most talkative, not in an
//! answer, not where the system shows a process.

use crate::support::api_client::Secret;
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::find;
use crate::support::fake_api_server::{Answer, FakeApiServer, Request};
use crate::support::http::Connection;
use crate::support::kubeconfig::Kubeconfig;
use crate::support::{token, unique_name};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Shorter pieces could be there by chance.
const PIECE: usize = 16;

/// Everything that a program wrote or shows, by where it was found.
pub type Written = BTreeMap<String, Vec<u8>>;

/// Asks for everything that the exporter answers, stops it, and collects all that it ever wrote.
pub fn everything_written(mut exporter: Exporter) -> Written {
    let mut written = Written::new();
    for target in ["/metrics", "/", "/healthz", "/readyz", "/nowhere", "/%00", "/metrics?x=1"] {
        for (method, encoding) in [("GET", "identity"), ("GET", "gzip"), ("HEAD", "identity"), ("POST", "identity")] {
            let answer = exporter.request(method, target, &[("Accept-Encoding", encoding)]);
            let head: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            let text = if answer.body.is_empty() { String::new() } else { answer.text() };
            written.insert(format!("{method} {target} {encoding}"), (head + &text).into_bytes());
        }
    }
    let mut broken = Connection::plain(exporter.address()).unwrap();
    broken.send_raw(b"GARBAGE\r\n\r\n").unwrap();
    if let Ok(answer) = broken.receive(false) {
        written.insert("garbage".to_owned(), answer.body);
    }
    let id = exporter.process().id();
    for file in ["environ", "cmdline", "comm", "status"] {
        written.insert(file.to_owned(), std::fs::read(format!("/proc/{id}/{file}")).unwrap());
    }
    for task in std::fs::read_dir(format!("/proc/{id}/task")).unwrap() {
        let comm = task.unwrap().path().join("comm");
        written.entry("comm".to_owned()).or_default().extend(std::fs::read(comm).unwrap_or_default());
    }
    // What the program left in its folder, besides what we put there.
    for entry in std::fs::read_dir(exporter.folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(["config.yaml", "kubeconfig", "client.key", "client.crt", "token"].contains(&name.as_str()), "{name}");
    }
    exporter.process().signal("TERM");
    exporter.process().wait(Duration::from_secs(30));
    written.insert("stdout".to_owned(), exporter.process().stdout().into_bytes());
    written.insert("stderr".to_owned(), exporter.process().stderr().into_bytes());
    assert!(!written["stderr"].is_empty());
    written
}

/// Every place where a piece of a secret stands.
pub fn found(written: &Written, secrets: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut pieces: std::collections::HashMap<&[u8], &str> = std::collections::HashMap::new();
    for (name, secret) in secrets {
        assert!(secret.len() >= PIECE, "{name} is too short to be searched for");
        pieces.extend(secret.windows(PIECE).map(|piece| (piece, name.as_str())));
    }
    let mut found = Vec::new();
    for (place, text) in written {
        // One finding per place is enough.
        let hit = text.windows(PIECE).find_map(|piece| pieces.get(piece).map(|name| (name, piece)));
        found.extend(hit.map(|(name, piece)| format!("{place}: {name}: {}", String::from_utf8_lossy(piece))));
    }
    found
}

/// What must not be found of a token: claims set and signature, as they are encoded, and the bytes of the signature. The
/// JOSE header says little and is the same in most tokens.
pub fn segments(name: &str, jwt: &str) -> Vec<(String, Vec<u8>)> {
    let parts: Vec<&str> = jwt.split('.').collect();
    let mut segments =
        vec![(format!("claims of {name}"), parts[1].into()), (format!("signature of {name}"), parts[2].into())];
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    segments.push((format!("bytes of the signature of {name}"), signature));
    // And as a Secret's `data` has them: base64 once more, in each of the three ways to fall into its groups.
    for (at, part) in [(1, "claims"), (2, "signature")] {
        for shift in 0..3 {
            let whole = parts[at].len() - shift;
            let groups = &parts[at].as_bytes()[shift..shift + whole / 3 * 3];
            segments.push((format!("{part} of {name} in `data`"), STANDARD.encode(groups).into_bytes()));
        }
    }
    segments
}

/// Pieces of PEM that are not the same in every key.
fn pem(name: &str, pem: &str) -> Vec<(String, Vec<u8>)> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    // The first bytes name the algorithm.
    let der = STANDARD.decode(&body).unwrap();
    vec![(name.to_owned(), body.as_bytes()[48..].to_vec()), (format!("bytes of {name}"), der[36..].to_vec())]
}

/// Values that hold the token and cannot be read, each in a way of its own.
fn damaged(jwt: &str) -> Vec<(&'static str, String)> {
    let (header, rest) = jwt.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    vec![
        ("cut", format!("{header}.{claims}")),
        ("extended", format!("{jwt}.{signature}")),
        ("spaced", format!("{header}.{claims}. {signature}")),
        ("twisted", format!("{claims}.{signature}.{header}")),
        ("without-header", format!("hunter.{claims}.{signature}")),
        ("signature-first", format!("{header}.{signature}.{claims}")),
        ("not-base64", format!("{header}.{claims}!.{signature}")),
        ("jwe", format!("{header}.{claims}.{signature}.{claims}.{signature}")),
        ("cookie", format!("session={jwt}; path=/")),
        ("json-cut", format!("{{\"token\":\"{jwt}\",")),
        ("json-key", format!("{{\"{claims}.{signature}\": {jwt}}}")),
        (
            "json-token-cut",
            format!("{{\"token\":\"{header}.{claims}{signature}\",\"t\":\"{header}.{signature}.{claims}\"}}"),
        ),
        ("kubeconfig", format!("apiVersion: v1\nusers:\n- name: x\n  user: {{token: {jwt}\n")),
        ("kubeconfig-wrong", format!("users: {jwt}\n")),
        ("url", format!("https://example.com/?token={jwt}")),
    ]
}

#[test]
fn one_hundred_tokens_and_no_piece_of_them_in_anything_written() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, wanted) = (admin.create_unique_namespace("secrecy"), unique_name("wanted"));
    let mut secrets = Vec::new();
    let mut hidden = vec![("our bearer token".to_owned(), plane.admin_token().as_bytes().to_vec())];
    let secret = |name: &str| Secret::new(&namespace, name).label("test", &wanted);
    for n in 0..100 {
        let jwt = token::hs256(&json!({
            "iss": "issuer", "sub": format!("subject-{n}"), "aud": ["a", "b"], "exp": token::now() + n, "iat": n,
            "jti": format!("id-{n}"), "roles": ["r", "s"], "private": format!("not exposed {n}"),
        }));
        hidden.extend(segments(&n.to_string(), &jwt));
        let value = match n % 4 {
            0 => format!("Bearer {jwt}\n"),
            1 => json!({"access_token": jwt, "n": [1]}).to_string(),
            _ => jwt,
        };
        secrets.push(secret(&format!("good-{n}")).data("token", value));
    }
    let jwt = token::hs256(&json!({"sub": "somebody", "exp": "never", "private": "not exposed, whatever happens"}));
    hidden.extend(segments("damaged", &jwt));
    let damaged = damaged(&jwt);
    for (name, value) in &damaged {
        secrets.push(secret(name).data("token", value).annotation("jwt-exporter/secret-key", "token, missing"));
        // And found by its look alone.
        secrets.push(secret(&format!("{name}-found")).data("token", value));
    }
    admin.put_secrets(&secrets);

    let config = format!("label_selectors: [\"test={wanted}\"]\npolling_interval: 500ms\nwatch: false\n");
    let setup = Setup::new(config).argument("-level").argument("trace").kubeconfig(&plane.admin_kubeconfig());
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    let good = find(&metrics, "jwt_exporter_token_info", &[("secret_namespace", &namespace)]);
    assert!(good.len() >= 100, "{metrics}");
    // Every damaged one was looked at, and what is said of it is part of what is searched.
    for (name, _) in &damaged {
        let of_secret = [("secret_namespace", namespace.as_str()), ("secret_name", name)];
        assert!(!find(&metrics, "jwt_exporter_token_error", &of_secret).is_empty(), "{name}\n{metrics}");
        assert!(!exporter.log_lines(&format!("secret_name=\"{name}\"")).is_empty(), "{name}");
    }
    // One gets better and one worse, and both are told.
    admin.put_secret(&secret("cut").data("token", "hunter2"));
    exporter.wait_for_metrics("a change", |metrics| {
        !find(metrics, "jwt_exporter_token_error", &[("secret_name", "cut"), ("reason", "no_token")]).is_empty()
    });

    let written = everything_written(exporter);
    assert!(String::from_utf8_lossy(&written["stderr"]).contains("[DEBUG]"), "the level was trace");
    assert_eq!(found(&written, &hidden), [""; 0]);

    // The search itself can find: one piece, anywhere.
    let planted = hidden[50].1[3..3 + PIECE].to_vec();
    let with_piece = Written::from([("planted".to_owned(), [b"before ", &planted[..], b" after"].concat())]);
    assert_eq!(found(&with_piece, &hidden).len(), 1);
}

#[test]
fn a_client_key_stays_where_it_is() {
    let plane = require_control_plane!();
    let wanted = unique_name("wanted");
    let identity = plane.issue_client_certificate("nobody", &[]);
    let mut hidden = pem("our client key", &identity.key_pem);
    hidden.push(("our client key, twice encoded".to_owned(), STANDARD.encode(&identity.key_pem)[100..].into()));
    let config = format!("label_selectors: [\"test={wanted}\"]\npolling_interval: 500ms\nwatch: false\n");
    let setup = Setup::new(config).argument("-level").argument("trace");
    let exporter = setup.kubeconfig(&plane.kubeconfig().certificate_inline(&identity)).start();
    // Nobody has no rights: an error is told too.
    exporter.wait_for_metrics("a refusal", |metrics| {
        !find(metrics, "jwt_exporter_source_errors_total", &[("reason", "forbidden")]).is_empty()
    });
    assert_eq!(found(&everything_written(exporter), &hidden), [""; 0]);
}

const BEARER: &str = "mF_9.B5f-4.1JqM.bearer-of-the-exporter";
const PASSWORD: &str = "correct horse battery staple";

#[test]
fn our_credentials_are_not_told_whatever_the_server_does() {
    let refusals: fn(&Request) -> Answer = |request| match request.before {
        1 => {
            // A debugging proxy: it repeats what it was sent.
            let message = format!("refused: Authorization: {}", request.header("authorization").unwrap());
            Answer::json(403, &json!({"kind": "Status", "status": "Failure", "message": message, "code": 403}))
        }
        2 => Answer::status_object(401, "Unauthorized"),
        3 => Answer::status_object(500, "InternalError"),
        _ => Answer::redirect(302, "https://user:password@elsewhere.example/login?next=x"),
    };
    let garbage: fn(&Request) -> Answer = |request| match request.before {
        1 => Answer::raw("garbage\r\n\r\n"),
        2 => Answer::raw("HTTP/1.1 200 OK\r\nContent-Le"),
        3 => Answer::new(407, &[("Proxy-Authenticate", "Basic")], ""),
        _ => Answer::new(200, &[("Content-Type", "text/html")], "<html>"),
    };
    std::thread::scope(|scope| {
        for answers in [refusals, garbage] {
            for basic in [false, true] {
                scope.spawn(move || credentials_stay_hidden(answers, basic));
            }
        }
    });
}

fn credentials_stay_hidden(answers: fn(&Request) -> Answer, basic: bool) {
    // At first a list whose item is no Secret and has a token where none belongs.
    let jwt = token::hs256(&json!({"sub": "x", "exp": 1}));
    let item = json!({"metadata": {"name": "a", "namespace": "ns", "uid": jwt}, "data": jwt});
    let items = json!({"metadata": {}, "items": [item]});
    let server = FakeApiServer::start(move |request| match request.before {
        0 => Answer::json(200, &items),
        _ => answers(request),
    });
    let kubeconfig = Kubeconfig::new(server.url());
    let kubeconfig = if basic { kubeconfig.basic_auth("exporter", PASSWORD) } else { kubeconfig.token(BEARER) };
    let setup = Setup::new("polling_interval: 300ms\n").argument("-level").argument("trace");
    let exporter = setup.kubeconfig(&kubeconfig).start();
    let requests = server.wait_for_requests(6, Duration::from_secs(60));
    let pair = STANDARD.encode(format!("exporter:{PASSWORD}"));
    let wanted = if basic { format!("Basic {pair}") } else { format!("Bearer {BEARER}") };
    assert_eq!(requests[0].header("authorization"), Some(wanted.as_str()));

    let mut hidden = segments("the Secret", &jwt);
    hidden.push(("our bearer token".to_owned(), BEARER.into()));
    hidden.push(("our password".to_owned(), PASSWORD.into()));
    hidden.push(("our password, encoded".to_owned(), pair.into_bytes()));
    hidden.push(("a password in a redirect".to_owned(), b"user:password@elsewhere".to_vec()));
    assert_eq!(found(&everything_written(exporter), &hidden), [""; 0]);
}
