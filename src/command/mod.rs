//! What the program can be asked to do, one file each, and the way there.
//!
//! Exit codes: 0 all well, 1 it failed while it ran, 2 the command line or the configuration is wrong.

mod check;
mod check_config;
mod explain;
#[cfg(test)]
mod golden;
mod inspect;
mod looking;
mod once;
mod reload;
mod renew;
mod renewals;
mod run;
mod sources;
mod table;
mod terminal;
mod words;

use crate::cli::{self, Flags, Invocation};
use crate::config::{self, Loaded};
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
        Ok(Invocation::Help(command)) => print(command.usage()),
        Ok(Invocation::Version) => print(&version()),
        Ok(Invocation::CheckConfig(flags)) => match config::load(flags.config.as_deref(), &config::environment) {
            Ok(loaded) => print(&check_config::report(&loaded)),
            Err(error) => refuse(flags.log_format, &error),
        },
        Ok(Invocation::Run(flags)) => with_config(&flags, |loaded| run::run(flags.config.clone(), loaded)),
        Ok(Invocation::Check(flags, check_flags)) => {
            with_config(&flags, |loaded| check::check(&loaded.config, check_flags))
        }
        Ok(Invocation::Inspect(format, files)) => inspect::inspect(format, &files),
        Ok(Invocation::Once(flags, path)) => with_config(&flags, |loaded| once::once(&loaded.config, &path)),
        Ok(Invocation::RenewDryRun(flags)) => with_config(&flags, |loaded| renew::dry_run(&loaded.config)),
        Ok(Invocation::Explain { flags, namespace, name }) => {
            with_config(&flags, |loaded| explain::explain(&loaded.config, &namespace, &name))
        }
        Err((error, command)) => {
            complain(&format!("{error}\n{}", command.usage()));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Loads the configuration, starts the log, and goes on with both.
fn with_config(flags: &Flags, then: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    let loaded = match config::load(flags.config.as_deref(), &config::environment) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(flags.log_format, &error),
    };
    if let Err(error) = log::init(flags.level, flags.log_format) {
        complain(&log::refusal(flags.log_format, &error.to_string()));
        return ExitCode::from(EXIT_FAILURE);
    }
    if !loaded.from_file {
        ::log::info!("there is no {}: the defaults hold", loaded.path);
    }
    then(loaded)
}

/// A wrong configuration is for the person who starts the program, whatever the level of the log.
fn refuse(format: log::Format, error: &config::ConfigError) -> ExitCode {
    complain(&log::refusal(format, &with_cause(error)));
    ExitCode::from(EXIT_USAGE)
}

/// The whole of an error, in one line.
fn with_cause(error: &config::ConfigError) -> String {
    let cause = std::error::Error::source(error).map(|source| format!(" ({source})")).unwrap_or_default();
    format!("{error}{cause}")
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
