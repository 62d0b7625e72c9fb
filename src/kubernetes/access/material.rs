//! Certificates, keys and tokens where they stand: in a kubeconfig, or in files that somebody else renews.

use crate::whole_file;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A file is read again after this time even if nothing shows that it changed: some file systems keep coarse times.
const REREAD_AFTER: Duration = Duration::from_secs(60);

/// Longest file of a credential: bundles of CAs are the longest.
const MAX_BYTES: usize = 4 << 20;

/// Bytes that are wiped when the last user drops them.
pub(super) type Bytes = Arc<Zeroizing<Vec<u8>>>;

/// A piece of credentials: bytes, or the file that holds them. `origin` says where it is configured, for errors.
pub(super) struct Material {
    origin: String,
    place: Place,
}

enum Place {
    Inline(Bytes),
    File { path: PathBuf, last: Mutex<Option<Reading>> },
}

struct Reading {
    stamp: Stamp,
    at: Instant,
    bytes: Bytes,
    /// A later reading failed and was reported.
    stale: bool,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file of credentials that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaterialError {
    /// Where the file is named.
    pub origin: String,
    /// What is wrong with it.
    pub cause: String,
}

impl fmt::Display for MaterialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.cause)
    }
}

impl std::error::Error for MaterialError {}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Material({})", self.origin)
    }
}

impl Material {
    pub(super) fn inline(bytes: Vec<u8>, origin: String) -> Self {
        Self { origin, place: Place::Inline(Arc::new(Zeroizing::new(bytes))) }
    }

    /// `origin` gets the path appended unless it is the path.
    pub(super) fn file(path: PathBuf, origin: &str) -> Self {
        let shown = path.display().to_string();
        let origin = if origin.is_empty() { shown } else { format!("{origin}: {shown}") };
        Self { origin, place: Place::File { path, last: Mutex::new(None) } }
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.place, Place::File { .. })
    }

    /// The bytes as they are now. The same `Arc` comes back while the content is the same.
    ///
    /// A file is read again if it looks changed, once a minute, or if `again`. If it cannot be read any more, what it held
    /// goes on being used, with one warning: a volume that is just being swapped heals by itself, and a credential that is
    /// really gone is refused by the server.
    pub(super) fn read(&self, again: bool) -> Result<Bytes, MaterialError> {
        let (path, last) = match &self.place {
            Place::Inline(bytes) => return Ok(Arc::clone(bytes)),
            Place::File { path, last } => (path, last),
        };
        let stamp = std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        let mut known = None;
        if let Some(reading) = &*last.lock().unwrap_or_else(PoisonError::into_inner) {
            if !again && stamp == Some(reading.stamp) && reading.at.elapsed() < REREAD_AFTER {
                return Ok(Arc::clone(&reading.bytes));
            }
            known = Some((Arc::clone(&reading.bytes), reading.stale));
        }
        // Not under the lock: a file system may hang.
        let result = read_file(path);
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, known) {
            (Ok((stamp, bytes)), known) => {
                if known.as_ref().is_some_and(|(_, warned)| *warned) {
                    log::info!("{}: can be read again", self.origin);
                }
                let bytes = match known {
                    Some((same, _)) if *same == bytes => same,
                    _ => Arc::new(bytes),
                };
                *last = Some(Reading { stamp, at: Instant::now(), bytes: Arc::clone(&bytes), stale: false });
                Ok(bytes)
            }
            (Err(cause), Some((bytes, warned))) => {
                if !warned {
                    log::warn!("{}: {cause}; what it held before goes on being used", self.origin);
                }
                if let Some(reading) = &mut *last {
                    reading.stale = true;
                }
                Ok(bytes)
            }
            (Err(cause), None) => Err(MaterialError { origin: self.origin.clone(), cause }),
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn read_file(path: &Path) -> Result<(Stamp, Zeroizing<Vec<u8>>), String> {
    let words = |error: std::io::Error| error.to_string();
    let mut file = whole_file::open(path).map_err(words)?;
    let stamp = Stamp::of(&file.metadata().map_err(words)?);
    let bytes = whole_file::read_open(&mut file, MAX_BYTES).map_err(words)?;
    if bytes.is_empty() { Err("the file is empty".to_owned()) } else { Ok((stamp, bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes_and_only_then_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "one").unwrap();
        let material = Material::file(path.clone(), "");
        let first = material.read(false).unwrap();
        assert_eq!(**first, b"one");
        assert!(Arc::ptr_eq(&first, &material.read(false).unwrap()));
        // The same content under a new inode, as after a volume was swapped.
        std::fs::write(folder.path().join("next"), "one").unwrap();
        std::fs::rename(folder.path().join("next"), &path).unwrap();
        assert!(Arc::ptr_eq(&first, &material.read(false).unwrap()));
        std::fs::write(&path, "another").unwrap();
        assert_eq!(**material.read(false).unwrap(), b"another");
    }

    #[test]
    fn what_a_file_held_outlives_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "one").unwrap();
        let material = Material::file(path.clone(), "");
        material.read(false).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(**material.read(true).unwrap(), b"one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(**material.read(false).unwrap(), b"two");
    }

    #[test]
    fn what_was_never_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        for (path, cause) in [
            (folder.path().join("absent"), "No such file or directory (os error 2)"),
            (folder.path().to_owned(), "it is no regular file"),
            (empty, "the file is empty"),
        ] {
            let error = Material::file(path.clone(), "somewhere: tokenFile").read(false).unwrap_err();
            assert_eq!(error.to_string(), format!("somewhere: tokenFile: {}: {cause}", path.display()));
        }
    }
}
