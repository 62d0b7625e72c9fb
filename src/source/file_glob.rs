//! Files by pattern: `manifests/*.yaml`, `/etc/tokens/**/*.json`, or one path.

use super::regular_file::{FileFault, Handle, Links, Root};
use glob::{MatchOptions, Pattern};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Directory entries that one pattern may make us look at: `/**` on a node must not keep the poller busy for ever.
const MAX_ENTRIES: usize = 100_000;

/// As a shell does it: no wildcard stands for a `/` or for the dot of a hidden name. Mounted ConfigMaps and Secrets keep
/// each file three times, twice below names such as `..data`.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A pattern of paths. `*`, `?` and `[a-z]` stand for characters of one name, `**` for any number of folders; `[*]` is the
/// character itself. A relative pattern counts from the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileGlob {
    text: String,
    /// What stands before the first wildcard: the whole path where there is none.
    root: PathBuf,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(String),
    Wild(Pattern),
    AnyDepth,
}

/// What a pattern leads to.
#[derive(Debug, Default)]
pub(super) struct FoundFiles {
    /// In no particular order. A pattern without wildcard leads to its path, whether there is anything or not.
    pub(super) files: Vec<PathBuf>,
    /// Where they may lie; `None` if the folder before the first wildcard is not to be had.
    pub(super) root: Option<Root>,
    /// Folders that could not be searched.
    pub(super) faults: Vec<(PathBuf, FolderFault)>,
    /// Links to folders that were not followed.
    pub(super) outside: Vec<PathBuf>,
}

/// Why a folder could not be searched, or not to its end.
#[derive(Debug)]
pub(super) enum FolderFault {
    /// The folder before the first wildcard is not there.
    Missing,
    /// The system does not let us list it, or reach what is in it.
    Unreadable(io::Error),
    /// Nothing is wrong with it: see [`FileFault::Exhausted`].
    Exhausted(io::Error),
    /// A link to it leads out of the root.
    Outside,
    /// The pattern reaches more than is looked at.
    TooManyEntries,
}

impl From<FileFault> for FolderFault {
    fn from(fault: FileFault) -> Self {
        match fault {
            FileFault::Missing => Self::Missing,
            FileFault::Exhausted(error) => Self::Exhausted(error),
            FileFault::Unreadable(error) | FileFault::NoProc(error) => Self::Unreadable(error),
            other => Self::Unreadable(io::Error::other(other.to_string())),
        }
    }
}

impl From<io::Error> for FolderFault {
    fn from(error: io::Error) -> Self {
        FileFault::from(error).into()
    }
}

impl fmt::Display for FolderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the folder is not there"),
            Self::Unreadable(error) | Self::Exhausted(error) => write!(f, "the folder cannot be searched: {error}"),
            Self::Outside => f.write_str("a link to the folder leads out of the folder before the first wildcard"),
            Self::TooManyEntries => {
                write!(f, "more than {MAX_ENTRIES} files and folders to look at: only a part of them is read")
            }
        }
    }
}

