//! Notices that a file is another one than before, by looking at it now and then: an editor renames a new file over it, the
//! kubelet swaps the link `..data` of a mounted ConfigMap, somebody writes into it, or it appears.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A file that is looked at from time to time.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    /// What was there at the last look.
    seen: Option<State>,
    /// What was there when somebody was told to read it.
    told: Option<State>,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It cannot be looked at; mostly it is not there.
    Nothing,
    File {
        /// Where the links lead.
        place: Option<PathBuf>,
        device: u64,
        inode: u64,
        size: u64,
        modified: (i64, i64),
        changed: (i64, i64),
    },
}

impl State {
    fn of(path: &Path) -> Self {
        let Ok(metadata) = fs::metadata(path) else { return Self::Nothing };
        Self::File {
            place: fs::canonicalize(path).ok(),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl WatchedFile {
    /// Nothing is known of it: it is to be read once it has been the same for two looks.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), seen: None, told: None }
    }

    /// Looks. Whether it is to be read now: it is another one than when it was to be read last, and the same as at the last
    /// look, so that nobody is in the middle of writing it.
    pub fn look(&mut self) -> bool {
        let now = State::of(&self.path);
        let is_quiet = self.seen.as_ref() == Some(&now);
        let is_due = is_quiet && self.told.as_ref() != Some(&now);
        if is_due {
            self.told = Some(now.clone());
        }
        self.seen = Some(now);
        is_due
    }

    /// It was read without a look, and perhaps half-written: it is to be read once more when it has been the same for two
    /// looks.
    pub fn forget(&mut self) {
        (self.seen, self.told) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// So many looks until it is to be read, and not again after that.
    fn looks(file: &mut WatchedFile) -> Option<usize> {
        let due = (1..=4).find(|_| file.look());
        assert!(!file.look() && !file.look());
        due
    }

    #[test]
    fn it_is_read_once_it_is_quiet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        let mut file = WatchedFile::new(&path);
        assert_eq!(looks(&mut file), Some(2), "not there");
        fs::write(&path, "a").unwrap();
        assert_eq!(looks(&mut file), Some(2), "it appeared");
        assert_eq!(looks(&mut file), None);
        fs::write(&path, "b").unwrap();
        assert_eq!(looks(&mut file), Some(2), "written anew");
        fs::write(&path, "c").unwrap();
        assert!(!file.look());
        fs::write(&path, "cc").unwrap();
        assert!(!file.look(), "it was still being written");
        assert!(file.look());
        fs::write(folder.path().join("new"), "cc").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(looks(&mut file), Some(2), "renamed over");
        file.forget();
        assert_eq!(looks(&mut file), Some(2), "read without a look");
        fs::remove_file(&path).unwrap();
        assert_eq!(looks(&mut file), Some(2), "gone");
    }

    #[test]
    fn the_kubelets_swap_of_a_link_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
        }
        fs::write(at("..1/config.yaml"), "same").unwrap();
        // The same inode: only the way there differs.
        fs::hard_link(at("..1/config.yaml"), at("..2/config.yaml")).unwrap();
        symlink("..1", at("..data")).unwrap();
        symlink("..data/config.yaml", at("config.yaml")).unwrap();
        let mut file = WatchedFile::new(at("config.yaml"));
        assert_eq!(looks(&mut file), Some(2));
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(looks(&mut file), Some(2));
    }
}
