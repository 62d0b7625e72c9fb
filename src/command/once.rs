//! `-once PATH`: one poll of every source, and the exposition into a file for node_exporter's textfile collector.

use super::{EXIT_FAILURE, EXIT_USAGE, logins, looking, run};
use crate::config::Config;
use crate::metrics;
use crate::published::Published;
use crate::snapshot::Snapshot;
use crate::whole_file;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// node_exporter reads it as another user.
const MODE: u32 = 0o644;

/// Writes also if a source failed: then its `source_up` is 0, and the exit code 1.
pub(super) fn once(config: &Config, path: &str) -> ExitCode {
    run::leave_no_core();
    let looked = looking::own_metrics()
        .and_then(|own| looking::look(config, &own).map(|snapshot| (Arc::new(Published::new(snapshot)), own)));
    let (snapshot, own) = match looked {
        Ok(looked) => looked,
        Err(reason) => {
            log::error!("{reason}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    logins::board_once(config, &own, Arc::clone(&snapshot));
    let snapshot = snapshot.load();
    let failed = tell_failures(&snapshot);
    let write = |out: &mut dyn Write| metrics::encode_for_file(&snapshot, &own, out);
    let written = match path {
        "-" => {
            let mut out = io::stdout().lock();
            write(&mut out).and_then(|()| out.flush())
        }
        path => replace(Path::new(path), &write),
    };
    if let Err(error) = written {
        log::error!("-once: {path} cannot be written: {error}");
        return ExitCode::from(EXIT_FAILURE);
    }
    if failed { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS }
}

/// Whether a source failed; each is told to the log. What is wrong with single tokens stands in the file.
fn tell_failures(snapshot: &Snapshot) -> bool {
    for source in snapshot.sources().iter().filter(|source| !source.up) {
        log::error!("{}: {}", source.name, source.failure.as_deref().unwrap_or("a part of it could not be read"));
    }
    for source in snapshot.sources().iter().filter(|source| source.up) {
        log::info!("{}: {} tokens in {} Secrets", source.name, source.tokens, source.secrets);
    }
    snapshot.sources().iter().any(|source| !source.up)
}

/// Replaces the file at `path`. What is there and is no file stays as it is.
fn replace(path: &Path, write: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // A link stays one: what it leads to is replaced.
    let path = match fs::canonicalize(path) {
        Ok(target) if fs::metadata(&target)?.is_file() => target,
        Ok(_) => return Err(io::Error::other("it is there and is no regular file")),
        Err(_) => path.to_owned(),
    };
    whole_file::replace(&path, MODE, &|file| {
        let mut out = io::BufWriter::new(file);
        write(&mut out)?;
        out.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_stays_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace(folder.path(), &|_| Ok(())).is_err());
        assert!(replace(Path::new("/dev/null"), &|_| Ok(())).is_err());
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, &|out| out.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }
}
