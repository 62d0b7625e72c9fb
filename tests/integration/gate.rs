//! Clients that do it wrong, on purpose or not: the next scrape is answered all the same.

use crate::support::exporter::{Exporter, Setup};
use crate::support::{token, wait_for};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// In the debug build, on a machine that runs other tests beside.
const SOON: Duration = Duration::from_secs(2);

/// Secrets in files of a few megabytes: larger ones are not read.
fn write_secrets(folder: &Path, tokens: usize, roles: usize, issuer: &str) {
    const IN_A_FILE: usize = 5_000;
    let roles: Vec<String> = (0..roles).map(|role| format!("role-{role}")).collect();
    let secret = |number: usize| {
        let claims = json!({"exp": token::now() + 3600, "iat": 1, "iss": issuer, "sub": format!("subject-{number}"),
            "roles": roles});
        json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": format!("s-{number}"), "namespace": "n"},
            "stringData": {"token": token::hs256(&claims)}})
    };
    for first in (0..tokens).step_by(IN_A_FILE) {
        let items: Vec<_> = (first..tokens.min(first + IN_A_FILE)).map(secret).collect();
        let list = json!({"kind": "List", "apiVersion": "v1", "items": items}).to_string();
        // Renamed into place: half a file is never seen.
        std::fs::write(folder.join("new"), list).unwrap();
        std::fs::rename(folder.join("new"), folder.join(format!("secrets-{first}.json"))).unwrap();
    }
}

fn setup_with(tokens: usize, roles: usize, config: &str) -> Setup {
    let setup = Setup::new(format!("kubernetes: false\nmanifests: [secrets-*.json]\n{config}"));
    write_secrets(setup.folder(), tokens, roles, "first");
    setup
}

fn exporter_with(tokens: usize, roles: usize) -> Exporter {
    let mut exporter = setup_with(tokens, roles, "").start();
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

/// tiny_http lets threads go that it does not need.
fn assert_no_more_threads(exporter: &mut Exporter, before: usize) {
    let now = threads(exporter);
    assert!(now <= before, "{now} threads, {before} before");
}

fn descriptors(exporter: &mut Exporter) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", exporter.process().id())).unwrap().count()
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
        (b"\r\n".repeat(1 << 20), &["431", "none"]),
        (pipelined.into(), &["200"]),
    ];
    for (bytes, wanted) in &cases {
        let answer = exchange(&exporter, bytes);
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(wanted.contains(&status(&answer)), "{start:?}: {answer:?}");
        assert!(answer.is_empty() || answer.matches("HTTP/1.1 ").count() == 1, "{start:?}: {answer:?}");
        scrape_soon(&exporter);
    }
    assert_no_more_threads(&mut exporter, threads_before);
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
    assert_no_more_threads(&mut exporter, threads_before);
    drop(idle);
    // The head has ten seconds.
    let mut last = halves.last().unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "408");
    scrape_soon(&exporter);
}

/// The time until the head of a scrape's answer is there.
fn scrape_begins(exporter: &Exporter) -> Duration {
    let begun = Instant::now();
    let mut stream = connect(exporter);
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut first = [0; 1 << 16];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(status(&String::from_utf8_lossy(&first)), "200");
    begun.elapsed()
}

#[test]
fn readers_that_never_read_do_not_keep_a_scrape_waiting() {
    // As many as are promised, 40,000 series in each family: some 80 MB of text.
    let mut exporter = exporter_with(20_000, 2);
    // What a scrape leaves behind is not what is measured.
    let whole = exporter.metrics().len();
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
        let begins = scrape_begins(&exporter);
        assert!(begins < SOON, "{begins:?}");
    }
    let begun = Instant::now();
    let metrics = exporter.metrics();
    // A debug build takes seconds to write so much, with or without the others.
    assert!(begun.elapsed() < SOON || cfg!(debug_assertions), "{:?}", begun.elapsed());
    assert!(metrics.len().abs_diff(whole) < 1 << 20 && metrics.contains("subject-19999"), "{}", metrics.len());
    assert_no_more_threads(&mut exporter, threads_before);
    // Twelve answers on their way: a piece of text each. What waits in the queue costs its descriptor.
    let memory = exporter.resident_bytes().saturating_sub(memory_before);
    assert!(memory < 6 << 20, "{memory} bytes more than before");
    let told = exporter.log_lines("clients were cut off");
    assert_eq!(told.len(), 1, "told once: {told:?}");
    drop(stuck);
}

#[test]
fn a_slow_reader_is_not_cut_off_while_there_is_room_for_others() {
    // Some 16 MB of text: more than the kernel takes for a client that does not read.
    let exporter = exporter_with(4_000, 2);
    let mut slow = connect(&exporter);
    slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = vec![0; 1 << 16];
    slow.read_exact(&mut answer).unwrap();
    // By now it counts as stalled.
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..50 {
        assert_eq!(exporter.get("/healthz").status, 200);
    }
    slow.read_to_end(&mut answer).expect("the whole answer");
    assert!(answer.ends_with(b"0\r\n\r\n"), "{} bytes", answer.len());
    assert_eq!(exporter.log_lines("clients were cut off"), [""; 0]);
}

#[test]
fn forty_descriptors_are_enough_when_all_of_them_are_asked_for() {
    let setup = setup_with(1, 1, "polling_interval: 1s\n").through(&["prlimit", "--nofile=40:40"]);
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", exporter.process().id())).unwrap();
    let limit = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(limit.split_whitespace().nth(3), Some("40"), "{limit}");
    let before = descriptors(&mut exporter);

    let idle: Vec<TcpStream> = (0..100).map(|_| connect(&exporter)).collect();
    wait_for("the connections are taken", Duration::from_secs(10), || {
        let open = descriptors(&mut exporter);
        if open > before { Ok(()) } else { Err(format!("{open} descriptors")) }
    });
    // An eighth is left to the sources, of which a poll that goes on just now has one or two.
    for _ in 0..20 {
        let open = descriptors(&mut exporter);
        assert!(open <= 37, "{open} descriptors");
        std::thread::sleep(Duration::from_millis(20));
    }
    scrape_soon(&exporter);
    // A poll opens files: connections leave it something.
    write_secrets(exporter.folder(), 1, 1, "second");
    exporter.wait_for_metrics("a poll", |metrics| metrics.contains("issuer=\"second\""));
    scrape_soon(&exporter);
    assert_eq!([exporter.log_lines("[ERROR]"), exporter.log_lines("[WARN]")].concat(), [""; 0]);

    drop(idle);
    wait_for("the descriptors come back", Duration::from_secs(20), || {
        let open = descriptors(&mut exporter);
        if open <= before { Ok(()) } else { Err(format!("{open} descriptors, {before} before")) }
    });
    scrape_soon(&exporter);
    assert!(exporter.process().exited().is_none());
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
