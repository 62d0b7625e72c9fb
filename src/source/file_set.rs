//! The files of several patterns: which there are now, where each of them may lie, and what keeps us from finding them.

use super::PollError;
use super::file_glob::{FileGlob, FolderFault};
use super::regular_file::{FileFault, Handle, Links, Root};
use crate::observation::{MAX_LABEL_BYTES, Reason, without_tokens};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

/// More files are not read, but for those that somebody named.
pub(super) const MAX_FILES: usize = 10_000;

/// Faults that are told by their path, of folders and of files that nobody named. `/**` with few rights has one for each process.
pub(super) const FAULTS_TOLD: usize = 100;

/// What is wrong, by the name that is shown.
pub(super) type FileErrors = BTreeMap<String, Vec<(Reason, String)>>;

/// The patterns of one source, and what the log has been told of them.
pub(super) struct FileSet {
    /// The label `source`.
    source: &'static str,
    globs: Vec<FileGlob>,
    links: Links,
    /// By number: patterns that lead to nothing.
    empty: BTreeSet<usize>,
    told_outside: bool,
}

/// What there is now.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) files: BTreeMap<PathBuf, Origin>,
    pub(super) errors: FileErrors,
    /// By the number of the pattern.
    roots: Vec<Option<Root>>,
    /// Links that are not followed, and that nobody named.
    outside: BTreeSet<PathBuf>,
}

/// How a file was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// By its very path: then it is an error if there is nothing to be read from it.
    pub(super) is_named: bool,
    globs: Vec<usize>,
}

impl FileSet {
    pub(super) fn new(source: &'static str, globs: Vec<FileGlob>, links: Links) -> Self {
        Self { source, globs, links, empty: BTreeSet::new(), told_outside: false }
    }

    /// Walks through the folders of all patterns.
    ///
    /// # Errors
    /// We have not the means to look; that says nothing about the files.
    pub(super) fn list(&mut self) -> Result<Listing, PollError> {
        let mut listing = Listing::default();
        listing.roots.resize_with(self.globs.len(), || None);
        let mut more_folders = 0usize;
        // What somebody named comes last: then nothing can take its place.
        let numbered = || self.globs.iter().enumerate();
        let patterns = numbered().filter(|(_, glob)| !glob.is_name());
        for (number, glob) in patterns.chain(numbered().filter(|(_, glob)| glob.is_name())) {
            let found = glob.find(self.links);
            let nothing = found.files.is_empty() && found.faults.is_empty();
            for (folder, fault) in found.faults {
                let reason = match fault {
                    FolderFault::Missing => Reason::NotFound,
                    FolderFault::Unreadable(_) | FolderFault::Outside => Reason::Unreadable,
                    FolderFault::TooManyEntries => Reason::TooLarge,
                    FolderFault::Exhausted(error) => return Err(exhausted(&folder, &error)),
                };
                if listing.errors.len() < FAULTS_TOLD {
                    listing.error(&folder, reason, fault.to_string());
                } else {
                    more_folders += 1;
                }
            }
            listing.outside.extend(found.outside);
            if let Some(root) = listing.roots.get_mut(number) {
                *root = found.root;
            }
            let mut too_many = false;
            for path in found.files {
                too_many |= !listing.take(path, number, glob.is_name());
            }
            if too_many {
                let detail = format!("with this pattern there are more than {MAX_FILES} files: only so many are read");
                listing.error(Path::new(glob.as_str()), Reason::TooLarge, detail);
            }
            if !nothing {
                self.empty.remove(&number);
            } else if self.empty.insert(number) {
                log::warn!("{}: there is no file like {}", self.source, glob.as_str());
            }
        }
        if more_folders > 0 {
            let detail = format!("{more_folders} more folders cannot be searched than are told");
            listing.error(Path::new("/"), Reason::Unreadable, detail);
        }
        Ok(listing)
    }

    /// Tells the log once that links are not followed.
    pub(super) fn tell_outside(&mut self, listing: &Listing) {
        let first = listing.outside.first();
        if let Some(first) = first.filter(|_| !self.told_outside) {
            log::warn!(
                "{}: links that lead out of the folder before the first wildcard are not followed: {} and {} more; \
                 `follow_links_outside: true` lets them",
                self.source,
                shown_name(first),
                listing.outside.len() - 1
            );
        }
        self.told_outside = first.is_some();
    }
}

