//! Watches in trouble: what is shown stays true or stays as it was, nothing is asked in a tight loop, and the source recovers
//! by itself. The program runs against a scripted API server, and against a real one where it has to be restarted.

mod again_and_again;
mod endings;
mod events;
mod freshness;
mod outages;
mod parts;
mod refusals;

use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{find, value};
use crate::support::fake_api_server::{Answer, FakeApiServer, Request};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::{token, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// So soon after the server's return the source has to work again.
const RECOVERY: Duration = Duration::from_secs(15);

/// A Secret whose token expires at its resource version, so that every state of it shows.
fn secret(name: &str, version: i64) -> Value {
    let jwt = token::hs256(&json!({"exp": version, "sub": name}));
    let metadata = json!({"name": name, "namespace": "ns", "resourceVersion": version.to_string()});
    json!({"metadata": metadata, "data": {"token": base64(jwt.as_bytes())}, "type": "Opaque"})
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// An answer to a list, in the state of a resource version, with these Secrets and the versions of their own.
fn list(version: i64, secrets: &[(&str, i64)]) -> Answer {
    let items: Vec<_> = secrets.iter().map(|(name, version)| secret(name, *version)).collect();
    let metadata = json!({"resourceVersion": version.to_string()});
    Answer::json(200, &json!({"kind": "SecretList", "apiVersion": "v1", "metadata": metadata, "items": items}))
}

/// One line of a watch.
fn event(kind: &str, object: &Value) -> Vec<u8> {
    (json!({"type": kind, "object": object}).to_string() + "\n").into_bytes()
}

fn put(name: &str, version: i64) -> Vec<u8> {
    event("MODIFIED", &secret(name, version))
}

fn deleted(name: &str, version: i64) -> Vec<u8> {
    event("DELETED", &secret(name, version))
}

fn bookmark(version: i64) -> Vec<u8> {
    event("BOOKMARK", &json!({"kind": "Secret", "metadata": {"resourceVersion": version.to_string()}}))
}

fn error_event(code: u16, reason: &str) -> Vec<u8> {
    event("ERROR", &json!({"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code}))
}

/// The watches that were answered and stay open, in their order.
#[derive(Default)]
struct Open(Vec<(Request, Sender<Vec<u8>>)>);

impl Open {
    /// An answer that goes on until the test drops it, or the server.
    fn answer(&mut self, request: &Request) -> Answer {
        let (sender, receiver) = channel();
        self.0.push((request.clone(), sender));
        Answer::feed(receiver)
    }
}

type Handler = Box<dyn FnMut(&Request, &mut Open) -> Answer + Send>;

struct Script {
    list: Handler,
    watch: Handler,
    open: Open,
    /// Requests that came, to any server of the scene.
    seen: usize,
    /// Requests may have been lost on the way.
    loses: bool,
}

/// A scripted API server whose answers a test may change at any time.
struct Scene {
    server: Option<FakeApiServer>,
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

fn is_watch(request: &Request) -> bool {
    request.query("watch").is_some()
}

impl Scene {
    /// Lists one Secret, `a`, in its state 5 at the version 10, and keeps every watch open.
    fn new() -> Self {
        let (list, watch): (Handler, Handler) =
            (Box::new(|_, _| list(10, &[("a", 5)])), Box::new(|request, open| open.answer(request)));
        let script = Arc::new(Mutex::new(Script { list, watch, open: Open::default(), seen: 0, loses: false }));
        let server = FakeApiServer::start(answers(&script));
        Self { address: server.address(), server: Some(server), script }
    }

    fn lists(&self, handler: impl FnMut(&Request, &mut Open) -> Answer + Send + 'static) {
        self.script.lock().unwrap().list = Box::new(handler);
    }

    fn watches(&self, handler: impl FnMut(&Request, &mut Open) -> Answer + Send + 'static) {
        self.script.lock().unwrap().watch = Box::new(handler);
    }

    fn watches_stay_open(&self) {
        self.watches(|request, open| open.answer(request));
    }

    fn server(&self) -> &FakeApiServer {
        self.server.as_ref().expect("the server is down")
    }

    /// Connections are refused until [`Scene::up`].
    fn down(&mut self) {
        self.script.lock().unwrap().loses = true;
        self.server = None;
        self.close_watches();
    }

    fn up(&mut self) -> Instant {
        self.server = Some(FakeApiServer::start_at(self.address, answers(&self.script)));
        Instant::now()
    }

    /// Closes every connection; new ones are welcome.
    fn cut_connections(&self) {
        self.script.lock().unwrap().loses = true;
        self.server().cut_connections();
    }

    /// Ends every open watch in an orderly way.
    fn close_watches(&self) {
        self.script.lock().unwrap().open.0.clear();
    }

    /// Sends a piece to the newest watch of a selector.
    fn send_to(&self, selector: &str, piece: Vec<u8>) {
        let script = self.script.lock().unwrap();
        let found =
            script.open.0.iter().rev().find(|(request, _)| request.query("labelSelector").as_deref() == Some(selector));
        found.expect("an open watch").1.send(piece).unwrap();
    }

    /// Sends a piece to the newest watch.
    fn send(&self, piece: Vec<u8>) {
        self.script.lock().unwrap().open.0.last().expect("an open watch").1.send(piece).unwrap();
    }

    /// Every request so far, lists or watches.
    fn asked(&self, watch: bool) -> Vec<Request> {
        self.server().requests().into_iter().filter(|request| is_watch(request) == watch).collect()
    }

    /// Waits until there were so many watches since the server's start; returns them.
    fn await_watches(&self, count: usize) -> Vec<Request> {
        wait_for("watches", LIMIT, || {
            let watches = self.asked(true);
            if watches.len() >= count { Ok(watches) } else { Err(format!("{} watches", watches.len())) }
        })
    }

    fn await_lists(&self, count: usize) -> Vec<Request> {
        wait_for("lists", LIMIT, || {
            let lists = self.asked(false);
            if lists.len() >= count { Ok(lists) } else { Err(format!("{} lists", lists.len())) }
        })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn exporter(&self, config: &str) -> Counting {
        self.start(Setup::new(config).kubeconfig(&Kubeconfig::new(self.url()).token("bearer")))
    }

    fn start(&self, setup: Setup) -> Counting {
        Counting { exporter: setup.start(), script: Arc::clone(&self.script) }
    }

    /// An exporter with a long interval that has listed, and has its watches open.
    fn followed(&self, selectors: &[&str]) -> Counting {
        let mut exporter = self.exporter(&format!("label_selectors: {selectors:?}\n"));
        exporter.wait_until_ready();
        self.await_watches(selectors.len());
        exporter
    }
}

/// An exporter whose requests were all counted by itself, as its end shows.
struct Counting {
    exporter: Exporter,
    script: Arc<Mutex<Script>>,
}

impl Deref for Counting {
    type Target = Exporter;

    fn deref(&self) -> &Exporter {
        &self.exporter
    }
}

impl DerefMut for Counting {
    fn deref_mut(&mut self) -> &mut Exporter {
        &mut self.exporter
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        wait_for("every request in jwt_exporter_kube_requests_total", LIMIT, || {
            let seen = || self.script.lock().unwrap().seen as f64;
            let before = seen();
            let samples = find(&self.exporter.metrics(), "jwt_exporter_kube_requests_total", &[]);
            let counted: f64 = samples.iter().map(|sample| sample.value).sum();
            let most = if self.script.lock().unwrap().loses { f64::MAX } else { seen() };
            if (before..=most).contains(&counted) { Ok(()) } else { Err(format!("{counted} counted, {before} seen")) }
        });
    }
}

fn answers(script: &Arc<Mutex<Script>>) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let script = Arc::clone(script);
    move |request| {
        let Script { list, watch, open, seen, .. } = &mut *script.lock().unwrap();
        *seen += 1;
        if is_watch(request) { watch(request, open) } else { list(request, open) }
    }
}

/// Requests from one moment on, however long the test took to look.
fn within(requests: &[Request], from: Instant, length: Duration) -> usize {
    requests.iter().filter(|request| request.at >= from && request.at < from + length).count()
}

fn version_asked(request: &Request) -> String {
    request.query("resourceVersion").unwrap_or_default()
}

/// Name and version of everything shown.
fn shown(metrics: &str) -> BTreeSet<(String, i64)> {
    let samples = find(metrics, "jwt_exporter_token_expiration_timestamp_seconds", &[]);
    samples.iter().map(|sample| (sample.label("secret_name").to_owned(), sample.value as i64)).collect()
}

fn state(of: &[(&str, i64)]) -> BTreeSet<(String, i64)> {
    of.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
}

fn await_state(exporter: &Exporter, awaited: &str, of: &[(&str, i64)]) -> String {
    exporter.wait_for_metrics(awaited, |metrics| shown(metrics) == state(of))
}

fn up(metrics: &str) -> f64 {
    value(metrics, "jwt_exporter_source_up", &[("source", "kubernetes")])
}

fn last_success(metrics: &str) -> f64 {
    value(metrics, "jwt_exporter_source_last_success_timestamp_seconds", &[("source", "kubernetes")])
}

/// Failures for one reason; for any with an empty one.
fn errors(metrics: &str, reason: &str) -> f64 {
    let found = find(metrics, "jwt_exporter_source_errors_total", &[]);
    found.iter().filter(|sample| reason.is_empty() || sample.label("reason") == reason).map(|sample| sample.value).sum()
}
