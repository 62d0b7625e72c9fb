//! Files that an operator names, read whole or not at all (credentials, keys, CAs), and replaced whole or not at all.

use crate::redacted::read_wiped;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Opens a file for reading.
///
/// # Errors
/// The system's, and that it is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // A pipe without a writer would keep us waiting for one.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// Reads a file of at most `most` bytes, into memory that is wiped.
///
/// # Errors
/// Those of [`open`] and of reading; [`io::ErrorKind::FileTooLarge`] if it has more bytes. None of them says anything of the
/// content, or names the file.
pub fn read(path: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    read_open(&mut open(path)?, most)
}

/// The same with a file that was opened.
///
/// # Errors
/// Those of [`read`].
pub fn read_open(file: &mut File, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let bytes = read_wiped(file, most)?;
    if bytes.len() > most {
        let message = format!("it has more than {most} bytes; is it the right file?");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Writes a file beside `path` and renames it, so that nobody ever reads a half; a link at `path` is replaced too.
///
/// # Errors
/// The system's, and those of `write`. Then what was there is still there, and nothing beside it.
pub fn replace(path: &Path, mode: u32, write: &dyn Fn(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = Temporary(beside(path, &format!(".{}.tmp", std::process::id()))?);
    // Left behind by a process of the same number that was killed; or put there by somebody else, and not to be followed.
    let _ = fs::remove_file(&temporary.0);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary.0)?;
    write(&mut file)?;
    // What the umask took away. Some file systems have one mode for all, and refuse another.
    if file.metadata()?.permissions().mode() & mode != mode {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.sync_all()?;
    fs::rename(&temporary.0, path)?;
    // The name is safe when its folder is; some file systems have no such thing.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// A hidden file in the same folder: `.NAME` and an ending.
///
/// # Errors
/// The path names no file.
pub fn beside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it does not name a file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(ending);
    Ok(path.with_file_name(hidden))
}

/// Nothing of it stays if something goes wrong.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename it is not there any more.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(**read(&path, 5).unwrap(), *b"12345");
        let error = read(&path, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it has more than 4 bytes; is it the right file?");
        assert_eq!(read(&folder.path().join("none"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt.prom");
        let names = || {
            let entries = fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        for mode in [0o666, 0o600] {
            replace(&path, mode, &|file| file.write_all(b"one")).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        let broken = replace(&path, 0o600, &|file| {
            file.write_all(b"half")?;
            Err(io::Error::other("full"))
        });
        assert!(broken.is_err());
        assert_eq!((fs::read(&path).unwrap(), names()), (b"one".to_vec(), vec!["jwt.prom".to_owned()]));
        let mut before = File::open(&path).unwrap();
        replace(&path, 0o600, &|file| file.write_all(b"two")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), &**read_open(&mut before, 9).unwrap()), (b"two".to_vec(), &b"one"[..]));
        assert!(replace(folder.path(), 0o600, &|_| Ok(())).is_err());
        assert_eq!(names(), ["jwt.prom"]);
    }

    #[test]
    fn a_pipe_without_a_writer_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let name = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
        // SAFETY: a text that ends in NUL and lives through the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        for path in [&pipe, folder.path(), Path::new("/dev/zero")] {
            assert_eq!(read(path, 5).unwrap_err().to_string(), "it is no regular file", "{}", path.display());
        }
    }
}
