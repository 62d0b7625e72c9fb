//! The exporter's own counters, its build and its process, kept by the `prometheus` crate.

use super::family::{BUILD_INFO, CONFIG_RELOAD, ERROR_TOTAL, KUBE_REQUESTS, POLL_DURATION, SOURCE_ERRORS};
use super::logins::{self, LoginBoard};
use super::renewals::{self, RenewalStatus};
use super::text::Text;
use crate::published::Published;
use crate::time::UnixSeconds;
use prometheus::core::Collector;
use prometheus::proto::LabelPair;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::io;
use std::sync::Arc;

/// What this program was made from.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo<'a> {
    /// Of Cargo.toml.
    pub version: &'a str,
    /// The commit, or `unknown`.
    pub revision: &'a str,
    /// The compiler's version.
    pub rustc: &'a str,
}

/// Counters that any thread may move. A clone moves the same ones.
#[derive(Clone)]
pub struct OwnMetrics {
    registry: Registry,
    errors: IntCounter,
    source_errors: IntCounterVec,
    poll_duration: HistogramVec,
    kube_requests: IntCounterVec,
    config_reload: IntGauge,
    logins: Arc<Published<LoginBoard>>,
    renewals: Arc<Published<Vec<RenewalStatus>>>,
}

/// From a manifest on disk to 100,000 Secrets over a slow link.
const POLL_BUCKETS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

impl OwnMetrics {
    /// All counters at zero, the last reload taken for successful: the program has started with its configuration.
    ///
    /// # Errors
    /// None that a caller can cause: a name that is registered twice or malformed.
    pub fn new(build: BuildInfo<'_>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build_info =
            IntGaugeVec::new(Opts::new(BUILD_INFO.name, BUILD_INFO.help), &["version", "revision", "rustc"])?;
        build_info.with_label_values(&[build.version, build.revision, build.rustc]).set(1);
        let own = Self {
            errors: IntCounter::new(ERROR_TOTAL.name, ERROR_TOTAL.help)?,
            source_errors: IntCounterVec::new(
                Opts::new(SOURCE_ERRORS.name, SOURCE_ERRORS.help),
                &["source", "reason"],
            )?,
            poll_duration: HistogramVec::new(
                HistogramOpts::new(POLL_DURATION.name, POLL_DURATION.help).buckets(POLL_BUCKETS.to_vec()),
                &["source"],
            )?,
            kube_requests: IntCounterVec::new(
                Opts::new(KUBE_REQUESTS.name, KUBE_REQUESTS.help),
                &["verb", "resource", "code"],
            )?,
            config_reload: IntGauge::new(CONFIG_RELOAD.name, CONFIG_RELOAD.help)?,
            logins: Arc::new(Published::new(LoginBoard::default())),
            renewals: Arc::new(Published::new(Vec::new())),
            registry,
        };
        own.config_reload.set(1);
        let collectors: [Box<dyn Collector>; 6] = [
            Box::new(own.errors.clone()),
            Box::new(own.source_errors.clone()),
            Box::new(own.poll_duration.clone()),
            Box::new(own.kube_requests.clone()),
            Box::new(own.config_reload.clone()),
            Box::new(build_info),
        ];
        for collector in collectors {
            own.registry.register(collector)?;
        }
        #[cfg(target_os = "linux")]
        own.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(own)
    }

    /// One more error that belongs to no source.
    pub fn count_error(&self) {
        self.errors.inc();
    }

    /// One more error of a source; it is one of the total too.
    pub fn count_source_error(&self, source: &str, reason: &str) {
        self.errors.inc();
        self.source_errors.with_label_values(&[source, reason]).inc();
    }

    /// A poll that took so long, well or not.
    pub fn observe_poll(&self, source: &str, seconds: f64) {
        self.poll_duration.with_label_values(&[source]).observe(seconds);
    }

    /// A request to an API server; `code` is the HTTP status, or `error` where there was no answer.
    pub fn count_kube_request(&self, verb: &str, resource: &str, code: &str) {
        self.kube_requests.with_label_values(&[verb, resource, code]).inc();
    }

