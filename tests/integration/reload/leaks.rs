//! Reloads without end: threads, descriptors and memory stay as they are.

use super::{Cluster, await_names, is_successful, rewrite, write_manifest};
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::value;
use crate::support::{process, wait_for};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What must not grow.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    threads: usize,
    descriptors: usize,
    series: usize,
}

fn held(exporter: &mut Exporter) -> Held {
    let metrics = exporter.metrics();
    let series = metrics.lines().filter(|line| !line.starts_with('#')).count();
    let mut count = |what: &str| {
        let folder = format!("/proc/{}/{what}", exporter.process().id());
        std::fs::read_dir(folder).unwrap().count()
    };
    Held { threads: count("task"), descriptors: count("fd"), series }
}

/// Once connections and threads that are about to end have ended.
fn settles(exporter: &mut Exporter, wanted: &Held) {
    wait_for("what was held before", LIMIT, || {
        let held = held(exporter);
        if held == *wanted { Ok(()) } else { Err(format!("{held:?}, not {wanted:?}")) }
    });
}

/// Asks for a reload and waits until it has been answered in the log.
fn reload(exporter: &mut Exporter, seen: &mut usize) {
    process::signal(exporter.process().id(), libc::SIGHUP);
    let begun = std::time::Instant::now();
    loop {
        let log = exporter.process().stderr_after(*seen);
        if let Some(answer) = log.find("read again") {
            assert!(!log.contains("[ERROR]"), "{log}");
            // Whatever else is in this line has no such words.
            *seen += answer + "read again".len();
            return;
        }
        assert!(begun.elapsed() < LIMIT, "no answer: {log}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn ten_thousand_reloads() {
    const ROUNDS: usize = 10_000;
    let setup = Setup::new("kubernetes: false\nmanifests: [one.json]\n");
    write_manifest(setup.folder(), "one.json", "one");
    write_manifest(setup.folder(), "two.json", "two");
    let mut exporter = setup.start();
    await_names(&exporter, &["one"]);
    let (mut seen, mut warm) = (exporter.log().len(), None);
    for round in 0..ROUNDS {
        let other = if round % 2 == 0 { "two" } else { "one" };
        rewrite(&exporter, &format!("kubernetes: false\nmanifests: [{other}.json]\nmax_series: {}\n", round + 5));
        reload(&mut exporter, &mut seen);
        if round % 100 == 99 {
            await_names(&exporter, &[other]);
        }
        if round == ROUNDS / 10 {
            warm = Some((held(&mut exporter), exporter.resident_bytes()));
        }
    }
    let (before, resident) = warm.unwrap();
    settles(&mut exporter, &before);
    let grown = exporter.resident_bytes().saturating_sub(resident);
    eprintln!("{before:?}, {resident} bytes resident, {grown} more after {ROUNDS} reloads");
    assert!(grown < 1 << 20, "{grown} bytes more after {ROUNDS} reloads than {resident}");
    let metrics = exporter.metrics();
    assert!(is_successful(&metrics) && value(&metrics, "jwt_exporter_error_total", &[]) == 0.0);
}

#[test]
fn hundreds_of_reloads_with_watches() {
    const ROUNDS: usize = 300;
    let cluster = Cluster::start();
    let mut exporter = Setup::new("label_selectors: [a]\n").kubeconfig(&cluster.kubeconfig()).start();
    await_names(&exporter, &["a"]);
    let config = std::fs::read_to_string(exporter.config_file()).unwrap();
    let kubeconfig = config.lines().find(|line| line.starts_with("kubeconfig_path")).unwrap().to_owned();
    let (mut seen, mut warm) = (exporter.log().len(), None);
    for round in 0..ROUNDS {
        // The one before is being watched: a thread, a connection.
        cluster.server.wait_for_requests(2 * (round + 1), LIMIT);
        let selector = if round % 2 == 0 { "b" } else { "a" };
        rewrite(&exporter, &format!("{kubeconfig}\nlabel_selectors: [{selector}]\n"));
        reload(&mut exporter, &mut seen);
        await_names(&exporter, &[selector]);
        if round == ROUNDS / 10 {
            cluster.server.wait_for_requests(2 * (round + 2), LIMIT);
            warm = Some(exporter.resident_bytes());
        }
    }
    cluster.server.wait_for_requests(2 * (ROUNDS + 1), LIMIT);
    let resident = warm.unwrap();
    // The same program with nothing behind it.
    let fresh = Setup::new("label_selectors: [a]\n").kubeconfig(&cluster.kubeconfig());
    let mut fresh = fresh.start();
    await_names(&fresh, &["a"]);
    cluster.server.wait_for_requests(2 * (ROUNDS + 2), LIMIT);
    let before = wait_for("the watch of a fresh one", LIMIT, || {
        let held = held(&mut fresh);
        if value(&fresh.metrics(), "jwt_exporter_kube_requests_total", &[("verb", "watch")]) == 1.0 {
            Ok(held)
        } else {
            Err(String::new())
        }
    });
    settles(&mut exporter, &before);
    let grown = exporter.resident_bytes().saturating_sub(resident);
    eprintln!("{before:?}, {resident} bytes resident, {grown} more after {ROUNDS} reloads");
    assert!(grown < 2 << 20, "{grown} bytes more after {ROUNDS} reloads than {resident}");
    let metrics = exporter.metrics();
    let requests = |verb: &str| value(&metrics, "jwt_exporter_kube_requests_total", &[("verb", verb)]);
    assert_eq!((requests("list"), requests("watch")), ((ROUNDS + 1) as f64, (ROUNDS + 1) as f64));
    assert_eq!(cluster.server.requests().len(), 2 * (ROUNDS + 2), "and none besides");
}
