//! `-once PATH`: one poll of every source, and the exposition into a file for node_exporter's textfile collector.

use super::{EXIT_FAILURE, EXIT_USAGE, logins, looking, run};
use crate::config::Config;
use crate::metrics;
use crate::published::Published;
use crate::snapshot::Snapshot;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
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
        path => replace(Path::new(path), write),
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

/// Writes a file beside the one at `path` and renames it, so that nobody ever reads a half. What is at `path` and is no file
/// stays as it is.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // A link stays one: what it leads to is replaced.
    let path = match fs::canonicalize(path) {
        Ok(target) if fs::metadata(&target)?.is_file() => target,
        Ok(_) => return Err(io::Error::other("it is there and is no regular file")),
        Err(_) => path.to_owned(),
    };
    let temporary = Temporary(beside(&path)?);
    // Left behind by a process of the same number that was killed.
    let _ = fs::remove_file(&temporary.0);
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary.0)?;
    let mut out = io::BufWriter::new(&file);
    write(&mut out)?;
    out.flush()?;
    drop(out);
    // Whatever the umask took away.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.sync_all()?;
    fs::rename(&temporary.0, &path)?;
    // The name is safe when its folder is; some file systems have no such thing.
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// A hidden name in the same folder, with an ending that the textfile collector does not read.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it does not name a file"))?;
    Ok(path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id())))
}

/// Nothing of it stays if something goes wrong.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename it is not there any more.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt.prom");
        replace(&path, |out| out.write_all(b"one")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        let broken = replace(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("full"))
        });
        assert!(broken.is_err());
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"one".to_vec(), vec!["jwt.prom".to_owned()]));
        let mut open = File::open(&path).unwrap();
        replace(&path, |out| out.write_all(b"two")).unwrap();
        let mut old = String::new();
        io::Read::read_to_string(&mut open, &mut old).unwrap();
        assert_eq!((fs::read(&path).unwrap(), old.as_str()), (b"two".to_vec(), "one"));
    }

    #[test]
    fn what_is_no_file_stays_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace(folder.path(), |_| Ok(())).is_err());
        assert!(replace(Path::new("/dev/null"), |_| Ok(())).is_err());
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, |out| out.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }
}