    /// The configuration was read again; whether it was accepted.
    pub fn set_reload(&self, successful: bool) {
        self.config_reload.set(successful.into());
    }

    /// What is shown of the logins from now on.
    pub fn publish_logins(&self, logins: LoginBoard) {
        self.logins.publish(logins);
    }

    /// What is shown of the logins.
    #[must_use]
    pub fn logins(&self) -> Arc<LoginBoard> {
        self.logins.load()
    }

    /// Writes the families of the logins, as they are at an instant.
    pub(super) fn encode_logins(&self, now: UnixSeconds, text: &mut Text<'_>) -> io::Result<()> {
        logins::encode(&self.logins.load(), now, text)
    }

    /// Writes those of them that still hold when they are read later.
    pub(super) fn encode_lasting_logins(&self, text: &mut Text<'_>) -> io::Result<()> {
        logins::windows(&self.logins.load(), None, text)
    }

    /// A source is gone for good: its own series go with it. What it added to the total stays.
    pub fn forget_source(&self, source: &str) {
        let _ = self.poll_duration.remove_label_values(&[source]);
        for family in self.source_errors.collect() {
            for metric in family.get_metric() {
                let value = |name| metric.get_label().iter().find(|label| label.name() == name).map(LabelPair::value);
                if let (Some(known), Some(reason)) = (value("source"), value("reason"))
                    && known == source
                {
                    let _ = self.source_errors.remove_label_values(&[source, reason]);
                }
            }
        }
    }

    /// What is shown of the renewals from now on.
    pub fn publish_renewals(&self, renewals: Vec<RenewalStatus>) {
        self.renewals.publish(renewals);
    }

    /// What is shown of the renewals.
    #[must_use]
    pub fn renewals(&self) -> Arc<Vec<RenewalStatus>> {
        self.renewals.load()
    }

    /// Writes the families. What cannot be encoded (an empty family) is left out.
    pub(super) fn encode(&self, text: &mut Text<'_>) -> io::Result<()> {
        self.encode_those(text, |_| true)
    }

    /// Those whose names are wanted.
    pub(super) fn encode_those(&self, text: &mut Text<'_>, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut encoded = String::new();
        // Family by family: one that fails must not take the others along.
        for family in self.registry.gather().iter().filter(|family| wanted(family.name())) {
            encoded.clear();
            if TextEncoder::new().encode_utf8(std::slice::from_ref(family), &mut encoded).is_ok() {
                text.push(encoded.as_bytes())?;
            }
        }
        renewals::encode(&self.renewals.load(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::text::tests::written;

    #[test]
    fn everything_is_counted() {
        let own = OwnMetrics::new(BuildInfo { version: "1.2.3", revision: "abc", rustc: "1.95.0" }).unwrap();
        own.count_error();
        own.count_source_error("kubernetes", "forbidden");
        own.observe_poll("kubernetes", 0.3);
        own.count_kube_request("list", "secrets", "200");
        let text = written(|text| own.encode(text));
        for line in [
            "jwt_exporter_error_total 2\n",
            "jwt_exporter_source_errors_total{reason=\"forbidden\",source=\"kubernetes\"} 1\n",
            "jwt_exporter_poll_duration_seconds_bucket{source=\"kubernetes\",le=\"0.5\"} 1\n",
            "jwt_exporter_kube_requests_total{code=\"200\",resource=\"secrets\",verb=\"list\"} 1\n",
            "jwt_exporter_config_last_reload_successful 1\n",
            "jwt_exporter_build_info{revision=\"abc\",rustc=\"1.95.0\",version=\"1.2.3\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        own.set_reload(false);
        own.count_source_error("kubernetes/two", "forbidden");
        own.forget_source("kubernetes");
        let text = written(|text| own.encode(text));
        assert!(!text.contains("source=\"kubernetes\""), "{text}");
        for line in [
            "jwt_exporter_error_total 3\n",
            "jwt_exporter_source_errors_total{reason=\"forbidden\",source=\"kubernetes/two\"} 1\n",
            "jwt_exporter_config_last_reload_successful 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        if cfg!(target_os = "linux") {
            assert!(text.contains("process_resident_memory_bytes"), "{text}");
        }
    }
}