impl Listing {
    /// Takes in a file that a pattern leads to. Of too many, the first by their paths are kept; `false`: it, or another one in its
    /// place, was left out. A tree has a hundred thousand: those that are left out cost one comparison and no memory.
    /// One that somebody named is kept in any case, if those that nobody did have come before.
    fn take(&mut self, path: PathBuf, number: usize, is_named: bool) -> bool {
        let is_full = !is_named && self.files.len() >= MAX_FILES;
        if is_full && self.files.last_key_value().is_some_and(|(last, _)| *last < path) {
            return false;
        }
        let origin = self.files.entry(path).or_default();
        origin.is_named |= is_named;
        origin.globs.push(number);
        if is_named || self.files.len() <= MAX_FILES {
            return true;
        }
        self.files.pop_last();
        false
    }

    /// Opens one of its files. `None`: there is nothing that anybody would miss.
    pub(super) fn open(&mut self, path: &Path, origin: &Origin) -> Result<Option<Handle>, FileFault> {
        let roots = origin.globs.iter().filter_map(|number| self.roots.get(*number)?.as_ref());
        match Handle::open_regular(path, roots) {
            Ok(handle) => Ok(Some(handle)),
            Err(FileFault::Outside) if !origin.is_named => {
                self.outside.insert(path.to_owned());
                Ok(None)
            }
            Err(FileFault::Folder | FileFault::Special) if !origin.is_named => Ok(None),
            // It was listed a moment ago. A link that leads to nothing is worth telling.
            Err(FileFault::Missing) if !origin.is_named && path.symlink_metadata().is_err() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    pub(super) fn error(&mut self, path: &Path, reason: Reason, detail: String) {
        self.errors.entry(shown_name(path)).or_default().push((reason, detail));
    }
}

/// A failed poll: we have not the means to go on.
pub(super) fn exhausted(path: &Path, error: &io::Error) -> PollError {
    PollError {
        reason: "exhausted",
        message: format!("{} cannot be opened: {error}", shown_name(path)),
        retry_after: None,
        needs_operator: false,
    }
}

/// A path as the label `secret_name` shows it. Where the label cannot show it as it is (it is no text, too long, or people
/// put a token into it), a hash of it stands behind what can be shown: two files are never one.
pub(super) fn shown_name(path: &Path) -> String {
    const HASH_BYTES: usize = "…".len() + 16;
    let text = path.to_string_lossy();
    let clean = without_tokens(&text);
    let is_text = matches!(text, Cow::Borrowed(_));
    if is_text && clean == text && text.len() <= MAX_LABEL_BYTES {
        return text.into_owned();
    }
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    let most = MAX_LABEL_BYTES - HASH_BYTES;
    let kept = (0..=most.min(clean.len())).rev().find_map(|end| clean.get(..end)).unwrap_or_default();
    format!("{kept}…{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    #[test]
    fn of_too_many_files_the_first_are_kept_in_whatever_order_they_come() {
        let path = |number: usize| PathBuf::from(format!("/{number:08}"));
        let upwards: Vec<usize> = (0..MAX_FILES + 2).collect();
        let downwards: Vec<usize> = upwards.iter().rev().copied().collect();
        for order in [upwards, downwards] {
            let mut listing = Listing::default();
            let left_out = order.iter().filter(|number| !listing.take(path(**number), 0, false)).count();
            assert_eq!((left_out, listing.files.len()), (2, MAX_FILES));
            assert_eq!(listing.files.last_key_value().unwrap().0, &path(MAX_FILES - 1));
            assert!(listing.take(path(MAX_FILES - 1), 1, true), "it is there already");
            assert_eq!(listing.files[&path(MAX_FILES - 1)], Origin { is_named: true, globs: vec![0, 1] });
        }
    }

    #[test]
    fn a_name_is_shown_as_it_is_or_with_a_hash() {
        for plain in ["/a b/ü\n", "/x/eyJ.json", ""] {
            assert_eq!(shown_name(Path::new(plain)), plain);
        }
        let token = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2ln";
        let names = [
            PathBuf::from(OsString::from_vec(b"/x/\xff".to_vec())),
            PathBuf::from(OsString::from_vec(b"/x/\xfe".to_vec())),
            PathBuf::from(format!("/x/{token}")),
            PathBuf::from(format!("/x/{token}x")),
            PathBuf::from(format!("/{}", "é".repeat(400))),
            PathBuf::from(format!("/{}1", "é".repeat(400))),
        ];
        let shown: BTreeSet<String> = names.iter().map(|name| shown_name(name)).collect();
        assert_eq!(shown.len(), names.len());
        assert!(shown.iter().all(|name| name.len() <= MAX_LABEL_BYTES && !name.contains("eyJ")), "{shown:?}");
    }

    proptest! {
        #[test]
        fn every_path_has_a_name_that_a_label_keeps(bytes in proptest::collection::vec(1u8.., 0..700)) {
            let name = shown_name(Path::new(&OsString::from_vec(bytes)));
            prop_assert!(name.len() <= MAX_LABEL_BYTES);
            prop_assert_eq!(without_tokens(&name), name.as_str());
        }
    }
}