impl FileGlob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is not empty");
        }
        if text.contains('\0') {
            return Err("no name holds the character NUL");
        }
        let mut root = PathBuf::from(if text.starts_with('/') { "/" } else { "" });
        let mut parts = Vec::new();
        for name in text.split('/').filter(|name| !name.is_empty()) {
            if name == "**" {
                if parts.last() != Some(&Part::AnyDepth) {
                    parts.push(Part::AnyDepth);
                }
            } else if name.contains(['*', '?', '[']) {
                parts.push(Part::Wild(Pattern::new(name).map_err(|error| error.msg)?));
            } else if parts.is_empty() {
                root.push(name);
            } else {
                parts.push(Part::Name(name.to_owned()));
            }
        }
        if parts.last() == Some(&Part::AnyDepth) {
            parts.push(Part::Wild(Pattern::new("*").map_err(|error| error.msg)?));
        }
        Ok(Self { text: text.to_owned(), root, parts })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names one file: it has no wildcard.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.parts.is_empty()
    }

    /// The folder where links may lead: see [`Links::Inside`].
    fn root_folder(&self) -> &Path {
        if self.is_name() { self.root.parent().unwrap_or(&self.root) } else { &self.root }
    }

    /// Looks for the files that are there now. `**` does not follow links to folders; other wildcards do, as far as `links`
    /// may lead.
    pub(super) fn find(&self, links: Links) -> FoundFiles {
        let mut found = FoundFiles::default();
        let root = match Root::below(self.root_folder(), links) {
            Ok(root) => root,
            Err(_) if self.is_name() => {
                // Whoever reads it will see.
                found.files.push(self.root.clone());
                return found;
            }
            Err(fault) => {
                found.faults.push((self.root.clone(), fault.into()));
                return found;
            }
        };
        let pending = vec![(self.root.clone(), 0)];
        let mut search = Search { glob: self, root: &root, looked_at: 0, pending, found };
        while let Some((path, at)) = search.pending.pop() {
            match search.step(&path, at) {
                // Folders come and go.
                Ok(()) | Err(FolderFault::Missing) => {}
                Err(FolderFault::Outside) => search.found.outside.push(path),
                Err(FolderFault::TooManyEntries) => {
                    search.found.faults.push((self.root.clone(), FolderFault::TooManyEntries));
                    break;
                }
                Err(fault) => search.found.faults.push((path, fault)),
            }
        }
        let mut found = search.found;
        found.root = Some(root);
        found
    }
}

/// A walk from folder to folder.
struct Search<'a> {
    glob: &'a FileGlob,
    root: &'a Root,
    looked_at: usize,
    /// Paths, and the number of the part that is looked for below each.
    pending: Vec<(PathBuf, usize)>,
    found: FoundFiles,
}

impl Search<'_> {
    fn step(&mut self, path: &Path, at: usize) -> Result<(), FolderFault> {
        let parts = &self.glob.parts;
        let (deep, at) = if parts.get(at) == Some(&Part::AnyDepth) { (Some(at), at + 1) } else { (None, at) };
        let wild = match parts.get(at) {
            None => {
                if at == 0 || is_file_or_dangling(path) {
                    self.found.files.push(path.to_owned());
                }
                return Ok(());
            }
            Some(Part::Name(name)) => {
                let next = path.join(name);
                if next.symlink_metadata().is_ok() {
                    self.pending.push((next, at + 1));
                }
                None
            }
            Some(Part::Wild(pattern)) => Some(pattern),
            Some(Part::AnyDepth) => None,
        };
        if wild.is_none() && deep.is_none() {
            return Ok(());
        }
        let handle = Handle::open(path)?;
        if !self.root.holds(&handle) {
            return Err(FolderFault::Outside);
        }
        if !handle.metadata.is_dir() && path != self.glob.root {
            return Ok(());
        }
        let last = at + 1 == parts.len();
        for (number, entry) in handle.list()?.enumerate() {
            let entry = entry?;
            // A folder may be listed and not entered: one fault, and not one for each file in it.
            if number == 0
                && let Err(error) = entry.metadata()
                && error.kind() == io::ErrorKind::PermissionDenied
            {
                return Err(error.into());
            }
            self.looked_at += 1;
            if self.looked_at > MAX_ENTRIES {
                return Err(FolderFault::TooManyEntries);
            }
            let name = entry.file_name();
            let (name, inner) = (name.to_string_lossy(), path.join(&name));
            let kind = entry.file_type();
            let is = |test: fn(&fs::FileType) -> bool| kind.as_ref().is_ok_and(test);
            if let Some(deep) = deep
                && !name.starts_with('.')
                && is(fs::FileType::is_dir)
            {
                self.pending.push((inner.clone(), deep));
            }
            if wild.is_some_and(|pattern| pattern.matches_with(&name, OPTIONS)) {
                if last && is(fs::FileType::is_file) {
                    // As most are: it need not be looked at again.
                    self.found.files.push(inner);
                } else if last || inner.is_dir() {
                    self.pending.push((inner, at + 1));
                }
            }
        }
        Ok(())
    }
}

