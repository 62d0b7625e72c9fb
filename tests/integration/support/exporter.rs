//! The program itself, as its users start it.

use super::http::{Connection, Response};
use super::kubeconfig::Kubeconfig;
use super::process::{self, Process};
use super::wait_for;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// The program that cargo built for this test binary.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_jwt-exporter");

/// Everything it does in a test it does within this time, on the slowest machine.
const LIMIT: Duration = Duration::from_secs(60);

/// An exporter to be started: its configuration, flags and environment.
pub struct Setup {
    folder: tempfile::TempDir,
    current_dir: PathBuf,
    config: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
}

/// The end of a program that ran by itself.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Setup {
    /// An exporter with this configuration (YAML). `address:` is added when it starts, and must not be in it.
    pub fn new(config: impl Into<String>) -> Self {
        let (arguments, environment, wrapper) = (Vec::new(), Vec::new(), Vec::new());
        let folder = process::folder("exporter");
        let current_dir = folder.path().to_owned();
        Self { folder, current_dir, config: config.into(), arguments, environment, wrapper }
    }

    /// A folder for this exporter's files (kubeconfig, tokens, manifests). It is also its `HOME`, and lives as long as it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs it in the root of the checkout instead of its own folder.
    pub fn in_checkout(mut self) -> Self {
        self.current_dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        self
    }

    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes this kubeconfig into the exporter's folder and names it in the configuration.
    pub fn kubeconfig(mut self, kubeconfig: &Kubeconfig) -> Self {
        let path = kubeconfig.write(self.folder.path());
        self.config = format!("kubeconfig_path: {}\n{}", path.display(), self.config);
        self
    }

    /// Starts the program through another one that replaces itself by it, such as `unshare`.
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts it on a free port of 127.0.0.1 and waits until `/healthz` answers 200.
    pub fn start(self) -> Exporter {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
        let config = format!("address: \"{address}\"\n{}", self.config);
        let config_file = write_config(self.folder.path(), &config);
        let mut command = self.command();
        command.arg("-config").arg(&config_file).args(&self.arguments);
        let process = Process::start(command);
        let mut exporter = Exporter { process, address, config_file, folder: self.folder };
        exporter.wait_for_status("/healthz", 200);
        exporter
    }

    /// Runs it to its own end with `-config` and the arguments: for `-check-config`, `-once` and starts that fail.
    pub fn run(self) -> Finished {
        let config_file = write_config(self.folder.path(), &self.config);
        let mut command = self.command();
        command.arg("-config").arg(config_file).args(&self.arguments);
        finish(command)
    }

    /// The same with the arguments in front: for commands such as `renew`.
    pub fn run_arguments_first(self) -> Finished {
        let config_file = write_config(self.folder.path(), &self.config);
        let mut command = self.command();
        command.args(&self.arguments).arg("-config").arg(config_file);
        finish(command)
    }

    fn command(&self) -> Command {
        let mut command = clean_command(&self.wrapper);
        command.env("HOME", self.folder.path()).current_dir(&self.current_dir);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Runs the program with these arguments alone to its own end, in an empty folder.
pub fn run(arguments: &[&str]) -> Finished {
    let folder = process::folder("exporter");
    let mut command = clean_command(&[]);
    command.args(arguments).env("HOME", folder.path()).current_dir(folder.path());
    finish(command)
}

fn finish(command: Command) -> Finished {
    let mut process = Process::start(command);
    let status = process.wait(LIMIT);
    Finished { status, stdout: process.stdout(), stderr: process.stderr() }
}

/// The program without what the machine's own environment could tell it.
fn clean_command(wrapper: &[String]) -> Command {
    let words: Vec<&str> = wrapper.iter().map(String::as_str).chain([PROGRAM]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    for (name, _) in std::env::vars_os() {
        let lower = name.to_string_lossy().to_lowercase();
        if lower.ends_with("_proxy") || lower.starts_with("kube") || lower.starts_with("rust_") {
            command.env_remove(name);
        }
    }
    command
}

fn write_config(folder: &Path, config: &str) -> PathBuf {
    let path = folder.join("config.yaml");
    std::fs::write(&path, config).unwrap();
    path
}

/// A running exporter. Killed when dropped.
pub struct Exporter {
    process: Process,
    address: SocketAddr,
    config_file: PathBuf,
    folder: tempfile::TempDir,
}

impl Exporter {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// To be changed for a reload.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// The process: its id, its output so far, signals, its end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// The lines of the log that hold `text`.
    pub fn log_lines(&self, text: &str) -> Vec<String> {
        // What was seen in the metrics was logged before; but a thread of ours reads the pipe, and it may be a moment behind.
        std::thread::sleep(Duration::from_millis(50));
        self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// One GET over a connection of its own.
    pub fn get(&self, target: &str) -> Response {
        self.request("GET", target, &[])
    }

    /// One request over a connection of its own. `Connection: close` is sent unless `headers` say otherwise.
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
        let answer = self.try_request(method, target, headers);
        answer.unwrap_or_else(|e| panic!("{method} {target}: {e}\n{}", self.process.last_lines(40)))
    }

    fn try_request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> std::io::Result<Response> {
        let mut all = headers.to_vec();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection")) {
            all.push(("Connection", "close"));
        }
        Connection::plain(self.address)?.send(method, target, &all, b"")
    }

    /// The exposition, plain.
    pub fn metrics(&self) -> String {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "/metrics: {}", answer.text());
        answer.text()
    }

    /// Waits until `/readyz` answers 200: every source was tried once and one of them succeeded.
    pub fn wait_until_ready(&mut self) {
        self.wait_for_status("/readyz", 200);
    }

    /// Waits until a path answers with this status. Panics if the program ends, or after a minute, with its output.
    pub fn wait_for_status(&mut self, target: &str, status: u16) {
        wait_for(&format!("{target} answering {status}"), LIMIT, || {
            if let Some(status) = self.process.exited() {
                self.process.kill();
                panic!("jwt-exporter ended with {status}:\n{}", self.process.output());
            }
            match self.try_request("GET", target, &[]) {
                Ok(answer) if answer.status == status => Ok(()),
                Ok(answer) => Err(format!("{} {}\n{}", answer.status, answer.text(), self.process.last_lines(40))),
                Err(error) => Err(format!("{error}\n{}", self.process.last_lines(40))),
            }
        });
    }

    /// Waits until the exposition satisfies `satisfied`; returns it. Panics after a minute, with the last one.
    pub fn wait_for_metrics(&self, awaited: &str, satisfied: impl Fn(&str) -> bool) -> String {
        wait_for(awaited, LIMIT, || {
            let exposition = self.metrics();
            if satisfied(&exposition) { Ok(exposition) } else { Err(exposition) }
        })
    }

    /// Memory that is resident now, in bytes (`VmRSS`).
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS in /proc/PID/status");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}
