//! What the program can be asked to do, one file each, and the way there.
//!
//! Exit codes: 0 all well, 1 it failed while it ran, 2 the command line or the configuration is wrong.

mod check_config;
mod renew;
mod renewals;
mod run;

use crate::cli::{self, Flags, Invocation};
use crate::config;
use crate::log;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// The command line or the configuration is wrong; nothing was begun.
pub const EXIT_USAGE: u8 = 2;

/// It failed while it ran.
pub const EXIT_FAILURE: u8 = 1;

/// What this program was built from.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The version of the crate.
    pub version: &'static str,
    /// The commit, or `unknown`.
    pub revision: &'static str,
    /// The compiler, as `rustc --version` says it, or `unknown`.
    pub rustc: &'static str,
}

/// This build.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("JWT_EXPORTER_COMMIT"),
    rustc: env!("JWT_EXPORTER_RUSTC"),
};

/// The line that `-version` prints.
fn version() -> String {
    format!("jwt-exporter {} (commit {}, {})\n", BUILD.version, BUILD.revision, BUILD.rustc)
}

/// Does what the arguments ask for. They do not include the program's own name.
#[must_use]
pub fn dispatch(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match cli::parse(arguments) {
        Ok(Invocation::Help) => print(cli::USAGE),
        Ok(Invocation::Version) => print(&version()),
        Ok(Invocation::CheckConfig(flags)) => match config::load(flags.config.as_deref(), &config::environment) {
            Ok(loaded) => print(&check_config::report(&loaded)),
            Err(error) => refuse(&error),
        },
        Ok(Invocation::RenewDryRun(flags)) => dry_run(&flags),
        Ok(Invocation::Run(flags)) => start(&flags),
        Err(error) => {
            complain(&format!("{error}\n{}", cli::USAGE));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Its answer is what it prints; the log says what is odd on the way.
fn dry_run(flags: &Flags) -> ExitCode {
    let loaded = match config::load(flags.config.as_deref(), &config::environment) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    if let Err(error) = log::init(flags.level) {
        complain(&format!("jwt-exporter: {error}\n"));
        return ExitCode::from(EXIT_FAILURE);
    }
    match renew::report(&loaded.config) {
        Ok(report) if report.all_well => print(&report.text),
        Ok(report) => {
            print(&report.text);
            ExitCode::from(EXIT_FAILURE)
        }
        Err(reason) => {
            complain(&format!("jwt-exporter: {reason}\n"));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn start(flags: &Flags) -> ExitCode {
    let loaded = match config::load(flags.config.as_deref(), &config::environment) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    if let Err(error) = log::init(flags.level) {
        complain(&format!("jwt-exporter: {error}\n"));
        return ExitCode::from(EXIT_FAILURE);
    }
    if !loaded.from_file {
        ::log::info!("there is no {}: the defaults hold", loaded.path);
    }
    run::run(loaded.config)
}

/// A wrong configuration is for the person who starts the program, whatever the level of the log.
fn refuse(error: &config::ConfigError) -> ExitCode {
    let reason = std::error::Error::source(error).map(|source| format!(" ({source})")).unwrap_or_default();
    complain(&format!("jwt-exporter: {error}{reason}\n"));
    ExitCode::from(EXIT_USAGE)
}

/// Standard output may be closed or full; then the answer has not arrived.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILURE),
    }
}

/// Unlike `eprint!`, does not panic if standard error is closed.
fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
