//! Runs the exporter.

use crate::config::Config;
use std::process::ExitCode;

/// Polls and serves until the process is told to stop.
pub(super) fn run(config: Config) -> ExitCode {
    let _ = config;
    ExitCode::SUCCESS
}
