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
use flate2::read::GzDecoder;
use rivals::{Nginx, Tool, timed};
use seed::Cluster;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::real_parts::RealPart;
use table::Table;

/// What the tables are made for, unless sizes are named.
const SIZES: [usize; 4] = [100, 1_000, 10_000, 20_000];

/// Secrets with large values and no token, in the case "every Secret": one for so many tokens.
const TOKENS_PER_HELM_RELEASE: usize = 10;

/// Up to this size all tokens are changed at once: to write them takes some minutes.
const MOST_CHANGED: usize = 20_000;

/// Ratios are wanted from so many tokens on. Below, starting curl takes longer than what it waits for.
const PROMISED: usize = 10_000;

const STARTS: usize = 5;
const SCRAPES: usize = 15;
const CHANGES: usize = 7;
const SELECTORS: usize = 5;
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
        changes(&cluster, size, &mut table);
        memory(&cluster, size, &mut table);
        slow_scrapers(&cluster, size, &mut table);
        if size <= MOST_CHANGED {
            changed_relist(&cluster, size, &mut table);
        }
        reference::beside(&cluster, size, &mut table);
    }
    if every {
        let size = sizes.last().copied().unwrap_or(20_000).max(100);
        cluster.hold_tokens(size);
        cluster.hold_helm_releases(size / TOKENS_PER_HELM_RELEASE);
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
    text.lines().filter(|line| is_series(line)).count()
}

fn is_series(line: &str) -> bool {
    line.starts_with("jwt_exporter_jwt_expiration_timestamp{")
}

/// Scrapes of a quiet exporter.
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
}

/// How long it takes until a change shows, with one selector and with several that share the tokens.
fn changes(cluster: &Cluster, size: usize, table: &mut Table) {
    let several: Vec<String> = (0..SELECTORS).map(seed::selector_of_part).collect();
    let wanted = if size <= MOST_CHANGED { "< 300 ms" } else { "" };
    for (selectors, config) in [("one selector", String::new()), ("five", format!("label_selectors: {several:?}\n"))] {
        let exporter = Exporter::start(cluster, &config);
        exporter.wait_until_ready();
        let mut seen: Vec<Duration> =
            (0..CHANGES).map(|number| change(cluster, number * size / CHANGES, &exporter)).collect();
        let what = format!("PUT answered to the beginning of a scrape that shows it, {selectors}");
        table.time(&what, &mut seen, wanted);
    }
}

/// Gives a token a date that none has had; from the answer until a scrape begins that shows it.
fn change(cluster: &Cluster, number: usize, exporter: &Exporter) -> Duration {
    let wanted = format!(" {}\n", cluster.rotate(number));
    let begun = Instant::now();
    // What a scrape shows is what there was when it began.
    loop {
        let asked = begun.elapsed();
        if exporter.scrape().contains(&wanted) {
            return asked;
        }
        assert!(asked < Duration::from_secs(60), "a change never showed");
    }
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
}

/// Scrapers at once that take long to read their answers, each of another snapshot.
fn slow_scrapers(cluster: &Cluster, size: usize, table: &mut Table) {
    let exporter = Exporter::start(cluster, "");
    exporter.wait_until_ready();
    // With what all scrapes share, and the changes.
    for number in 0..SLOW_SCRAPERS {
        change(cluster, number, &exporter);
    }
    timed(rivals::curl(&["-H", "Accept-Encoding: gzip", &exporter.url()]));
    let before = exporter.resident();
    let slow: Vec<_> = (0..SLOW_SCRAPERS)
        .map(|number| {
            let scraper = SlowScraper::start(&exporter);
            change(cluster, number, &exporter);
            scraper
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    let each = exporter.resident().saturating_sub(before) / SLOW_SCRAPERS as u64;
    let served = slow.iter().filter(|scraper| scraper.is_being_served()).count();
    for scraper in slow {
        assert_eq!(scraper.hurry(), 2 * size, "a slow scraper must get its whole snapshot");
    }
    let what = format!("each of ten slow scrapers at once, a change before each ({served} still being served)");
    table.memory(&what, each, "< 1 MiB");
}

/// All tokens change between two lists, and nothing can be carried over.
fn changed_relist(cluster: &Cluster, size: usize, table: &mut Table) {
    let exporter = Exporter::start(cluster, "watch: false\npolling_interval: 10s\n");
    exporter.wait_for_polls(1);
    let before = exporter.peak();
    // It must not list while they are written.
    exporter.while_it_sleeps(|| cluster.change_all());
    exporter.wait_for_polls(2);
    table.memory("peak memory after a list, not watched", before, "");
    let wanted = if size <= 20_000 { "< 32 MiB" } else { "" };
    table.memory("… after a relist in which every token changed", exporter.peak(), wanted);
}

/// The whole cluster's Secrets, most of them without a token.
fn every_secret(cluster: &Cluster, tokens: usize, table: &mut Table) {
    let all = cluster.secrets();
    let helm = cluster.helm_releases();
    table.begin(&format!("every one of {all} Secrets ({helm} of Helm), {tokens} tokens kept"));
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

/// One that reads 160 KB a second until it is told to hurry.
struct SlowScraper {
    hurries: Arc<AtomicBool>,
    reader: JoinHandle<Vec<u8>>,
}

impl SlowScraper {
    /// Returns when the answer has begun.
    fn start(exporter: &Exporter) -> Self {
        let mut connection = TcpStream::connect(exporter.address()).unwrap();
        take_little(&connection);
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // Without chunks: the end of the connection is that of the answer, and one that was cut off is reset.
        connection.write_all(b"GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").unwrap();
        let mut answer = vec![0; 1];
        connection.read_exact(&mut answer).unwrap();
        let hurries = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&hurries);
        let reader = std::thread::spawn(move || {
            let mut piece = vec![0; 16 * 1024];
            loop {
                match connection.read(&mut piece).expect("a slow scraper was cut off") {
                    0 => return answer,
                    length => answer.extend_from_slice(&piece[..length]),
                }
                if !told.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        Self { hurries, reader }
    }

    fn is_being_served(&self) -> bool {
        !self.reader.is_finished()
    }

    /// Reads the rest. Returns the number of series of one family in the whole answer.
    fn hurry(self) -> usize {
        self.hurries.store(true, Ordering::Relaxed);
        let answer = self.reader.join().unwrap();
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let lines = BufReader::new(GzDecoder::new(&answer[head..])).lines();
        lines.filter(|line| is_series(line.as_ref().unwrap())).count()
    }
}

/// Keeps the kernel from taking a whole answer before anybody has read it.
fn take_little(connection: &TcpStream) {
    let size: libc::c_int = 64 * 1024;
    let length = libc::socklen_t::try_from(size_of_val(&size)).unwrap();
    // SAFETY: the descriptor is open, and the option is read from `size`, which is that large.
    let set = unsafe {
        libc::setsockopt(connection.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, (&raw const size).cast(), length)
    };
    assert_eq!(set, 0);
}
