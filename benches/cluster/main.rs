//! The whole program beside a real API server: `cargo bench --bench cluster [-- SIZE... every]`. README.md in the folder above says
//! what is measured and how it is to be read.

// A bench may end with a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(unreachable_pub)]

#[allow(unused_macros)]
#[path = "../../tests/integration/support/mod.rs"]
mod support;

mod exporter;
mod reference;
mod rivals;
mod seed;
mod table;

use exporter::Exporter;
use rivals::{Nginx, Tool, timed};
use seed::Cluster;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::real_parts::RealPart;
use table::Table;

/// What the tables are made for, unless sizes are named.
const SIZES: [usize; 4] = [100, 1_000, 10_000, 20_000];

/// Secrets with large values and no token, in the case "every Secret".
const HELM_RELEASES: usize = 2_000;

/// Ratios are wanted from so many tokens on. Below, starting curl takes longer than what it waits for.
const PROMISED: usize = 10_000;

const STARTS: usize = 5;
const SCRAPES: usize = 15;
const CHANGES: usize = 7;
const SLOW_SCRAPERS: usize = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this too, without the flag that `cargo bench` adds: then there is nothing to do.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let mut sizes: Vec<usize> = Vec::new();
    let mut every = false;
    for argument in arguments.iter().filter(|argument| *argument != "--bench") {
        match argument.parse() {
            Ok(size) => sizes.push(size),
            Err(_) if argument == "every" => every = true,
            Err(_) => {
                eprintln!("usage: cargo bench --bench cluster [-- SIZE... every]; {argument:?} is neither");
                std::process::exit(2);
            }
        }
    }
    if sizes.is_empty() && !every {
        (sizes, every) = (SIZES.to_vec(), true);
    }
    sizes.sort_unstable();
    let missing: Vec<String> =
        [RealPart::Etcd, RealPart::KubeApiserver].iter().filter_map(|part| part.find().err()).collect();
    let missing: Vec<String> = missing.into_iter().chain(Tool::ALL.iter().filter_map(|tool| tool.missing())).collect();
    if !missing.is_empty() {
        eprintln!("skipped: {}", missing.join("; "));
        return;
    }
    run(&sizes, every);
}

fn run(sizes: &[usize], every: bool) {
    let mut cluster = Cluster::start();
    let nginx = Nginx::start();
    let mut table = Table::new();
    for &size in sizes {
        cluster.hold_tokens(size);
        table.begin(&format!("{size} tokens, {} series in each family", 2 * size));
        first_scrape(&cluster, size, &mut table);
        scrapes(&cluster, size, &nginx, &mut table);
        memory(&cluster, size, &mut table);
        reference::beside(&cluster, size, &mut table);
    }
    if every {
        let size = sizes.last().copied().unwrap_or(20_000).max(100);
        cluster.hold_tokens(size);
        cluster.hold_helm_releases(HELM_RELEASES);
        every_secret(&cluster, size, &mut table);
        cluster.keep_tokens(100);
        every_secret(&cluster, 100, &mut table);
    }
    println!("\n{}", table.as_markdown());
}

/// From exec to the end of the first scrape that has everything, beside curl fetching the list that it begins with.
fn first_scrape(cluster: &Cluster, size: usize, table: &mut Table) {
    let wanted = |text| if size >= PROMISED { text } else { "" };
    let query = "labelSelector=monitor.jwt.io%2Fmonitoring%3Dtrue&";
    let (mut plain, mut curl, mut zipped, mut curl_zipped) = (vec![], vec![], vec![], vec![]);
    for _ in 0..STARTS {
        curl.push(timed(cluster.curl_list(query)));
        plain.push(to_first_scrape(cluster, "", size, false));
        let mut command = cluster.curl_list(query);
        command.arg("--compressed");
        curl_zipped.push(timed(command));
        zipped.push(to_first_scrape(cluster, "", size, true));
    }
    table.times("first complete scrape", &mut plain, "curl of the list", &mut curl, wanted("≤ 1.7"));
    table.times("… with the list gzipped", &mut zipped, "curl --compressed", &mut curl_zipped, "");
}

fn to_first_scrape(cluster: &Cluster, config: &str, size: usize, compression: bool) -> Duration {
    let begun = Instant::now();
    let exporter = Exporter::start_with_compression(cluster, config, compression);
    // Nobody asks it before it says that it is there: the answers would take from the time that is measured.
    exporter.wait_for_polls(1);
    exporter.wait_until_ready();
    let ready = begun.elapsed();
    ready + complete_scrape(&exporter, size)
}

/// How long a scrape takes, which must be complete.
fn complete_scrape(exporter: &Exporter, size: usize) -> Duration {
    // Not by ourselves: to hold 80 MB of text in this process takes longer than to send them.
    let took = timed(rivals::curl(&[&exporter.url()]));
    assert_eq!(series(&exporter.scrape()), 2 * size, "the first scrape must be complete");
    took
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("jwt_exporter_jwt_expiration_timestamp{")).count()
}