fn is_file_or_dangling(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `pattern` finds below `root`, relative to it.
    fn found(root: &Path, pattern: &str) -> Vec<String> {
        let found = FileGlob::parse(&format!("{}/{pattern}", root.display())).unwrap().find(Links::Inside);
        assert!(found.faults.is_empty(), "{:?}", found.faults);
        let relative = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
        let mut files: Vec<_> = found.files.iter().map(relative).collect();
        files.sort();
        files
    }

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn patterns_find_files() {
        let folder = folder_with(&[
            "a.yaml",
            "b.yml",
            "c/a.yaml",
            "c/d/a.yaml",
            "c/d/e.json",
            ".h.yaml",
            "..data/a.yaml",
            "[x]",
        ]);
        let root = folder.path();
        for (pattern, wanted) in [
            ("a.yaml", &["a.yaml"][..]),
            ("*.yaml", &["a.yaml"]),
            ("*.y*ml", &["a.yaml", "b.yml"]),
            ("?.yml", &["b.yml"]),
            ("[ab].y*", &["a.yaml", "b.yml"]),
            ("[[]x]", &["[x]"]),
            ("*", &["[x]", "a.yaml", "b.yml"]),
            ("*/*.yaml", &["c/a.yaml"]),
            ("*/a.yaml", &["c/a.yaml"]),
            ("*/d/*", &["c/d/a.yaml", "c/d/e.json"]),
            ("**/*.yaml", &["a.yaml", "c/a.yaml", "c/d/a.yaml"]),
            ("**/**/*.json", &["c/d/e.json"]),
            ("**/d/*.json", &["c/d/e.json"]),
            ("c/**", &["c/a.yaml", "c/d/a.yaml", "c/d/e.json"]),
            (".*.yaml", &[".h.yaml"]),
            ("..data/*", &["..data/a.yaml"]),
            ("*.toml", &[]),
            ("*/nothing", &[]),
        ] {
            assert_eq!(found(root, pattern), wanted, "{pattern}");
        }
    }

    #[test]
    fn links_to_files_count_and_no_circle_is_walked() {
        let folder = folder_with(&["a/b.yaml"]);
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
        link("..", "a/up");
        link(".", "a/here");
        link("a/b.yaml", "link.yaml");
        link("nowhere", "dangling.yaml");
        assert_eq!(found(folder.path(), "**/*.yaml"), ["a/b.yaml", "dangling.yaml", "link.yaml"]);
        assert_eq!(found(folder.path(), "*/up/link.yaml"), ["a/up/link.yaml"]);
    }

    #[test]
    fn what_is_not_there() {
        let folder = folder_with(&["file"]);
        let glob = |pattern: &str| {
            FileGlob::parse(&format!("{}/{pattern}", folder.path().display())).unwrap().find(Links::Inside)
        };
        // Whoever reads it will see.
        assert_eq!(glob("nothing.yaml").files, [folder.path().join("nothing.yaml")]);
        for (pattern, place) in [("nothing/*.yaml", "nothing"), ("nothing/**/*.yaml", "nothing")] {
            let found = glob(pattern);
            assert!(found.files.is_empty());
            assert!(
                found
                    .faults
                    .iter()
                    .any(|(path, fault)| *path == folder.path().join(place) && matches!(fault, FolderFault::Missing)),
                "{:?}",
                found.faults
            );
        }
        assert!(matches!(&glob("file/*").faults[..], [(_, FolderFault::Unreadable(_))]));
    }

    #[test]
    fn patterns_that_make_no_sense() {
        for text in ["", "a\0b", "a**", "**b/c", "***", "[a", "x/[]"] {
            assert!(FileGlob::parse(text).is_err(), "{text:?}");
        }
        for text in ["a", "/", "./a", "../*", "a//b/", "**", "~/x", "{a,b}"] {
            assert_eq!(FileGlob::parse(text).unwrap().as_str(), text);
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(text in "[a*?\\[\\]!./-]{0,12}|\\PC{0,12}") {
            let _ = FileGlob::parse(&text);
        }
    }
}
