//! What the tests stand on. Nothing here uses the code under test, so that a mistake there cannot hide itself.
//!
//! | room | what it gives |
//! | --- | --- |
//! | [`real_parts`] | etcd, kube-apiserver, Prometheus, promtool, Chromium and other programs: found, or the test is skipped (with `CI=true`: fails) |
//! | [`control_plane`] | a real API server on etcd, one for all tests or one of your own to stop and restart |
//! | [`api_client`] | what its administrator does: namespaces, Secrets, grants, service-account tokens |
//! | [`kubeconfig`] | kubeconfig files with every kind of credential |
//! | [`manifests`] | the objects of the manifests that we ship, and where the API has them |
//! | [`certificates`] | certificate authorities, server and client certificates, good and bad ones |
//! | [`fake_api_server`] | a scripted HTTP server for the faults that a real one does not have |
//! | [`prometheus`] | `promtool check metrics`, and a Prometheus that scrapes |
//! | [`browser`] | a real Chromium without a window, driven and asked over its DevTools pipe |
//! | [`openbao`] | a real OpenBao, in memory |
//! | [`exporter`] | the program itself, from start to its last word |
//! | [`exposition`] | the samples of an exposition, to be asked for by name and labels |
//! | [`token`] | JSON Web Tokens that nobody will verify |
//! | [`image`] | the image, run as a pod runs it |
//! | [`http`], [`process`] | a small HTTP/1.1 client; children that never outlive us |
//!
//! A test with a real API server:
//!
//! ```ignore
//! #[test]
//! fn a_secret_is_listed() {
//!     let plane = require_control_plane!();
//!     let namespace = plane.admin().create_unique_namespace("listing");
//!     plane.admin().put_secret(&Secret::new(&namespace, "one").data("token", "..."));
//!     let kubeconfig = Kubeconfig::new(plane.url()).ca_inline(plane.ca_pem()).token(plane.admin_token());
//! }
//! ```
//!
//! The shared plane belongs to all tests at once: make your own namespace and your own label values, list by them.

// A part may wait here for the first test that needs it.
#![allow(dead_code, unreachable_pub)]

// First and with its macros: `require_control_plane!` and the others need no `use`.
#[macro_use]
pub mod real_parts;

pub mod api_client;
pub mod browser;
pub mod certificates;
pub mod control_plane;
pub mod exporter;
pub mod exposition;
pub mod fake_api_server;
pub mod http;
pub mod image;
pub mod kubeconfig;
pub mod manifests;
pub mod openbao;
pub mod process;
pub mod prometheus;
pub mod token;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A name that no other test of this run has: `prefix-PID-N`. Fit for namespaces, label values and object names.
pub fn unique_name(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Asks `attempt` again and again until it gives a value. Panics after `limit`, with what was awaited and with the last
/// reason that `attempt` gave.
pub fn wait_for<T>(awaited: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(reason) if start.elapsed() > limit => panic!("{awaited}: not within {limit:?}; last: {reason}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
