//! Files by pattern: `manifests/*.yaml`, `/etc/tokens/**/*.json`, or one path.

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
pub struct FoundFiles {
    /// In no particular order. A pattern without wildcard leads to its path, whether there is anything or not.
    pub files: Vec<PathBuf>,
    /// Folders that could not be searched.
    pub faults: Vec<(PathBuf, FolderFault)>,
}

/// Why a folder could not be searched, or not to its end.
#[derive(Debug)]
pub enum FolderFault {
    /// The folder before the first wildcard is not there.
    Missing,
    /// The system does not let us list it.
    Unreadable(io::Error),
    /// The pattern reaches more than is looked at.
    TooManyEntries,
}

impl fmt::Display for FolderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the folder is not there"),
            Self::Unreadable(error) => write!(f, "the folder cannot be listed: {error}"),
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

    /// Looks for the files that are there now. `**` does not follow links to folders; other wildcards do.
    #[must_use]
    pub fn find(&self) -> FoundFiles {
        let mut found = FoundFiles::default();
        let mut looked_at = 0usize;
        let mut pending = vec![(self.root.clone(), 0usize)];
        while let Some((path, at)) = pending.pop() {
            match self.parts.get(at) {
                None if at == 0 || is_file_or_dangling(&path) => found.files.push(path),
                None => {}
                Some(Part::Name(name)) => {
                    let next = path.join(name);
                    if next.symlink_metadata().is_ok() {
                        pending.push((next, at + 1));
                    }
                }
                Some(part) => {
                    if *part == Part::AnyDepth {
                        pending.push((path.clone(), at + 1));
                    }
                    let last = at + 1 == self.parts.len();
                    let end = each_entry(&path, &mut looked_at, |name, entry| {
                        let next = match part {
                            Part::Wild(pattern) if pattern.matches_with(name, OPTIONS) => at + 1,
                            Part::AnyDepth if !name.starts_with('.') => at,
                            _ => return,
                        };
                        let inner = path.join(entry.file_name());
                        let leads_on = match part {
                            Part::AnyDepth => entry.file_type().is_ok_and(|kind| kind.is_dir()),
                            _ => last || inner.is_dir(),
                        };
                        if leads_on {
                            pending.push((inner, next));
                        }
                    });
                    match end {
                        Ok(()) => {}
                        Err(FolderFault::TooManyEntries) => {
                            found.faults.push((self.root.clone(), FolderFault::TooManyEntries));
                            return found;
                        }
                        // Folders come and go. The one that the pattern names is expected.
                        Err(FolderFault::Missing) if at > 0 => {}
                        Err(fault) => found.faults.push((path, fault)),
                    }
                }
            }
        }
        found
    }
}

fn is_file_or_dangling(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |found| found.is_file())
}

fn each_entry(
    folder: &Path,
    looked_at: &mut usize,
    mut each: impl FnMut(&str, &fs::DirEntry),
) -> Result<(), FolderFault> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FolderFault::Missing,
        _ => FolderFault::Unreadable(error),
    };
    for entry in fs::read_dir(here).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        *looked_at += 1;
        if *looked_at > MAX_ENTRIES {
            return Err(FolderFault::TooManyEntries);
        }
        each(&entry.file_name().to_string_lossy(), &entry);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `pattern` finds below `root`, relative to it.
    fn found(root: &Path, pattern: &str) -> Vec<String> {
        let found = FileGlob::parse(&format!("{}/{pattern}", root.display())).unwrap().find();
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
        let glob = |pattern: &str| FileGlob::parse(&format!("{}/{pattern}", folder.path().display())).unwrap().find();
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
