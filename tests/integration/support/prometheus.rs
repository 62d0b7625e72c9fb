//! The real Prometheus: its linter for expositions, and a server that scrapes.

use super::http;
use super::process::{self, Process};
use super::{unique_name, wait_for};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What `promtool check metrics` says of an exposition.
#[derive(Debug)]
pub struct Verdict {
    /// It can be parsed, and the linter found nothing.
    pub clean: bool,
    /// One line per finding, `family text`; or the parser's error.
    pub findings: Vec<String>,
}

/// Lints an exposition in text format. `promtool`: from `require_part!(RealPart::Promtool)`.
pub fn check_metrics(promtool: &Path, exposition: &str) -> Verdict {
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Dropped at the statement's end: that is the end of the input. It may refuse before it has read all.
    child.stdin.take().unwrap().write_all(exposition.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Verdict { clean: output.status.success(), findings: text.lines().map(str::to_owned).collect() }
}

/// A running Prometheus. Stopped when dropped.
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    job: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts `prometheus` (from `require_part!(RealPart::Prometheus)`) and lets it scrape `target` every second.
    pub fn start(prometheus: &Path, target: SocketAddr) -> Self {
        Self::start_with(prometheus, target, &json!({}))
    }

    /// The same with more fields of `scrape_config`, such as `tls_config` or `basic_auth`:
    /// <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config>.
    pub fn start_with(prometheus: &Path, target: SocketAddr, more: &Value) -> Self {
        let folder = process::folder("prometheus");
        let job = unique_name("job");
        let mut scrape = json!({"job_name": job, "static_configs": [{"targets": [target.to_string()]}]});
        for (name, value) in more.as_object().unwrap() {
            scrape[name] = value.clone();
        }
        let global = json!({"scrape_interval": "1s", "scrape_timeout": "1s"});
        let config = json!({"global": global, "scrape_configs": [scrape]});
        let config_file = folder.path().join("prometheus.yml");
        std::fs::write(&config_file, serde_yaml::to_string(&config).unwrap()).unwrap();

        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
        let mut command = Command::new(prometheus);
        command
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let mut process = Process::start(command);
        wait_for("Prometheus ready", Duration::from_secs(60), || {
            if let Some(status) = process.exited() {
                panic!("prometheus ended with {status}:\n{}", process.last_lines(40));
            }
            match http::get(address, "/-/ready") {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("status {}", answer.status)),
                Err(error) => Err(error.to_string()),
            }
        });
        Self { process, address, job, _folder: folder }
    }

    /// The instant vector that a PromQL expression gives now: a list of `{"metric": {...}, "value": [time, "1"]}`.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let answer = http::get(self.address, &format!("/api/v1/query?query={}", percent_encoded(expression))).unwrap();
        let mut body = answer.json();
        assert_eq!(body["status"], "success", "{expression}: {body}\n{}", self.process.last_lines(20));
        match body["data"]["result"].take() {
            Value::Array(samples) => samples,
            other => panic!("{expression}: not a vector: {other}"),
        }
    }

    /// Waits until a scrape of the target has succeeded. Panics after `limit` with the last scrape's error.
    pub fn wait_until_up(&self, limit: Duration) {
        wait_for("the target up", limit, || {
            let up = self.query(&format!("up{{job=\"{}\"}} == 1", self.job));
            if up.is_empty() { Err(self.last_scrape_error()) } else { Ok(()) }
        });
    }

    /// Why the last scrape failed; empty if it did not.
    pub fn last_scrape_error(&self) -> String {
        let answer = http::get(self.address, "/api/v1/targets").unwrap().json();
        answer["data"]["activeTargets"][0]["lastError"].as_str().unwrap_or_default().to_owned()
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
