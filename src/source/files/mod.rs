//! Files with tokens: of a node, or of the volumes of a pod. A token by itself, a JSON document, a kubeconfig.
//!
//! A poll reads every file. In between we only look, every two seconds: at the folders for new files, at each file for a change
//! of its identity, size or times. So the kubelet's way to replace a projected token (it swaps the link `..data`) shows by
//! itself, and a thousand files that nobody touches cost a thousand calls of `stat`.
//!
//! A file counts once, by its path with all links resolved: patterns overlap, and people link. Hard links count as often as there
//! are names: whoever replaces one of them, by renaming as all do, leaves the other as it is.

mod known;
#[cfg(test)]
mod tests;

use super::file_set::{FAULTS_TOLD, FileErrors, FileSet, Listing, Origin, exhausted, shown_name};
use super::regular_file::{FileFault, Handle};
use super::{FileGlob, Held, Links, PollError, Source, Tended};
use crate::observation::{DataValue, FileView, MAX_VALUE_BYTES, Observer, Reading, Reason, SecretObservation};
use known::{Known, Signature};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use zeroize::Zeroize as _;

/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A look at many files takes long; the next one is so many times as far away. At most this share of a core is spent.
const LOOK_SHARE: u32 = 20;

/// Enough of a file that is too large to tell whether it begins like a token or a document.
const START_BYTES: usize = 4096;

/// With less than this behind the white space it cannot be told.
const LEAST_START_BYTES: usize = 16;

/// What the labels `secret_name` and `secret_key` say of a file that is a token.
#[must_use]
pub fn place_of(path: &Path) -> (String, Cow<'_, str>) {
    (shown_name(path), path.file_name().unwrap_or_default().to_string_lossy())
}

/// Files with tokens.
pub struct FilesSource {
    files: FileSet,
    observer: Observer,
    known: BTreeMap<PathBuf, Known>,
    /// Of folders and patterns.
    errors: FileErrors,
    held: Held,
    /// What is known has changed, and `held` not yet.
    behind: bool,
    /// `None`: they are not looked at between two polls, or not yet.
    next_look: Option<Instant>,
    watch: bool,
    /// Of the file that is being read.
    bytes: Vec<u8>,
}

impl FilesSource {
    /// All files of `globs` are looked into. With `watch`, changes show between two polls.
    #[must_use]
    pub fn new(globs: Vec<FileGlob>, links: Links, watch: bool, reading: Reading) -> Self {
        Self {
            files: FileSet::new("files", globs, links),
            observer: Observer::new(reading),
            known: BTreeMap::new(),
            errors: FileErrors::new(),
            held: Held::new(),
            behind: false,
            next_look: None,
            watch,
            bytes: Vec::new(),
        }
    }

    /// Takes in what is there now; whether something is shown that was not, or the other way round. Of files that are known
    /// and look as before the content is read only if `all` are.
    fn take_in(&mut self, all: bool) -> Result<bool, PollError> {
        let mut listing = self.files.list()?;
        let mut now_known = BTreeMap::new();
        let mut changed = self.behind;
        for (path, origin) in std::mem::take(&mut listing.files) {
            let before = self.known.remove(&path);
            let known = match before {
                Some(known) if !all && known.is_current(&path, &origin) => Some(known),
                before => match self.read(&path, &origin, &mut listing, before.as_ref()) {
                    Ok(now) => {
                        changed |= now.as_ref().map(Known::shown) != before.as_ref().map(Known::shown);
                        now
                    }
                    Err(error) => {
                        // What was known stays.
                        now_known.extend(before.map(|known| (path, known)));
                        self.known.append(&mut now_known);
                        self.behind = changed;
                        return Err(error);
                    }
                },
            };
            now_known.extend(known.map(|known| (path, known)));
        }
        self.files.tell_outside(&listing);
        changed |= !self.known.is_empty() || self.errors != listing.errors;
        self.known = now_known;
        self.errors = listing.errors;
        self.behind = false;
        if changed {
            self.hold();
        }
        Ok(changed)
    }

    /// What a file is now. `None`: there is nothing that anybody would miss.
    fn read(
        &mut self,
        path: &Path,
        origin: &Origin,
        listing: &mut Listing,
        before: Option<&Known>,
    ) -> Result<Option<Known>, PollError> {
        let opened_at = SystemTime::now();
        let handle = match listing.open(path, origin) {
            Ok(Some(handle)) => handle,
            Ok(None) => return Ok(None),
            Err(FileFault::Exhausted(error)) => return Err(exhausted(path, &error)),
            Err(fault) => return Ok(Some(Known::unread(path, origin, &fault))),
        };
        let signature = Signature::of(&handle.metadata);
        let content = if origin.is_named || self.is_worth_reading(&handle) {
            handle.read(MAX_VALUE_BYTES, &mut self.bytes)
        } else {
            self.bytes.clear();
            Ok(())
        };
        let mut known = match content {
            Ok(()) => {
                let version = version(&self.bytes, origin);
                let same = before.filter(|before| before.version == Some(version));
                let observation = match same {
                    Some(before) => before.observation.clone(),
                    None => self.observe(path, origin, version),
                };
                Known::read(origin, version, observation)
            }
            Err(FileFault::Exhausted(error)) => return Err(exhausted(path, &error)),
            Err(fault) => Known::unread(path, origin, &fault),
        };
        self.bytes.zeroize();
        known.signature = signature.settled(opened_at);
        known.is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
        known.real = handle.real;
        Ok(Some(known))
    }