/// Scrapes of a quiet exporter, and changes.
fn scrapes(cluster: &Cluster, size: usize, nginx: &Nginx, table: &mut Table) {
    let wanted = |text| if size >= PROMISED { text } else { "" };
    let exporter = Exporter::start(cluster, "");
    exporter.wait_until_ready();
    let url = exporter.url();
    let mut first_gzip = vec![timed(rivals::curl(&["-H", "Accept-Encoding: gzip", &url]))];
    let text = exporter.scrape();
    let file = nginx.serve(text.as_bytes());
    let (mut plain, mut served, mut gzip, mut packed) = (vec![], vec![], vec![], vec![]);
    for _ in 0..SCRAPES {
        plain.push(timed(rivals::curl(&[&url])));
        served.push(timed(rivals::curl(&[&nginx.url()])));
        gzip.push(timed(rivals::curl(&["-H", "Accept-Encoding: gzip", &url])));
        packed.push(timed(rivals::gzip_1(&file)));
    }
    table.fact("size of a scrape", &format!("{:.1} MB", text.len() as f64 / 1e6));
    table.times("plain scrape", &mut plain, "curl of such a file from nginx", &mut served, wanted("≤ 2"));
    table.times("gzip scrape", &mut gzip, "`gzip -1` of the same", &mut packed, wanted("≤ 0.2"));
    table.times("first gzip scrape of a snapshot", &mut first_gzip, "`gzip -1` of the same", &mut packed, "");

    let mut seen = Vec::new();
    for number in 0..CHANGES {
        let expires = 4_000_000_000 + 10 * size + number;
        cluster.rotate(number * size / CHANGES, expires);
        let begun = Instant::now();
        let wanted = format!(" {expires}\n");
        // What a scrape shows is what there was when it began.
        seen.push(loop {
            let asked = begun.elapsed();
            if exporter.scrape().contains(&wanted) {
                break asked;
            }
            assert!(asked < Duration::from_secs(60), "a change never showed");
        });
    }
    table.time("PUT answered to the beginning of a scrape that shows it", &mut seen, "< 300 ms");
}

/// What is resident: a process of its own that lists every few seconds.
fn memory(cluster: &Cluster, size: usize, table: &mut Table) {
    let exporter = Exporter::start(cluster, "polling_interval: 4s\n");
    exporter.wait_for_polls(1);
    table.memory("peak memory after the list", exporter.peak(), "");
    exporter.wait_for_polls(2);
    table.memory("… after a relist", exporter.peak(), "");
    for _ in 0..3 {
        for url in [&["-H", "Accept-Encoding: gzip"][..], &[]] {
            timed(rivals::curl(&[url, &[&exporter.url()]].concat()));
        }
    }
    exporter.wait_for_polls(3);
    let wanted = if size <= 20_000 { "< 32 MiB" } else { "" };
    table.memory("… after scrapes and another", exporter.peak(), wanted);

    let exporter = Exporter::start(cluster, "");
    exporter.wait_until_ready();
    let idle_wanted = if size <= 100 { "< 8 MiB" } else { "" };
    std::thread::sleep(Duration::from_secs(1));
    table.memory("resident at rest, before any scrape", exporter.resident(), idle_wanted);
    // With what all gzipped scrapes share.
    timed(rivals::curl(&["-H", "Accept-Encoding: gzip", &exporter.url()]));
    let before = exporter.resident();
    let slow: Vec<_> = (0..SLOW_SCRAPERS).map(|_| SlowScraper::start(&exporter)).collect();
    std::thread::sleep(Duration::from_secs(3));
    let each = exporter.resident().saturating_sub(before) / SLOW_SCRAPERS as u64;
    table.memory("each of ten slow scrapers at once", each, "< 1 MiB");
    drop(slow);
}

/// The whole cluster's Secrets, most of them without a token.
fn every_secret(cluster: &Cluster, tokens: usize, table: &mut Table) {
    let all = cluster.secrets();
    table.begin(&format!("every one of {all} Secrets ({HELM_RELEASES} of Helm), {tokens} tokens kept"));
    let config = "label_selectors: []\npolling_interval: 15s\n";
    let (mut ours, mut curl, mut zipped) = (vec![], vec![], vec![]);
    for _ in 0..3 {
        curl.push(timed(cluster.curl_list("")));
        ours.push(to_first_scrape(cluster, config, tokens, false));
        zipped.push(to_first_scrape(cluster, config, tokens, true));
    }
    table.times("first complete scrape", &mut ours, "curl of the list", &mut curl, "");
    table.times("… with the list gzipped", &mut zipped, "curl of the list", &mut curl, "");
    let exporter = Exporter::start(cluster, config);
    exporter.wait_until_ready();
    exporter.scrape();
    exporter.wait_for_polls(2);
    let wanted = if tokens <= 100 { "< 12 MiB" } else { "< 36 MiB" };
    table.memory("peak memory after list, scrape and relist", exporter.peak(), wanted);
}

/// One that reads a kilobyte a second until it is dropped.
struct SlowScraper {
    connection: TcpStream,
}

impl SlowScraper {
    fn start(exporter: &Exporter) -> Self {
        let mut connection = TcpStream::connect(exporter.address()).unwrap();
        connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").unwrap();
        let mut reader = connection.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut piece = [0; 1024];
            while reader.read(&mut piece).is_ok_and(|length| length > 0) {
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        Self { connection }
    }
}

impl Drop for SlowScraper {
    fn drop(&mut self) {
        self.connection.shutdown(std::net::Shutdown::Both).ok();
    }
}
