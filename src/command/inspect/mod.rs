//! `inspect`: what the tokens in files or in standard input say, and what is odd about them. Signatures are not shown.

mod finding;
pub(super) mod login;
mod oddities;
mod report;

use super::{EXIT_FAILURE, EXIT_USAGE, complain, print, run};
use crate::cli::Format;
use crate::jwt::looks_like_jwt;
use crate::time::UnixSeconds;
use finding::{Found, find};
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// More is not read of one file: that of `kubectl get secrets -A -o yaml` is far below.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Reads each file, or standard input (`-`, or no file at all), and tells what is in it.
pub(super) fn inspect(format: Format, files: &[String]) -> ExitCode {
    run::leave_no_core();
    let standard_input = ["-".to_owned()];
    let files = if files.is_empty() { &standard_input } else { files };
    let (mut found, mut unread) = (Vec::new(), false);
    for file in files {
        match read(file) {
            Ok(bytes) => {
                let name = if file == "-" { "standard input" } else { file.as_str() };
                found.extend(find(name, &bytes));
            }
            Err(reason) => {
                unread = true;
                complain(&format!("jwt-exporter: {}: {reason}\n", report::shown(file)));
                if looks_like_jwt(file.as_bytes()) {
                    complain("That is a token itself: give it on standard input, where no process list shows it.\n");
                }
            }
        }
    }
    let now = UnixSeconds::now();
    let text = match format {
        Format::Json => report::json(&found, now),
        Format::Text | Format::Csv => report::text(&found, now),
    };
    let printed = print(&text);
    if unread {
        return ExitCode::from(EXIT_USAGE);
    }
    if found.iter().all(Found::is_decoded) { printed } else { ExitCode::from(EXIT_FAILURE) }
}

fn read(file: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let whole = |input: &mut dyn io::Read| -> io::Result<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(Vec::new());
        input.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let result = if file == "-" {
        if io::stdin().is_terminal() {
            complain("Paste a token, then press Enter and Ctrl-D (or Ctrl-C to give up).\n");
        }
        whole(&mut io::stdin().lock())
    } else {
        File::open(file).and_then(|mut file| whole(&mut file))
    };
    match result {
        Ok(bytes) if bytes.len() > MAX_BYTES => Err(format!("more than {MAX_BYTES} bytes are not read")),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
