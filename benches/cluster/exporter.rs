//! The program under measurement. `JWT_EXPORTER` names another binary of it, the static one for instance.

use super::seed::Cluster;
use super::support::http;
use super::support::kubeconfig::Kubeconfig;
use super::support::process::{self, Process};
use std::cell::Cell;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(300);

/// Longer than any step of it takes, and short beside what is measured.
const PAUSE: Duration = Duration::from_millis(2);

/// What is waited for longer is asked for less often: two processors are shared with what is measured, and each question takes some of
/// them. Two parts of a hundred are lost at most.
const PAUSES_IN_WHAT_PASSED: u32 = 50;

/// Who uses no processor for so long has nothing to do.
const REST: Duration = Duration::from_millis(500);

pub struct Exporter {
    process: Process,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Exporter {
    /// Starts it with what `config` adds, and does not wait.
    pub fn start(cluster: &Cluster, config: &str) -> Self {
        Self::start_with(config, cluster.plane().admin_kubeconfig())
    }

    /// The same and the list gzipped or not, as `disable-compression` of a kubeconfig says.
    pub fn start_with_compression(cluster: &Cluster, config: &str, compression: bool) -> Self {
        let kubeconfig = cluster.plane().admin_kubeconfig().cluster_field("disable-compression", !compression);
        Self::start_with(config, kubeconfig)
    }

    fn start_with(config: &str, kubeconfig: Kubeconfig) -> Self {
        let program = std::env::var_os("JWT_EXPORTER").unwrap_or_else(|| env!("CARGO_BIN_EXE_jwt-exporter").into());
        Self::start_program(&program, "debug", config, kubeconfig)
    }

    /// Starts another program that takes the same flags and keys, with the same configuration.
    pub fn start_reference(program: &OsStr, cluster: &Cluster) -> Self {
        Self::start_program(program, "info", "", cluster.plane().admin_kubeconfig())
    }

    fn start_program(program: &OsStr, level: &str, config: &str, kubeconfig: Kubeconfig) -> Self {
        let folder = process::folder("bench-exporter");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
        let kubeconfig = kubeconfig.write(folder.path());
        let file = folder.path().join("config.yaml");
        let kubeconfig = kubeconfig.display();
        std::fs::write(&file, format!("address: \"{address}\"\nkubeconfig_path: {kubeconfig}\n{config}")).unwrap();
        let mut command = Command::new(program);
        command.arg("-config").arg(&file).args(["-level", level]);
        Self { process: Process::start(command), address, _folder: folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    pub fn wait_until_ready(&self) {
        self.wait("readiness", || http::get(self.address, "/readyz").is_ok_and(|answer| answer.status == 200));
    }

    /// Waits until so many polls have ended well, without a request to the program.
    pub fn wait_for_polls(&self, polls: usize) {
        self.wait("polls", || self.process.output().matches(" Secrets, read in ").count() >= polls);
    }

    /// Does something while the program stands still.
    pub fn while_it_sleeps(&self, something: impl FnOnce()) {
        self.process.signal("STOP");
        something();
        self.process.signal("CONT");
    }

    /// Waits until the reference shows all Secrets; returns when that was. It does not say so, and its log keeps only some of the lines of
    /// a kind (zap, sampling): it is done when it has begun to show some and then does nothing any more.
    pub fn wait_for_reference(&self) -> Instant {
        self.wait("the reference", || self.process.output().contains("Metrics exported for secret"));
        let (used, worked) = (Cell::new(0), Cell::new(Instant::now()));
        self.wait("the reference's end of work", || {
            let now = self.processor_time();
            if now != used.replace(now) {
                worked.set(Instant::now());
            }
            worked.get().elapsed() > REST
        });
        worked.get()
    }

    /// Clock ticks, of ten milliseconds.
    fn processor_time(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // Behind the name, which may hold anything (proc(5)).
        let fields = stat.rsplit_once(") ").unwrap().1.split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    fn wait(&self, awaited: &str, there: impl Fn() -> bool) {
        let begun = Instant::now();
        while !there() {
            assert!(begun.elapsed() < LIMIT, "{awaited}: not within {LIMIT:?}:\n{}", self.process.last_lines(40));
            std::thread::sleep(PAUSE.max(begun.elapsed() / PAUSES_IN_WHAT_PASSED));
        }
    }

    /// One plain scrape.
    pub fn scrape(&self) -> String {
        http::get(self.address, "/metrics").unwrap().text()
    }

    /// The most that was ever resident, in bytes.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// What is resident now, in bytes.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}
