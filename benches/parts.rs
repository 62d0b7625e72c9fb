//! The parts by themselves, each with its throughput: `cargo bench --bench parts`. README.md in this folder says more.

// A bench may end with a panic.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use jwt_exporter::json::{Duplicates, Value};
use jwt_exporter::jwt::{ClaimPaths, Decoder};
use jwt_exporter::kubernetes::list::read_list;
use jwt_exporter::kubernetes::object::SecretObject;
use jwt_exporter::login::{Flavour, JwtConfig, JwtMount, JwtRole, Keys, Origin, Server};
use jwt_exporter::metrics::{BuildInfo, LoginBoard, OwnMetrics, encode};
use jwt_exporter::observation::{Bounds, ExtraLabels, Logins, Observer, Reading, SecretObservation, SecretView};
use jwt_exporter::redacted::Redacted;
use jwt_exporter::server::{Lasting, status_page, write_gzip};
use jwt_exporter::snapshot::{Snapshot, SourceStatus};
use jwt_exporter::time::UnixSeconds;
use std::io::{self, Write};
use std::sync::Arc;

const ANNOTATION: &str = "jwt-exporter/secret-key";
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn main() {
    divan::main();
}

/// A token with two roles, as the cluster bench has them too.
fn token(number: usize) -> String {
    let exp = 1_800_003_600 + number;
    let claims = format!(
        r#"{{"iss":"https://issuer.example/realms/platform","sub":"service-{number:05}","aud":["api","billing"],"exp":{exp},"iat":1799990000,"nbf":1799990000,"jti":"6f0c2a4e-{number:012}","name":"Service {number}","email":"service-{number}@example.com","scope":"read","roles":["reader","writer"]}}"#
    );
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT","kid":"2024-01"}"#);
    format!("{header}.{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode([0x5a; 256]))
}

/// One Secret as the API server writes it, with its managed fields.
fn item(number: usize, data: &str) -> String {
    let namespace = number % 50;
    format!(
        r#"{{"metadata":{{"name":"secret-{number:05}","namespace":"team-{namespace:02}","uid":"0b1c9d5e-7c1f-4a55-9f0d-{number:012}","resourceVersion":"{version}","creationTimestamp":"2026-01-01T00:00:00Z","labels":{{"monitor.jwt.io/monitoring":"true"}},"annotations":{{"{ANNOTATION}":"token"}},"managedFields":[{{"manager":"kubectl","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{{"f:data":{{".":{{}},"f:token":{{}}}},"f:metadata":{{"f:annotations":{{".":{{}},"f:jwt-exporter/secret-key":{{}}}},"f:labels":{{".":{{}},"f:monitor.jwt.io/monitoring":{{}}}}}},"f:type":{{}}}}}}]}},"data":{data},"type":"Opaque"}}"#,
        version = 1000 + number,
    )
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let meta = r#""kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"99999"}"#;
    format!(r#"{{{meta},"items":[{}]}}"#, items.join(","))
}

fn token_list(count: usize) -> String {
    list((0..count).map(|number| item(number, &format!(r#"{{"token":"{}"}}"#, STANDARD.encode(token(number))))))
}

/// Helm keeps each release in a Secret of its own: here 130 KB of base64 that hold no token.
fn helm_list(count: usize) -> String {
    let release = STANDARD.encode(STANDARD.encode([0x1f; 73_000]));
    list(
        (0..count)
            .map(|number| item(number, &format!(r#"{{"release":"{release}"}}"#)).replace(ANNOTATION, "helm.sh/x")),
    )
}

fn observer() -> Observer {
    let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 100 };
    Observer::new(Reading::new(ClaimPaths::default(), bounds))
}

/// Reads a list as the source does.
fn observe(list: &str, observer: &mut Observer, picked: bool) -> Vec<Arc<SecretObservation>> {
    let mut held = Vec::new();
    let mut data = Vec::new();
    read_list(list.as_bytes(), |item| {
        let secret = SecretObject::read(item, ANNOTATION).unwrap();
        data.clear();
        let mut data = std::mem::take(&mut data);
        secret.data(&mut data).unwrap();
        let view = SecretView {
            namespace: &secret.namespace,
            name: &secret.name,
            annotation: secret.annotation.as_deref(),
            data: &data,
            logins: Logins::Annotation(None),
            picked,
            extra: &ExtraLabels::default(),
            version: secret.version,
        };
        held.extend(observer.observe(&view).map(Arc::new));
    })
    .unwrap();
    held.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    held
}

#[divan::bench]
fn decode_a_token(bencher: Bencher<'_, '_>) {
    let (token, paths, mut decoder) = (token(7), ClaimPaths::default(), Decoder::default());
    bencher.counter(BytesCount::of_str(&token)).bench_local(|| {
        black_box(decoder.decode(token.as_bytes(), &paths)).unwrap();
    });
}

/// Every Secret is new: found, decoded, kept.
#[divan::bench]
fn list_of_new_tokens(bencher: Bencher<'_, '_>) {
    let (list, mut observer) = (token_list(2_000), observer());
    bencher.counter(BytesCount::of_str(&list)).bench_local(|| observe(&list, &mut observer, true));
}

/// No Secret changed: found, and recognised by its resource version.
#[divan::bench]
fn list_of_known_tokens(bencher: Bencher<'_, '_>) {
    let list = token_list(2_000);
    bencher.counter(BytesCount::of_str(&list)).bench_local(|| {
        let mut versions = 0;
        read_list(list.as_bytes(), |item| versions ^= SecretObject::read(item, ANNOTATION).unwrap().version).unwrap();
        versions
    });
}

/// Large values without a token, which nobody picked.
#[divan::bench]
fn list_of_helm_releases(bencher: Bencher<'_, '_>) {
    let (list, mut observer) = (helm_list(100), observer());
    bencher.counter(BytesCount::of_str(&list)).bench_local(|| observe(&list, &mut observer, false));
}

struct Held {
    status: SourceStatus,
    secrets: Vec<Arc<SecretObservation>>,
}

impl Held {
    fn new(count: usize) -> Self {
        let secrets = observe(&token_list(count), &mut observer(), true);
        let status = SourceStatus {
            tried: true,
            up: true,
            last_success: Some(NOW),
            tokens: count,
            secrets: count,
            ..SourceStatus::untried("kubernetes")
        };
        Self { status, secrets }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::assemble([(&self.status, &self.secrets[..])], 250_000)
    }
}

#[divan::bench(args = [1_000, 20_000])]
fn assemble_a_snapshot(bencher: Bencher<'_, '_>, tokens: usize) {
    let held = Held::new(tokens);
    bencher.counter(ItemsCount::new(tokens)).bench_local(|| held.snapshot());
}

/// Counts what it takes, and forgets it.
#[derive(Default)]
struct Drain(u64);

impl Write for Drain {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0 += black_box(piece).len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn own() -> OwnMetrics {
    OwnMetrics::new(BuildInfo { version: "0", revision: "bench", rustc: "" }).unwrap()
}

fn plain_bytes(snapshot: &Snapshot, own: &OwnMetrics) -> BytesCount {
    let mut drain = Drain::default();
    encode(snapshot, own, NOW, &mut drain).unwrap();
    BytesCount::new(drain.0)
}

#[divan::bench(args = [1_000, 20_000])]
fn encode_plain(bencher: Bencher<'_, '_>, tokens: usize) {
    let (snapshot, own) = (Held::new(tokens).snapshot(), own());
    let bytes = plain_bytes(&snapshot, &own);
    bencher.counter(bytes).bench_local(|| encode(&snapshot, &own, NOW, &mut Drain::default()).unwrap());
}

/// One page for a browser: as it is opened, far behind, and with words to look for, which one token or none has.
#[divan::bench(args = ["", "size=200&page=90", "q=service-19999", "q=nobody+nowhere"])]
fn status_page_of_20000_tokens(bencher: Bencher<'_, '_>, query: &str) {
    let snapshot = Held::new(20_000).snapshot();
    bencher
        .counter(ItemsCount::new(20_000_usize))
        .bench_local(|| status_page(&snapshot, &LoginBoard::default(), query, "", NOW));
}

/// The first scrape of a snapshot: everything is compressed. Bytes are those of the text.
#[divan::bench(args = [1_000, 20_000])]
fn encode_gzip_first(bencher: Bencher<'_, '_>, tokens: usize) {
    let (snapshot, own) = (Arc::new(Held::new(tokens).snapshot()), own());
    bencher.counter(plain_bytes(&snapshot, &own)).bench_local(|| {
        write_gzip(&snapshot, &own, NOW, &Lasting::default(), &mut Drain::default()).unwrap();
    });
}

/// Every further one: what the clock does not change is there already. Bytes are those of the text.
#[divan::bench(args = [1_000, 20_000])]
fn encode_gzip_again(bencher: Bencher<'_, '_>, tokens: usize) {
    let (snapshot, own, lasting) = (Arc::new(Held::new(tokens).snapshot()), own(), Lasting::default());
    write_gzip(&snapshot, &own, NOW, &lasting, &mut Drain::default()).unwrap();
    bencher.counter(plain_bytes(&snapshot, &own)).bench_local(|| {
        write_gzip(&snapshot, &own, NOW, &lasting, &mut Drain::default()).unwrap();
    });
}

/// A recorded login, its role three times: `tests/fixtures/vault-logins`.
fn logins() -> (JwtMount, Redacted) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vault-logins/jwt-logins.json");
    let recorded = Value::parse(&std::fs::read(path).unwrap(), Duplicates::LastWins).unwrap();
    let Value::List(cases) = recorded else { unreachable!() };
    let id = |case: &&Value| case.member("id").and_then(Value::as_text) == Some("visible-alg-rs256");
    let case = cases.iter().find(id).unwrap();
    let server = Server::newest(Flavour::OpenBao);
    let config = JwtConfig::parse(case.member("mount_config").unwrap(), server, Origin::Written).unwrap();
    let role = JwtRole::parse(case.member("role").unwrap(), server, Origin::Written).unwrap();
    let roles = ["a", "b", "c"].map(|name| (name.to_owned(), role.clone()));
    let token = case.member("token").and_then(Value::as_text).unwrap();
    (JwtMount { server, config, roles: roles.into_iter().collect() }, Redacted::new(token.to_owned()))
}

/// 1,000 tokens with three roles each: what a poll pays for them.
#[divan::bench]
fn assess_logins(bencher: Bencher<'_, '_>) {
    let (mount, token) = logins();
    bencher.counter(ItemsCount::new(3_000usize)).bench(|| {
        for _ in 0..1_000 {
            let roles = [Some("a"), Some("b"), Some("c")];
            black_box(mount.assess_each(&roles, black_box(&token), &Keys::default(), None));
        }
    });
}

/// The same at a scrape, which only looks at the clock.
#[divan::bench]
fn tell_verdicts(bencher: Bencher<'_, '_>) {
    let (mount, token) = logins();
    let assessments: Vec<_> = (0..3_000).map(|_| mount.assess(Some("a"), &token, &Keys::default(), None)).collect();
    bencher.counter(ItemsCount::new(3_000usize)).bench(|| {
        for assessment in &assessments {
            black_box((assessment.at(black_box(NOW)), assessment.window_at(NOW)));
        }
    });
}
