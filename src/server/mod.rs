//! Answers scrapes, probes and people, through `tiny_http` behind a gate of our own.
//!
//! `gate` owns the public listener and lets only clean requests through; `route` says what belongs to which path, `exposition` streams `/metrics`, `pages` writes for browsers. A few threads
//! answer one request each; what they show comes from [`Published`] snapshots, so that no poll ever makes a scrape wait.

mod exposition;
mod gate;
mod gzip;
mod pages;
mod route;

pub use gzip::{Lasting, write_gzip};
pub use pages::status_page;

use crate::metrics::OwnMetrics;
use crate::published::Published;
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use gate::Reply;
use pages::Front;
use route::{Answer, Page};
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tiny_http::Request;

/// What all answers are made from.
pub struct Shown {
    /// The tokens.
    snapshot: Arc<Published<Snapshot>>,
    /// The exporter itself.
    own: OwnMetrics,
    /// Of this program, for the page.
    version: &'static str,
    /// Whether there is a page at `/`.
    status_page: Arc<AtomicBool>,
    lasting: Lasting,
}

impl Shown {
    /// Nothing has been scraped yet. `status_page`: whether there is a page at `/`; it may change while we serve.
    #[must_use]
    pub fn new(
        snapshot: Arc<Published<Snapshot>>,
        own: OwnMetrics,
        version: &'static str,
        status_page: Arc<AtomicBool>,
    ) -> Self {
        Self { snapshot, own, version, status_page, lasting: Lasting::default() }
    }
}

/// Why nothing is served.
#[derive(Debug)]
pub struct ServerError(String);

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the HTTP server: {}", self.0)
    }
}

impl std::error::Error for ServerError {}

/// Serves on `listener` from threads of its own, and returns at once with the address. If no more connections can be
/// accepted, `on_end` is called with the reason: the process must not stay alive and deaf.
///
/// # Errors
/// A listener that cannot be used, or threads that cannot be started.
pub fn start(
    listener: TcpListener,
    shown: Shown,
    on_end: impl Fn(ServerError) + Send + Sync + 'static,
) -> Result<SocketAddr, ServerError> {
    let address = listener.local_addr().map_err(|error| ServerError(error.to_string()))?;
    gate::start(
        listener,
        move |request, reply| answer(request, reply, &shown),
        move |reason| on_end(ServerError(reason)),
    )
    .map_err(|error| ServerError(error.to_string()))?;
    Ok(address)
}

/// Answers one request. A panic costs this answer and nothing else.
fn answer(request: &Request, reply: &mut Reply, shown: &Shown) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let snapshot = shown.snapshot.load();
        let (is_on, renewals) = (shown.status_page.load(Ordering::Relaxed), shown.own.renewals());
        let front = Front { version: shown.version, is_on, now: UnixSeconds::now(), renewals: &renewals };
        match route::route(request.method(), request.url(), &snapshot, &shown.own.logins(), front) {
            Answer::Exposition => exposition::respond(request, reply, &snapshot, shown),
            Answer::Page(page) => respond(reply, &page),
        }
    }));
    match outcome {
        // Whoever asked has gone away; that is their right.
        Ok(Err(error)) => log::debug!("an answer was not read to its end: {error}"),
        Ok(Ok(())) => {}
        Err(_) => {
            shown.own.count_error();
            log::error!("an answer was broken off by a defect of this program; please report the place above");
        }
    }
}

fn respond(reply: &mut Reply, page: &Page) -> std::io::Result<()> {
    let headers = [("Content-Type", page.content_type), ("X-Content-Type-Options", "nosniff")];
    let headers: Vec<_> = headers.into_iter().chain(page.headers.iter().copied()).collect();
    reply.send(page.status, &headers, &page.body)
}
