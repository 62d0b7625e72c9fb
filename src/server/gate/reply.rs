//! The client's connection, lent to whoever answers its request. What is written goes straight to the client, within the
//! gate's bounds.

use super::head::{Admitted, Refusal};
use super::{MOST_ANSWER_TIME, MOST_SILENCE};
use crate::time::UnixSeconds;
use std::fmt::Write as _;
use std::io::{self, IoSlice, Read as _, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tiny_http::StatusCode;

/// So much is given to the kernel at once. Larger pieces were no faster, and whether a client still reads is seen between them.
const PIECE: usize = 128 * 1024;

/// A client, and how long it has let us wait: seen from the thread that writes to it, and from the gate.
pub(super) struct Client {
    stream: TcpStream,
    begun: Instant,
    /// Since when it has been taking the present piece, in milliseconds after `begun`; 0 while nothing is written.
    writing: AtomicU64,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(MOST_SILENCE))?;
        Ok(Self { stream, begun: Instant::now(), writing: AtomicU64::new(0) })
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Cuts it off if it has not taken anything for so long. The thread that writes gets an error.
    pub(super) fn cut_if_stalled(&self, after: Duration) -> bool {
        let since = self.writing.load(Ordering::Relaxed);
        let is_stalled = since != 0 && u128::from(self.milliseconds().saturating_sub(since)) >= after.as_millis();
        is_stalled && self.stream.shutdown(Shutdown::Both).is_ok()
    }

    /// Writes all of it, or an error: no time left, or a client that takes nothing.
    fn send(&self, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Those that are empty are passed over.
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            if self.begun.elapsed() > MOST_ANSWER_TIME {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.writing.store(self.milliseconds().max(1), Ordering::Relaxed);
            let written = (&self.stream).write_vectored(pieces);
            self.writing.store(0, Ordering::Relaxed);
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut pieces, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the connection after a whole answer. What the client sent behind its request must not turn the end into a reset.
    fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        let _ = self.stream.set_nonblocking(true);
        let mut rest = [0; 4096];
        while matches!((&self.stream).read(&mut rest), Ok(1..)) {}
    }

    /// Has the connection reset once it is closed: without a length and without chunks an orderly end would make what was sent
    /// look like the whole answer. The kernel forgets at once what the client has not read.
    fn reset(&self) {
        let now = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap_or_default();
        // SAFETY: the descriptor is open as long as `self` lives, and the option is read from `now`, which is that large.
        unsafe {
            libc::setsockopt(self.stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const now).cast(), size);
        }
    }
}

/// How far an answer has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Nothing,
    Begun,
    Whole,
}

/// Where the answer to one request goes. If it is dropped before the answer is whole, the client is told, or sees it.
pub(in crate::server) struct Reply {
    client: Arc<Client>,
    is_head: bool,
    without_chunks: bool,
    progress: Progress,
}

impl Reply {
    pub(super) fn new(client: Arc<Client>, admitted: &Admitted) -> Self {
        let (is_head, without_chunks) = (admitted.is_head, admitted.is_1_0);
        Self { client, is_head, without_chunks, progress: Progress::Nothing }
    }

    /// An answer that is held as a whole. `headers` are names and values, without those that frame the answer.
    pub(in crate::server) fn send(&mut self, status: u16, headers: &[(&str, &str)], body: &str) -> io::Result<()> {
        let head = head(status, headers, &format!("Content-Length: {}\r\n", body.len()));
        self.begin(&head)?;
        if !self.is_head {
            for piece in body.as_bytes().chunks(PIECE) {
                self.client.send(&mut [IoSlice::new(piece)])?;
            }
        }
        self.progress = Progress::Whole;
        Ok(())
    }

    /// An answer with status 200 that is written piece by piece, and ended. `None`, and all is done, for a HEAD request.
    pub(in crate::server) fn stream(&mut self, headers: &[(&str, &str)]) -> io::Result<Option<Body<'_>>> {
        // HTTP/1.0 knows no chunks: there the end of the connection is that of the body.
        let framing = if self.without_chunks { "" } else { "Transfer-Encoding: chunked\r\n" };
        self.begin(&head(200, headers, framing))?;
        if self.is_head {
            self.progress = Progress::Whole;
            return Ok(None);
        }
        Ok(Some(Body(self)))
    }

    fn begin(&mut self, head: &str) -> io::Result<()> {
        self.progress = Progress::Begun;
        self.client.send(&mut [IoSlice::new(head.as_bytes())])
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let sent = self.progress == Progress::Whole
            || self.progress == Progress::Nothing
                && self.client.send(&mut [IoSlice::new(Refusal::Defect.answer().as_bytes())]).is_ok();
        if sent { self.client.close() } else { self.client.reset() }
    }
}

/// The head of an answer (RFC 9112, section 4), with the date that RFC 9110, section 6.6.1, wants.
fn head(status: u16, headers: &[(&str, &str)], framing: &str) -> String {
    let (reason, date) = (StatusCode(status).default_reason_phrase(), UnixSeconds::now().http_date());
    let mut head = format!("HTTP/1.1 {status} {reason}\r\nDate: {date}\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head + framing + "Connection: close\r\n\r\n"
}

/// A body on its way, every write of it one chunk (RFC 9112, section 7.1).
pub(in crate::server) struct Body<'a>(&'a mut Reply);

impl Body<'_> {
    /// Says that this was all. Without it the client sees that something is missing.
    pub(in crate::server) fn end(self) -> io::Result<()> {
        if !self.0.without_chunks {
            self.0.client.send(&mut [IoSlice::new(b"0\r\n\r\n")])?;
        }
        self.0.progress = Progress::Whole;
        Ok(())
    }
}

impl Write for Body<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        // A chunk of no bytes would be the last one.
        if self.0.without_chunks || piece.is_empty() {
            self.0.client.send(&mut [IoSlice::new(piece)])?;
        } else {
            let size = format!("{:x}\r\n", piece.len());
            let chunk = &mut [IoSlice::new(size.as_bytes()), IoSlice::new(piece), IoSlice::new(b"\r\n")];
            self.0.client.send(chunk)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
