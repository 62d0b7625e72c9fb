//! TCP connections, whose other end cannot be gone for long without our noticing it: `ureq`'s own have no keep-alive.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Weak};
use std::time::Duration;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, LazyBuffers, NextTimeout, ShutdownHandle, Transport};

/// A silent connection is probed after 5 s, then every 3 s; what is not acknowledged for 12 s is over (tcp(7)).
const OPTIONS: [(libc::c_int, libc::c_int, libc::c_int); 4] = [
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 5),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 3),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 12_000),
];

/// A connection in use. The stream is shared with whoever shuts it down.
pub(super) struct TcpTransport {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
    /// The timeouts that are set, since setting them costs a system call each.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl TcpTransport {
    /// Connects within a time.
    pub(super) fn connect(
        address: &SocketAddr,
        timeout: Duration,
        details: &ConnectionDetails<'_>,
    ) -> Result<Self, ureq::Error> {
        let stream = Arc::new(TcpStream::connect_timeout(address, timeout)?);
        stream.set_nodelay(true)?;
        for (level, option, value) in OPTIONS {
            set_option(&stream, level, option, value);
        }
        (details.register_shutdown)(Arc::downgrade(&stream) as Weak<dyn ShutdownHandle>)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Self { stream, buffers, read_timeout: None, write_timeout: None })
    }
}

/// A kernel that does not know the option does without.
fn set_option(stream: &TcpStream, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or_default();
    // SAFETY: the descriptor is open as long as `stream` lives, and the option is read from `value`, which is that large.
    unsafe { libc::setsockopt(stream.as_raw_fd(), level, option, (&raw const value).cast(), size) };
}

/// The time that is left for one read or write.
fn left(timeout: NextTimeout) -> Result<Option<Duration>, ureq::Error> {
    if timeout.after.is_zero() {
        return Err(ureq::Error::Timeout(timeout.reason));
    }
    Ok(timeout.not_zero().map(|left| *left))
}

fn failed(error: io::Error, timeout: NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = timeout.for_write();
        let left = left(timeout)?;
        if left != self.write_timeout {
            self.stream.set_write_timeout(left)?;
            self.write_timeout = left;
        }
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        (&*self.stream).write_all(output).map_err(|error| failed(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = timeout.for_read();
        let left = left(timeout)?;
        if left != self.read_timeout {
            self.stream.set_read_timeout(left)?;
            self.read_timeout = left;
        }
        let amount = loop {
            match (&*self.stream).read(self.buffers.input_append_buf()) {
                // A signal; it may wait once more as long.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result.map_err(|error| failed(error, timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Whether a connection that was kept can be used: nothing was sent that nobody asked for, not even an end.
    fn is_open(&mut self) -> bool {
        let blocks = |result: io::Result<usize>| result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(true).is_ok()
            && blocks(self.stream.peek(&mut [0]))
            && self.stream.set_nonblocking(false).is_ok()
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TcpTransport")
    }
}
