//! Told to stop, the program stops at once and says that all is well, whatever it is doing.

use crate::support::exporter::{Exporter, Setup};
use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::process::{self, Process};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// It takes some milliseconds; a machine that runs other tests beside may take longer.
const AT_ONCE: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_secs(20);

fn stops(process: &mut Process, signal: &str) {
    let begun = Instant::now();
    process.signal(signal);
    let status = process.wait(SOON);
    assert_eq!(status.code(), Some(0), "{}", process.output());
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

fn exporter_of(server: &FakeApiServer) -> Exporter {
    Setup::new("label_selectors: []\n").kubeconfig(&Kubeconfig::new(server.url()).token("bearer")).start()
}

#[test]
fn in_the_middle_of_a_list() {
    for signal in ["TERM", "INT"] {
        let server = FakeApiServer::start(|_| Answer::silence());
        let mut exporter = exporter_of(&server);
        server.wait_for_requests(1, SOON);
        stops(exporter.process(), signal);
    }
}

#[test]
fn in_the_middle_of_a_watch() {
    let (_more, feed) = mpsc::channel();
    let feed = std::sync::Mutex::new(Some(feed));
    let server = FakeApiServer::start(move |request| match request.query("watch") {
        None => Answer::json(200, &json!({"metadata": {"resourceVersion": "1"}, "items": []})),
        Some(_) => feed.lock().unwrap().take().map_or_else(Answer::silence, Answer::feed),
    });
    let mut exporter = exporter_of(&server);
    exporter.wait_until_ready();
    server.wait_for_requests(2, SOON);
    stops(exporter.process(), "TERM");
}

#[test]
fn in_the_middle_of_a_scrape_that_nobody_reads() {
    let setup = Setup::new("kubernetes: false\nmanifests: [secrets.json]\n");
    let roles: Vec<String> = (0..100).map(|role| format!("{role}-{}", "x".repeat(300))).collect();
    let jwt = crate::support::token::hs256(&json!({"exp": 1, "iat": 1, "roles": roles}));
    let secret = |number: usize| json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": format!("s-{number}")}, "stringData": {"t": jwt}});
    let list = json!({"kind": "List", "apiVersion": "v1", "items": (0..300).map(secret).collect::<Vec<_>>()});
    std::fs::write(setup.folder().join("secrets.json"), list.to_string()).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    let mut client = TcpStream::connect(exporter.address()).unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut first = [0; 100];
    std::io::Read::read_exact(&mut client, &mut first).unwrap();
    stops(exporter.process(), "TERM");
}

#[test]
fn a_crash_leaves_no_core() {
    let mut exporter = Setup::new("kubernetes: false\n").start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", exporter.process().id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[test]
fn as_the_first_process_of_a_container() {
    // PID 1 has no default action for signals: one that is not taken care of is lost.
    let may = Command::new("unshare").args(["--pid", "--fork", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("skipped: as_the_first_process_of_a_container: this needs the right to make a process namespace");
        return;
    }
    let folder = process::folder("first-process");
    let config = folder.path().join("config.yaml");
    let port = process::free_port();
    std::fs::write(&config, format!("address: 127.0.0.1:{port}\nkubernetes: false\n")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", env!("CARGO_BIN_EXE_jwt-exporter"), "-config"]).arg(&config);
    let mut unshare = Process::start(command);
    crate::support::wait_for("it serves", SOON, || {
        TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
    });
    // The child of `unshare` is the program; from here it has an ordinary number.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", unshare.id())).unwrap();
    let begun = Instant::now();
    assert!(Command::new("kill").args(["-s", "TERM", children.trim()]).status().unwrap().success());
    assert_eq!(unshare.wait(SOON).code(), Some(0), "{}", unshare.output());
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}
