//! The log: one line per event on standard error, as text (time in RFC 3339 and UTC, level, message) or as a JSON object.
//!
//! The rest of the crate writes with the macros of the `log` facade (`::log::info!`). The message is for people and says all; the facts
//! beside it (`::log::info!(source = name; "…")`) become members of the JSON object, and are not repeated in text. Facts have the
//! names of metric labels where there is one: `source`, `reason`, `secret_namespace`, `secret_name`, `secret_key`.
//! Every text passes through [`escape`] or its like for JSON, so that nothing that a tenant put into a Secret can forge a line
//! or steer a terminal. Records of other crates are left out but for their warnings, and those of HTTP and TLS entirely: they
//! may hold header values. What fails again and again is summed up with [`Repeated`].

mod escaping;
mod json;
mod panics;
mod repeated;
mod text;

pub use ::log::LevelFilter;
pub use escaping::escape;
pub use repeated::{Repeated, Sum, Telling};

use ::log::{Level, Record};
use std::fmt;
use std::io::LineWriter;

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For collectors.
    Json,
}

/// Somebody else has installed a logger before.
#[derive(Debug)]
pub struct LogError;

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log is there already")
    }
}

impl std::error::Error for LogError {}

/// Starts the log and tells panics to go through it. Once per process, before other threads.
///
/// # Errors
/// The second call.
pub fn init(level: LevelFilter, format: Format) -> Result<(), LogError> {
    let logger: Box<dyn ::log::Log> = match format {
        // simplelog writes a line in pieces; people and collectors should see it whole.
        Format::Text => Box::new(text::TextLog::new(level, LineWriter::new(std::io::stderr()))),
        Format::Json => Box::new(json::JsonLog::new(level, std::io::stderr())),
    };
    ::log::set_boxed_logger(logger).map_err(|_| LogError)?;
    ::log::set_max_level(level);
    panics::install();
    Ok(())
}

/// A line for standard error that is written whatever the level, or before there is a log: why the program does not start.
#[must_use]
pub fn refusal(format: Format, message: &str) -> String {
    match format {
        Format::Text => format!("jwt-exporter: {message}\n"),
        Format::Json => json::line(&Record::builder().level(Level::Error).args(format_args!("{message}")).build()),
    }
}

/// The level from which records of `target` are shown, under the level of the whole log.
fn shown(target: &str, level: LevelFilter) -> LevelFilter {
    const OURS: &str = "jwt_exporter";
    // Their records quote requests: URIs, header fields, certificates.
    const NEVER: [&str; 4] = ["ureq", "ureq_proto", "rustls", "tiny_http"];
    let root = target.split("::").next().unwrap_or_default();
    if root == OURS {
        level
    } else if NEVER.contains(&root) {
        LevelFilter::Off
    } else {
        level.min(LevelFilter::Warn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_crates_are_quiet_and_http_is_silent() {
        use LevelFilter::{Debug, Error, Off, Trace, Warn};
        for (target, level, wanted) in [
            ("jwt_exporter", Debug, Debug),
            ("jwt_exporter::kubernetes::list", Trace, Trace),
            ("jwt_exporter", Off, Off),
            ("ureq", Trace, Off),
            ("ureq_proto::util", Error, Off),
            ("rustls::client", Trace, Off),
            ("tiny_http", Trace, Off),
            ("prometheus", Trace, Warn),
            ("prometheus", Error, Error),
            ("jwt_exporter_of_somebody_else", Trace, Warn),
        ] {
            assert_eq!(shown(target, level), wanted, "{target} {level}");
        }
    }
}
