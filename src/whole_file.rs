//! Small files that an operator names: credentials, keys, CAs. They are read whole or not at all.

use crate::redacted::read_wiped;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
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

#[cfg(test)]
mod tests {
    use super::*;
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
