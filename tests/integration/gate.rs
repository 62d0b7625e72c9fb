//! Clients that do it wrong, on purpose or not: the next scrape is answered all the same.

use crate::support::exporter::{Exporter, Setup};
use crate::support::{process, token, wait_for};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// In the debug build, on a machine that runs other tests beside.
const SOON: Duration = Duration::from_secs(2);

fn exporter_with(tokens: usize, roles: usize) -> Exporter {
    let roles: Vec<String> = (0..roles).map(|role| format!("role-{role}")).collect();
    let secret = |number: usize| {
        let claims = json!({"exp": token::now() + 3600, "iat": 1, "sub": format!("subject-{number}"), "roles": roles});
        json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": format!("s-{number}"), "namespace": "n"},
            "stringData": {"token": token::hs256(&claims)}})
    };
    let list = json!({"kind": "List", "apiVersion": "v1", "items": (0..tokens).map(secret).collect::<Vec<_>>()});
    let setup = Setup::new("kubernetes: false\nmanifests: [secrets.json]\n");
    std::fs::write(setup.folder().join("secrets.json"), list.to_string()).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    exporter
}

fn connect(exporter: &Exporter) -> TcpStream {
    let stream = TcpStream::connect(exporter.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream
}

/// Sends what the server takes of it, and reads what it answers; a reset counts as the end.
fn exchange(exporter: &Exporter, bytes: &[u8]) -> String {
    let mut stream = connect(exporter);
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset) => {}
        Err(error) => panic!("{error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status code of an answer.
fn status(answer: &str) -> &str {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("none")
}

fn scrape_soon(exporter: &Exporter) {
    let begun = Instant::now();
    let metrics = exporter.metrics();
    assert!(metrics.contains("jwt_exporter_token_info{"), "{metrics}");
    assert!(begun.elapsed() < SOON, "a scrape took {:?}", begun.elapsed());
}

fn threads(exporter: &mut Exporter) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", exporter.process().id())).unwrap().count()
}

#[test]
fn requests_that_are_none_are_answered_or_dropped_and_nothing_else_happens() {
    let mut exporter = exporter_with(1, 1);
    let (threads_before, memory_before) = (threads(&mut exporter), exporter.resident_bytes());
    let body = |method: &str, length: &str| format!("{method} /metrics HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
    let long_line = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(5 << 20));
    let headers = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(50_000));
    let chunks = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}", "5\r\nhello\r\n".repeat(500_000));
    let pipelined = "GET /healthz HTTP/1.1\r\n\r\n".repeat(200);
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (body("GET", "99999999999").into(), &["400"]),
        (body("GET", "9223372036854775807").into(), &["400"]),
        (body("GET", "18446744073709551615").into(), &["400"]),
        (body("POST", "99999999999").into(), &["405"]),
        (body("POST", "9223372036854775807").into(), &["405"]),
        (body("POST", "18446744073709551615").into(), &["405"]),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), &["400"]),
        (chunks.into(), &["405", "none"]),
        (long_line.into(), &["414", "none"]),
        (headers.into(), &["431", "none"]),
        (vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], &["400"]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &["400"]),
        (b"GET /\0 HTTP/1.1\r\n\r\n".to_vec(), &["400"]),
        ((0..=255).cycle().take(100_000).collect(), &["400", "none"]),
        (pipelined.into(), &["200"]),
    ];
    for (bytes, wanted) in &cases {
        let answer = exchange(&exporter, bytes);
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(wanted.contains(&status(&answer)), "{start:?}: {answer:?}");
        assert!(answer.is_empty() || answer.matches("HTTP/1.1 ").count() == 1, "{start:?}: {answer:?}");
        scrape_soon(&exporter);
    }
    assert_eq!(threads(&mut exporter), threads_before);
    let memory = exporter.resident_bytes().saturating_sub(memory_before);
    assert!(memory < 4 << 20, "{memory} bytes more than before");
}

#[test]
fn connections_that_say_nothing_or_half_of_it_do_not_keep_others_out() {
    let mut exporter = exporter_with(1, 1);
    let threads_before = threads(&mut exporter);
    let idle: Vec<TcpStream> = (0..2_000).map(|_| connect(&exporter)).collect();
    scrape_soon(&exporter);
    let halves: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = connect(&exporter);
            // One of those that were pushed out by the next.
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ");
            stream
        })
        .collect();
    scrape_soon(&exporter);
    assert_eq!(threads(&mut exporter), threads_before);
    drop(idle);
    // The head has ten seconds.
    let mut last = halves.last().unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "408");
    scrape_soon(&exporter);
}

#[test]
fn readers_that_never_read_do_not_keep_a_scrape_waiting() {
    // About 11 MB of text: more than any socket's buffers.
    let mut exporter = exporter_with(300, 30);
    let (threads_before, memory_before) = (threads(&mut exporter), exporter.resident_bytes());
    let stuck: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect(&exporter);
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            stream
        })
        .collect();
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(exporter.get("/healthz").status, 200);
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
    let metrics = exporter.metrics();
    assert!(metrics.contains("subject-299"));
    assert_eq!(threads(&mut exporter), threads_before);
    let memory = exporter.resident_bytes().saturating_sub(memory_before);
    assert!(memory < 16 << 20, "{memory} bytes more than before");
    drop(stuck);
}

#[test]
fn descriptors_that_run_out_come_back() {
    let mut exporter = exporter_with(1, 1);
    let pid = exporter.process().id();
    let limit = |soft: &str| {
        let done =
            std::process::Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={soft}:")]).status();
        assert!(done.unwrap().success());
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    limit(&(open + 5).to_string());
    let idle: Vec<TcpStream> = (0..60).map(|_| connect(&exporter)).collect();
    std::thread::sleep(Duration::from_millis(300));
    scrape_soon(&exporter);
    drop(idle);
    wait_for("a scrape after that", Duration::from_secs(10), || {
        exporter.get("/metrics").status.eq(&200).then_some(()).ok_or_else(|| "no".into())
    });
    assert!(exporter.process().exited().is_none());
    let _ = process::free_port();
}

#[test]
fn nobody_else_can_reach_what_is_behind_the_gate() {
    let mut exporter = exporter_with(1, 1);
    scrape_soon(&exporter);
    let pid = exporter.process().id();
    // Sockets that listen, by their inodes (the fourth column has the flag of a listener).
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect();
    let listening: Vec<&str> = sockets
        .lines()
        .filter(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            columns.get(3) == Some(&"00010000")
                && columns.get(6).is_some_and(|inode| own.iter().any(|own| own == inode))
        })
        .collect();
    assert!(!own.is_empty());
    assert_eq!(listening, [""; 0], "a Unix socket of ours listens");
}
