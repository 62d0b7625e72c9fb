//! The client's connection, lent to whoever answers its request. What is written goes straight to the client, within the
//! gate's bounds.

use super::head::{Admitted, Refusal};
use super::{LEAST_PACE, MOST_ANSWER_TIME, MOST_SILENCE};
use crate::time::UnixSeconds;
use std::fmt::Write as _;
use std::io::{self, IoSlice, Read as _, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tiny_http::StatusCode;

/// So much is given to the kernel at once. Larger pieces were no faster, and whether a client still reads is seen between them.
const PIECE: usize = 128 * 1024;

/// So much of what a client sends behind its request is read and thrown away.
const MOST_BEHIND: usize = 64 * 1024;

/// A client, and how long it has let us wait: seen from the thread that writes to it, and from the gate.
pub(super) struct Client {
    stream: TcpStream,
    begun: Instant,
    /// `None` while nothing is written.
    writing: Mutex<Option<Writing>>,
}

/// A piece of the answer that the kernel has not taken whole.
struct Writing {
    since: Instant,
    /// As [`Client::taken`] was then.
    taken: u64,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(MOST_SILENCE))?;
        Ok(Self { stream, begun: Instant::now(), writing: Mutex::new(None) })
    }

    fn writing(&self) -> MutexGuard<'_, Option<Writing>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes its system has acknowledged (Linux, `tcp_info`, `tcpi_bytes_acked`); 0 where the kernel does not tell. That
    /// a piece is not written says little: the kernel wakes the writer when a third of its buffer, megabytes, is free.
    fn taken(&self) -> u64 {
        // Up to that field and with it.
        let mut info = [0u64; 16];
        let mut size = libc::socklen_t::try_from(size_of_val(&info)).unwrap_or_default();
        // SAFETY: the descriptor is open as long as `self` lives, and `info` is as large as `size` says.
        unsafe {
            let into = info.as_mut_ptr().cast();
            libc::getsockopt(self.stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut size);
        }
        info.last().copied().unwrap_or_default()
    }

    /// Cuts it off if it takes its answer too slowly, and has for so long. The thread that writes gets an error.
    pub(super) fn cut_if_stalled(&self, after: Duration) -> bool {
        let writing = self.writing();
        let is_stalled = writing.as_ref().is_some_and(|writing| {
            let age = writing.since.elapsed();
            age >= after && is_too_slow(age, self.taken().saturating_sub(writing.taken))
        });
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
            *self.writing() = Some(Writing { since: Instant::now(), taken: self.taken() });
            let written = (&self.stream).write_vectored(pieces);
            *self.writing() = None;
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut pieces, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the connection after a whole answer. What the client sent behind its request must not turn the end into a reset,
    /// unless it does not stop.
    fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        let _ = self.stream.set_nonblocking(true);
        let mut rest = [0; 4096];
        let mut left = MOST_BEHIND;
        while left > 0 {
            let Ok(length @ 1..) = (&self.stream).read(&mut rest) else { return };
            left = left.saturating_sub(length);
        }
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

fn is_too_slow(age: Duration, taken: u64) -> bool {
    u128::from(taken) < age.as_millis() * LEAST_PACE
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

#[cfg(test)]
mod tests {
    use super::super::STALLED;
    use super::*;
    use std::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Ours, and the one who asked.
    fn pair() -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let asking = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        asking.set_read_timeout(Some(PATIENCE)).unwrap();
        (Client::new(listener.accept().unwrap().0).unwrap(), asking)
    }

    /// Waits until it is so.
    fn until(condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_a_client_goes_on_sending_is_not_read_for_ever() {
        let (client, asking) = pair();
        asking.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(length) = (&asking).write(&[b'x'; 4096]) {
            sent += length;
        }
        asking.shutdown(Shutdown::Write).unwrap();
        assert!(sent > 4 * MOST_BEHIND, "{sent}");
        client.close();
        client.stream.set_nonblocking(false).unwrap();
        client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        (&client.stream).read_to_end(&mut rest).unwrap();
        assert!(rest.len() + MOST_BEHIND + 4096 >= sent, "{} of {sent} left", rest.len());
    }

    #[test]
    fn what_a_client_takes_is_seen_while_a_piece_of_its_answer_waits() {
        let (client, mut asking) = pair();
        let before = client.taken();
        client.send(&mut [IoSlice::new(b"hello")]).unwrap();
        until(|| client.taken() == before + 5);
        let piece = vec![b'x'; PIECE];
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| (0..1_000).try_for_each(|_| client.send(&mut [IoSlice::new(&piece)])));
            until(|| client.writing().as_ref().is_some_and(|writing| writing.since.elapsed() >= STALLED));
            let taken = client.taken();
            asking.read_exact(&mut vec![0; 1 << 20]).unwrap();
            until(|| client.taken() > taken);
            client.stream.shutdown(Shutdown::Both).unwrap();
            assert!(sending.join().unwrap().is_err());
        });
    }

    #[test]
    fn a_client_that_does_not_read_is_cut_off() {
        let (client, _asking) = pair();
        let piece = vec![b'x'; PIECE];
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| (0..1_000).try_for_each(|_| client.send(&mut [IoSlice::new(&piece)])));
            until(|| client.cut_if_stalled(STALLED));
            assert!(sending.join().unwrap().is_err());
        });
        assert!(!client.cut_if_stalled(Duration::ZERO), "nothing is written any more");
    }

    #[test]
    fn a_client_that_reads_slowly_and_steadily_is_not_too_slow() {
        let after = |milliseconds, taken| is_too_slow(Duration::from_millis(milliseconds), taken);
        assert!(after(250, 0) && after(250, 31_999) && after(60_000, 7_000_000));
        assert!(!after(0, 0) && !after(250, 32_000) && !after(60_000, 8_000_000));
    }
}
