//! A token in a file: written beside it, synced, and put in its place by a rename, mode 0600.
//!
//! Two processes with the same file keep out of each other's way by a lock on `.NAME.lock` beside it, from before the file is
//! read until the try is over. The system lets go of it when its holder dies.

use crate::redacted::Redacted;
use crate::renewal::attempt::{Claiming, Held, Target};
use crate::renewal::claim::Claim;
use crate::renewal::reason::{Failure, Reason};
use crate::renewal::verdict::Found;
use crate::whole_file;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A longer file holds no token of ours.
const MOST_BYTES: usize = 1 << 20;

/// A file, and the lock while a try is under way.
pub(in crate::renewal) struct FileTarget<'a> {
    path: &'a Path,
    lock: Option<File>,
}

impl<'a> FileTarget<'a> {
    pub(in crate::renewal) fn new(path: &'a Path) -> Self {
        Self { path, lock: None }
    }

    /// A hidden file beside it: `.NAME.ENDING`.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(ending);
        self.path.with_file_name(name)
    }

    fn write_file(&self, token: &Redacted) -> io::Result<()> {
        let new = self.beside(".new");
        // Left over from a process that died; or put there by somebody else, which `create_new` would refuse to follow.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let written = file
            .write_all(token.expose().as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, self.path));
        if let Err(error) = written {
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        // The rename itself; some file systems have no such thing.
        if let Some(Ok(folder)) = self
            .path
            .parent()
            .map(|folder| File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }))
        {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Target for FileTarget<'_> {
    fn read(&mut self) -> Result<Held, Failure> {
        let found = match whole_file::read(self.path, MOST_BYTES) {
            Ok(value) => Found::of(&value),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Found::Unreadable(error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Missing,
            Err(error) => {
                return Err(Failure::new(Reason::TargetUnavailable, format!("the file cannot be read: {error}")));
            }
        };
        Ok(Held { found, claim: None, logins: None })
    }

    /// Takes the lock. Somebody may have been at work before we got it: then it has changed.
    fn claim(&mut self, _: &Claim) -> Result<Claiming, Failure> {
        if self.lock.is_some() {
            return Ok(Claiming::Ours);
        }
        let unwritable = |error: io::Error| {
            let message = format!("the folder of the file cannot be written: {error}");
            Failure::new(Reason::TargetUnwritable, message)
        };
        let before = self.read()?;
        let path = self.beside(".lock");
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(unwritable)?;
        // SAFETY: a descriptor that lives through the call.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::WouldBlock {
                return Ok(Claiming::Taken);
            }
            log::debug!("{}: this file system has no locks: {error}", self.path.display());
        }
        self.lock = Some(lock);
        Ok(if self.read()? == before { Claiming::Ours } else { Claiming::Changed })
    }

    fn write(&mut self, token: &Redacted) -> Result<bool, Failure> {
        self.write_file(token)
            .map(|()| true)
            .map_err(|error| Failure::new(Reason::TargetUnwritable, format!("the file cannot be written: {error}")))
    }

    fn let_go(&mut self) {
        self.lock = None;
    }
}
