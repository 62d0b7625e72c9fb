//! The log: one line per event on standard error, RFC 3339 in UTC, then level and message.
//!
//! The rest of the crate writes with the macros of the `log` facade (`::log::info!`). Every message passes through [`escape`], so that
//! nothing that a tenant put into a Secret can forge a line or steer a terminal. Records of other crates are left out
//! but for their warnings, and those of HTTP and TLS entirely: they may hold header values.

mod escaping;
mod panics;
mod text;

pub use ::log::LevelFilter;
pub use escaping::escape;

use std::fmt;

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
pub fn init(level: LevelFilter) -> Result<(), LogError> {
    // simplelog writes a line in pieces; people and collectors should see it whole.
    ::log::set_boxed_logger(Box::new(text::TextLog::new(level, std::io::LineWriter::new(std::io::stderr()))))
        .map_err(|_| LogError)?;
    ::log::set_max_level(level);
    panics::install();
    Ok(())
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
