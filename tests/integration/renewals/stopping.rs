//! Told to stop in the middle of a try: the program is gone within a second, and nobody has to wait for a claim that it left.

use super::fake_secrets::FakeSecrets;
use super::{Endpoint, LIMIT, answer, fresh, setup};
use crate::support::exporter::Exporter;
use crate::support::fake_api_server::Answer;
use crate::support::token;
use crate::support::wait_for;
use serde_json::json;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PLACE: &str = "ns/bearer";

fn secrets(before: impl Fn(&crate::support::fake_api_server::Request) + Send + Sync + 'static) -> FakeSecrets {
    FakeSecrets::start(
        &[(PLACE, &[("token", "broken")]), ("ns/admin", &[("username", "u"), ("password", "p")])],
        before,
    )
}

fn start(cluster: &FakeSecrets, endpoint: &Endpoint) -> Exporter {
    let renewal = json!({
        "secret": {"namespace": "ns", "name": "bearer", "key": "token"},
        "credentials": {"namespace": "ns", "name": "admin"},
        "request": endpoint.request("/"),
    });
    let config = "secrets: [{namespace: ns, name: bearer, key: token}]\nwatch: false\npolling_interval: 300ms\n";
    setup(config, &[renewal]).kubeconfig(&cluster.kubeconfig()).start()
}

/// It ends with exit code 0, and by itself: nothing that hangs keeps it.
fn stop(mut exporter: Exporter) -> String {
    exporter.process().signal("TERM");
    let status = exporter.process().wait(Duration::from_secs(20));
    let said = exporter.process().output();
    assert_eq!(status.code(), Some(0), "{said}");
    said
}

/// The program has less than a second, and this machine may be busy: once in several times has to be enough. Without that
/// second it never is.
fn in_time(mut try_it: impl FnMut() -> Result<(), String>) {
    let failures: Vec<String> = (0..6).map_while(|_| try_it().err()).collect();
    assert!(failures.len() < 6, "{failures:#?}");
}

#[test]
fn a_claim_is_given_up_where_the_endpoint_is_silent() {
    let until = |claim: &str| {
        let word = claim.split(' ').nth(2).and_then(jwt_exporter::time::UnixSeconds::parse_rfc3339);
        word.unwrap_or_else(|| panic!("{claim}")).0
    };
    in_time(|| {
        let cluster = secrets(|_| {});
        let silent = Endpoint::start(|_| Answer::silence());
        let exporter = start(&cluster, &silent);
        silent.server.wait_for_requests(1, LIMIT);
        let claim = cluster.claim(PLACE).unwrap();
        assert!(until(&claim) > token::now() + 60, "{claim}");
        let said = stop(exporter);
        let claim = cluster.claim(PLACE).unwrap();
        if until(&claim) > token::now() {
            return Err(format!("{claim}\n{said}"));
        }
        assert!(claim.ends_with(" after 0 failures"), "{claim}");
        assert!(said.contains("broken off, since the program stops"), "{said}");

        // The next one begins at once.
        let endpoint = Endpoint::good();
        let exporter = start(&cluster, &endpoint);
        wait_for("the token", LIMIT, || match cluster.value(PLACE, "token").split('.').count() {
            3 => Ok(()),
            _ => Err(exporter.log()),
        });
        assert!(exporter.log_lines("has time until").is_empty(), "{}", exporter.log());
        assert_eq!(cluster.claim(PLACE), None);
        Ok(())
    });
}

#[test]
fn a_token_that_has_come_is_written() {
    in_time(|| {
        // The first patch with the token waits until the program was told to stop, and fails then: it has to be made anew.
        let (arrived, tell) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let cluster = secrets(move |request| {
            if request.method == "PATCH" && String::from_utf8_lossy(&request.body).contains("\"data\"") {
                let _ = arrived.send(());
                let _ = gone.lock().unwrap().recv_timeout(LIMIT);
            }
        });
        let new = fresh();
        let handed_out = new.clone();
        let endpoint = Endpoint::start(move |_| answer(&handed_out));
        let mut exporter = start(&cluster, &endpoint);
        tell.recv_timeout(LIMIT).unwrap();
        cluster.touch(PLACE);
        exporter.process().signal("TERM");
        drop(go);
        let said = stop(exporter);
        assert_eq!(endpoint.server.requests().len(), 1, "{said}");
        if cluster.value(PLACE, "token") == new && cluster.claim(PLACE).is_none() { Ok(()) } else { Err(said) }
    });
}

#[test]
fn nothing_that_hangs_keeps_it() {
    // Everything that is sent to the API server from now on is never answered.
    let hangs = Arc::new(Mutex::new(false));
    let (hanging, (_never, nothing)) = (Arc::clone(&hangs), mpsc::channel::<()>());
    let nothing = Mutex::new(nothing);
    let cluster = secrets(move |request| {
        if request.method == "PATCH" && *hanging.lock().unwrap() {
            let _ = nothing.lock().unwrap().recv_timeout(LIMIT);
        }
    });
    let silent = Endpoint::start(|_| Answer::silence());
    let exporter = start(&cluster, &silent);
    silent.server.wait_for_requests(1, LIMIT);
    *hangs.lock().unwrap() = true;
    let begun = std::time::Instant::now();
    stop(exporter);
    // It is a second; the machine may be busy.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