    /// Most files of a broad pattern are neither tokens nor documents: of those only the start is read, and that one is too
    /// large is no news. If it cannot be told, reading it will say why.
    fn is_worth_reading(&mut self, handle: &Handle) -> bool {
        if handle.metadata.len() == 0 || handle.read_start(START_BYTES, &mut self.bytes).is_err() {
            return handle.metadata.len() > 0;
        }
        let only_space = self.bytes.len() == START_BYTES && self.bytes.trim_ascii_start().len() < LEAST_START_BYTES;
        let is_worth_it = only_space || DataValue::Bytes(&self.bytes).is_worth_a_look();
        self.bytes.zeroize();
        is_worth_it
    }

    fn observe(&mut self, path: &Path, origin: &Origin, version: u64) -> Option<Arc<SecretObservation>> {
        let (name, key) = place_of(path);
        let named = origin.is_named;
        let view = FileView { path: &name, key: &key, bytes: &self.bytes, named, version };
        self.observer.observe_file(&view).map(Arc::new)
    }

    /// Puts together what is held: of the paths that lead to the same file, one.
    fn hold(&mut self) {
        let mut chosen: HashMap<&Path, (&Path, &Known)> = HashMap::new();
        for (path, known) in self.known.iter().filter(|(_, known)| !known.real.as_os_str().is_empty()) {
            let here = chosen.entry(&known.real).or_insert((path, known));
            if known.rank() < here.1.rank() {
                *here = (path, known);
            }
        }
        let mut errors = self.errors.clone();
        let mut more = 0usize;
        let mut held: BTreeMap<Box<str>, Arc<SecretObservation>> = BTreeMap::new();
        for (path, known) in &self.known {
            if chosen.get(&*known.real).is_some_and(|(other, _)| *other != path) {
                continue;
            }
            if let Some((name, reason, detail)) = &known.fault {
                if known.is_named() || errors.len() < FAULTS_TOLD {
                    errors.entry(name.clone()).or_default().push((*reason, detail.clone()));
                } else {
                    more += 1;
                }
            }
            if let Some(observation) = &known.observation {
                held.insert(observation.name.clone(), Arc::clone(observation));
            }
        }
        if more > 0 {
            let detail = format!("{more} more files that patterns lead to cannot be read than are told");
            errors.entry("/".to_owned()).or_default().push((Reason::Unreadable, detail));
        }
        let extra = self.observer.reading().extra_labels(|_| None, None);
        for (name, errors) in errors {
            let broken = SecretObservation::broken(&name, errors, &extra);
            let before = self.held.binary_search_by(|known| (*known.name).cmp(&*name)).ok();
            let before = before.and_then(|at| self.held.get(at)).filter(|before| ***before == broken);
            let broken = before.map_or_else(|| Arc::new(broken), Arc::clone);
            held.insert(name.into(), broken);
        }
        self.held = held.into_values().collect();
    }

    fn look_later(&mut self, cost: Duration) {
        self.next_look = self.watch.then(|| Instant::now() + LOOK_EVERY.max(cost.saturating_mul(LOOK_SHARE)));
    }
}

/// Tells this content from every other, and one that has to hold a token from one that need not.
fn version(bytes: &[u8], origin: &Origin) -> u64 {
    let mut hasher = DefaultHasher::new();
    (bytes, origin.is_named).hash(&mut hasher);
    hasher.finish()
}

impl Source for FilesSource {
    fn name(&self) -> &str {
        "files"
    }

    fn held(&self) -> &Held {
        &self.held
    }

    fn poll(&mut self) -> Result<(), PollError> {
        let read = self.take_in(true);
        self.look_later(Duration::ZERO);
        read.map(|_| ())
    }

    fn tend(&mut self, now: Instant) -> Tended {
        let mut changed = false;
        if self.next_look.is_some_and(|due| due <= now) {
            let begun = Instant::now();
            // One that fails is followed by a poll, which tells why.
            changed = self.take_in(false).unwrap_or_else(|error| {
                log::debug!("files: {error}");
                false
            });
            self.look_later(begun.elapsed());
        }
        Tended { next: self.next_look, changed, relist: false }
    }
}
