//! Files that others may replace at any time, opened once and judged by what was opened.
//!
//! A path says nothing certain: between a look at it and its opening, a link may lead elsewhere. So a file is opened as a mere
//! handle (`O_PATH`: no pipe is joined, no device wakes up), the kernel tells what that handle is and where it lies
//! (`/proc/self/fd`), and only then the very same file is opened for reading, through the handle.

use crate::observation::Reason;
use std::ffi::CString;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, ReadDir};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How far the links may lead that a pattern meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// To what lies below the folder before the first wildcard; of a path without wildcard, in the folder of its file.
    Inside,
    /// Anywhere.
    Anywhere,
}

/// Where the files of one pattern may lie.
#[derive(Clone, Debug)]
pub(super) struct Root {
    /// Without a link in it. `None`: anywhere.
    folder: Option<PathBuf>,
}

/// A file or folder that is open, and cannot be read yet.
pub(super) struct Handle {
    file: File,
    /// What it is.
    pub(super) metadata: Metadata,
    /// Where it is, without a link in it.
    pub(super) real: PathBuf,
}

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum FileFault {
    /// There is none, or a link leads to none.
    Missing,
    /// The system does not let us.
    Unreadable(io::Error),
    /// We have too many files open, or too little memory: nothing is wrong with this file.
    Exhausted(io::Error),
    /// The system does not tell where an open file lies.
    NoProc(io::Error),
    /// A link leads out of the root.
    Outside,
    /// It is a folder.
    Folder,
    /// A pipe, a socket, a device.
    Special,
    /// More than this many bytes.
    TooLarge(usize),
}

impl Root {
    /// What lies below `folder` now, wherever a link in its own path leads: somebody wrote it down.
    pub(super) fn below(folder: &Path, links: Links) -> Result<Self, FileFault> {
        let folder = match links {
            Links::Anywhere => None,
            Links::Inside => Some(Handle::open(folder)?.real),
        };
        Ok(Self { folder })
    }

    pub(super) fn holds(&self, handle: &Handle) -> bool {
        self.folder.as_ref().is_none_or(|folder| handle.real.starts_with(folder))
    }
}

impl Handle {
    /// Opens whatever is there; links are followed. An empty path is the working directory.
    pub(super) fn open(path: &Path) -> Result<Self, FileFault> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let file = open_path(path)?;
        let metadata = file.metadata()?;
        let real = fs::read_link(in_proc(&file)).map_err(FileFault::NoProc)?;
        Ok(Self { file, metadata, real })
    }

    /// The same within one of `roots`, and no folder, pipe or device.
    pub(super) fn open_regular<'a>(path: &Path, roots: impl IntoIterator<Item = &'a Root>) -> Result<Self, FileFault> {
        let handle = Self::open(path)?;
        if !roots.into_iter().any(|root| root.holds(&handle)) {
            return Err(FileFault::Outside);
        }
        match handle.metadata.file_type() {
            kind if kind.is_dir() => Err(FileFault::Folder),
            kind if kind.is_file() => Ok(handle),
            _ => Err(FileFault::Special),
        }
    }

    /// Lists the folder.
    pub(super) fn list(&self) -> io::Result<ReadDir> {
        fs::read_dir(in_proc(&self.file))
    }

    /// Puts the content of the file into `bytes`. One that says that it is too large is not opened at all.
    pub(super) fn read(&self, most: usize, bytes: &mut Vec<u8>) -> Result<(), FileFault> {
        let size = usize::try_from(self.metadata.len()).unwrap_or(usize::MAX);
        if size > most {
            return Err(FileFault::TooLarge(most));
        }
        // One byte more than there should be, so that a vector of this capacity sees the end.
        bytes.reserve(size + 1);
        self.read_start(most + 1, bytes)?;
        if bytes.len() > most { Err(FileFault::TooLarge(most)) } else { Ok(()) }
    }

    /// Puts the first bytes of the file into `bytes`, at most `most`.
    pub(super) fn read_start(&self, most: usize, bytes: &mut Vec<u8>) -> Result<(), FileFault> {
        bytes.clear();
        // Not even a file that only looks like one (there are such below /proc) shall keep us waiting.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(in_proc(&self.file))?;
        file.take(most as u64).read_to_end(bytes)?;
        Ok(())
    }
}

/// By the system call itself: where the C library is musl, the standard library takes `O_PATH` for an access mode and leaves it
/// out, and a pipe would keep us waiting.
fn open_path(path: &Path) -> io::Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    loop {
        // SAFETY: a text that ends in NUL and lives through the call.
        let descriptor = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
        if descriptor >= 0 {
            // SAFETY: it was opened just now, and nobody else has it.
            return Ok(unsafe { File::from_raw_fd(descriptor) });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn in_proc(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

impl FileFault {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Missing => Reason::NotFound,
            Self::TooLarge(_) => Reason::TooLarge,
            Self::Unreadable(_)
            | Self::Exhausted(_)
            | Self::NoProc(_)
            | Self::Outside
            | Self::Folder
            | Self::Special => Reason::Unreadable,
        }
    }
}

impl From<io::Error> for FileFault {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Self::Exhausted(error),
            _ if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error),
        }
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such file"),
            Self::Unreadable(error) | Self::Exhausted(error) => write!(f, "it cannot be read: {error}"),
            Self::NoProc(error) => write!(f, "/proc, which tells where a file lies, cannot be read: {error}"),
            Self::Outside => f.write_str(
                "a link leads out of the folder where the files may lie; `follow_links_outside: true` lets it",
            ),
            Self::Folder => f.write_str("it is a folder; name the files in it, as in FOLDER/*"),
            Self::Special => f.write_str("it is not a regular file"),
            Self::TooLarge(most) => write!(f, "a file of more than {} MiB is not read", most >> 20),
        }
    }
}
