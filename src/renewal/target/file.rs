//! A token in a file: written beside it, synced, and put in its place by a rename, mode 0600.
//!
//! Two processes with the same file keep out of each other's way by a lock on `.NAME.lock` beside it, from before a token is
//! asked for or written until the try is over. The system lets go of it when its holder dies.

use crate::redacted::Redacted;
use crate::renewal::attempt::{Claiming, Held, Target};
use crate::renewal::claim::Claim;
use crate::renewal::reason::{Failure, Reason};
use crate::renewal::verdict::Found;
use crate::whole_file;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// A longer file holds no token of ours.
const MOST_BYTES: usize = 1 << 20;

/// A file, and the lock while a try is under way.
pub(in crate::renewal) struct FileTarget<'a> {
    path: &'a Path,
    lock: Option<File>,
    /// As it was read last.
    held: Option<Held>,
}

impl<'a> FileTarget<'a> {
    pub(in crate::renewal) fn new(path: &'a Path) -> Self {
        Self { path, lock: None, held: None }
    }

    /// Looks at the file, and at nothing else.
    fn look(&self) -> Result<Held, Failure> {
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

    /// Takes the lock. Somebody may have been at work between the last reading and now: then it has changed.
    fn lock(&mut self) -> Result<Claiming, Failure> {
        if self.lock.is_some() {
            return Ok(Claiming::Ours);
        }
        let open = |path| OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let lock = whole_file::beside(self.path, ".lock").and_then(open).map_err(|error| {
            let message = format!("the folder of the file cannot be written: {error}");
            Failure::new(Reason::TargetUnwritable, message)
        })?;
        // SAFETY: a descriptor that lives through the call.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::WouldBlock {
                return Ok(Claiming::Taken);
            }
            log::debug!("{}: this file system has no locks: {error}", self.path.display());
        }
        self.lock = Some(lock);
        Ok(if self.held.as_ref() == Some(&self.look()?) { Claiming::Ours } else { Claiming::Changed })
    }
}

impl Target for FileTarget<'_> {
    fn read(&mut self) -> Result<Held, Failure> {
        let held = self.look()?;
        self.held = Some(held.clone());
        Ok(held)
    }

    fn claim(&mut self, _: &Claim) -> Result<Claiming, Failure> {
        self.lock()
    }

    /// A token that waited for this was not asked for under the lock.
    fn write(&mut self, token: &Redacted) -> Result<bool, Failure> {
        match self.lock()? {
            Claiming::Ours => {}
            Claiming::Changed => return Ok(false),
            Claiming::Taken => return Err(Failure::new(Reason::Conflict, "another process is at work on the file")),
        }
        whole_file::replace(self.path, 0o600, &|file| file.write_all(token.expose().as_bytes()))
            .map(|()| true)
            .map_err(|error| Failure::new(Reason::TargetUnwritable, format!("the file cannot be written: {error}")))
    }

    fn let_go(&mut self) {
        self.lock = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const CLAIM: Claim = Claim { holder: String::new(), until: crate::time::UnixSeconds(0), failures: 0 };

    #[test]
    fn whoever_was_overtaken_before_the_lock_looks_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let (mut one, mut other) = (FileTarget::new(&path), FileTarget::new(&path));
        let missing = one.read().unwrap();
        other.read().unwrap();
        assert_eq!(other.claim(&CLAIM).unwrap(), Claiming::Ours);
        assert_eq!(one.claim(&CLAIM).unwrap(), Claiming::Taken);
        assert!(other.write(&Redacted::new("of the other".to_owned())).unwrap());
        other.let_go();
        assert_eq!(one.claim(&CLAIM).unwrap(), Claiming::Changed);
        assert_ne!(one.read().unwrap(), missing);
        assert_eq!(one.claim(&CLAIM).unwrap(), Claiming::Ours);
    }

    #[test]
    fn a_token_that_came_at_an_earlier_try_is_written_under_the_lock_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let token = Redacted::new("late".to_owned());
        let (mut one, mut other) = (FileTarget::new(&path), FileTarget::new(&path));
        one.read().unwrap();
        other.read().unwrap();
        assert_eq!(other.claim(&CLAIM).unwrap(), Claiming::Ours);
        assert_eq!(one.write(&token).unwrap_err().reason, Reason::Conflict);
        assert!(!path.exists());
        fs::write(&path, "of the other").unwrap();
        other.let_go();
        assert!(!one.write(&token).unwrap(), "it is another one than the one that was read");
        one.let_go();
        one.read().unwrap();
        assert!(one.write(&token).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"late");
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, [".token.lock", "token"]);
    }
}
