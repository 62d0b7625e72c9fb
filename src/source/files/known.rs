//! What is remembered of a file from one look to the next.

use super::super::file_set::{Origin, shown_name};
use super::super::regular_file::FileFault;
use crate::observation::{Reason, SecretObservation};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The clock that writes a file's times may tick as seldom as this, and a second change within one tick leaves no trace.
const TICK: Duration = Duration::from_secs(3);

/// One file.
pub(super) struct Known {
    origin: Origin,
    /// `None`: it is read again at the next look.
    pub(super) signature: Option<Signature>,
    /// The path without a link in it; empty if it could not be opened.
    pub(super) real: PathBuf,
    /// The path itself is a link.
    pub(super) is_link: bool,
    /// Of its content.
    pub(super) version: Option<u64>,
    /// `None`: there is no token in it, and nobody said that there should be.
    pub(super) observation: Option<Arc<SecretObservation>>,
    /// Why it could not be read, and the name that is shown.
    pub(super) fault: Option<(String, Reason, String)>,
}

/// All that shows of it.
type Shown<'a> = (&'a Path, bool, Option<*const SecretObservation>, &'a Option<(String, Reason, String)>);

impl Known {
    pub(super) fn read(origin: &Origin, version: u64, observation: Option<Arc<SecretObservation>>) -> Self {
        Self {
            origin: origin.clone(),
            signature: None,
            real: PathBuf::new(),
            is_link: false,
            version: Some(version),
            observation,
            fault: None,
        }
    }

    pub(super) fn unread(path: &Path, origin: &Origin, fault: &FileFault) -> Self {
        Self {
            origin: origin.clone(),
            signature: None,
            real: PathBuf::new(),
            is_link: false,
            version: None,
            observation: None,
            fault: Some((shown_name(path), fault.reason(), fault.to_string())),
        }
    }

    /// Whether the file is as it was when it was read.
    pub(super) fn is_current(&self, path: &Path, origin: &Origin) -> bool {
        self.signature.is_some()
            && self.origin == *origin
            && fs::metadata(path).is_ok_and(|found| Some(Signature::of(&found)) == self.signature)
    }

    /// Whether somebody named just this file.
    pub(super) fn is_named(&self) -> bool {
        self.origin.is_named
    }

    /// Of several paths to one file, the first by this is shown.
    pub(super) fn rank(&self) -> (bool, bool) {
        (!self.origin.is_named, self.is_link)
    }

    pub(super) fn shown(&self) -> Shown<'_> {
        (&self.real, self.is_link, self.observation.as_ref().map(Arc::as_ptr), &self.fault)
    }
}

/// What changes with every change of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Likewise; of everything that `stat` tells, rights included.
    changed: (i64, i64),
}

impl Signature {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// `None` if the file was changed so shortly before `now` that it could be changed once more, and look the same.
    pub(super) fn settled(self, now: SystemTime) -> Option<Self> {
        let seconds = now.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok())?;
        (seconds.abs_diff(self.changed.0) > TICK.as_secs()).then_some(self)
    }
}
