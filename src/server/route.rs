//! Which answer belongs to which method and path.

use super::pages::{self, Front};
use crate::metrics::LoginBoard;
use crate::snapshot::Snapshot;
use tiny_http::Method;

/// What is sent back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The metric families, streamed.
    Exposition,
    /// Everything that is small.
    Page(Page),
}

/// An answer that is small enough to be held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: String,
}

const TEXT: &str = "text/plain; charset=utf-8";

/// What stands behind a `?` is for the status page; elsewhere it is passed over.
pub(super) fn route(method: &Method, url: &str, snapshot: &Snapshot, logins: &LoginBoard, front: Front<'_>) -> Answer {
    if !matches!(method, Method::Get | Method::Head) {
        let body = "only GET and HEAD are answered here\n".to_owned();
        return Answer::Page(Page { status: 405, content_type: TEXT, headers: &[("Allow", "GET, HEAD")], body });
    }
    let text =
        |status, body: &str| Answer::Page(Page { status, content_type: TEXT, headers: &[], body: format!("{body}\n") });
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    match path {
        "/metrics" => Answer::Exposition,
        "/healthz" => text(200, "ok"),
        "/readyz" => match snapshot.ready() {
            Ok(()) => text(200, "ready"),
            Err(missing) => text(503, &missing),
        },
        "/" if front.is_on => Answer::Page(Page {
            status: 200,
            content_type: "text/html; charset=utf-8",
            headers: pages::HEADERS,
            body: pages::page_of(snapshot, logins, query, front),
        }),
        "/" => text(404, "the status page is switched off (status_page: false); the metrics are at /metrics"),
        _ => text(404, "there are /metrics, /healthz, /readyz and /"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SourceStatus;
    use crate::time::UnixSeconds;

    const FRONT: Front<'_> = Front { version: "1", is_on: true, now: UnixSeconds(0), renewals: &[] };

    fn status(method: Method, url: &str) -> u16 {
        let untried = SourceStatus::untried("kubernetes");
        match route(&method, url, &Snapshot::assemble([(&untried, &[][..])], 1), &LoginBoard::default(), FRONT) {
            Answer::Exposition => 0,
            Answer::Page(page) => page.status,
        }
    }

    #[test]
    fn every_path_has_its_answer() {
        for (method, url, wanted) in [
            (Method::Get, "/metrics", 0),
            (Method::Head, "/metrics?x=/", 0),
            (Method::Get, "/", 200),
            (Method::Get, "/?q", 200),
            (Method::Get, "/healthz", 200),
            (Method::Get, "/readyz", 503),
            (Method::Get, "/metrics/", 404),
            (Method::Get, "", 404),
            (Method::Get, "/favicon.ico", 404),
            (Method::Post, "/metrics", 405),
            (Method::Delete, "/nowhere", 405),
        ] {
            assert_eq!(status(method.clone(), url), wanted, "{method} {url}");
        }
    }

    #[test]
    fn not_ready_says_what_is_missing() {
        let untried = SourceStatus::untried("manifests");
        let held = Snapshot::assemble([(&untried, &[][..])], 1);
        let nothing = LoginBoard::default();
        let Answer::Page(page) = route(&Method::Get, "/readyz", &held, &nothing, FRONT) else { panic!("no page") };
        assert_eq!(page.body, "the first poll of manifests is not finished\n");
        let Answer::Page(page) = route(&Method::Get, "/readyz", &Snapshot::default(), &nothing, FRONT) else {
            panic!("no page")
        };
        assert_eq!(page.status, 200);
    }

    #[test]
    fn a_page_that_is_switched_off_is_not_there() {
        let front = Front { is_on: false, ..FRONT };
        let Answer::Page(page) = route(&Method::Get, "/?q=x", &Snapshot::default(), &LoginBoard::default(), front)
        else {
            panic!("no page")
        };
        assert_eq!((page.status, page.content_type, page.headers), (404, TEXT, &[][..]));
        assert!(page.body.contains("/metrics") && page.body.lines().count() == 1, "{}", page.body);
        assert_eq!(
            route(&Method::Get, "/metrics", &Snapshot::default(), &LoginBoard::default(), front),
            Answer::Exposition
        );
    }
}
