//! The program: see the crate's documentation for the tour.

use std::process::ExitCode;

fn main() -> ExitCode {
    jwt_exporter::command::dispatch(std::env::args_os().skip(1))
}
