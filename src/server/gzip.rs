//! The exposition gzipped, with what did not change since the last scrape taken from there.
//!
//! Three of four bytes depend on the snapshot alone. They are compressed once for each snapshot, into deflate blocks that a
//! full flush ends: behind it nothing refers back, and it lies on a byte boundary (RFC 1951; zlib's `Z_FULL_FLUSH`). What
//! depends on the clock is compressed for each scrape and follows. All of it is ONE member (RFC 1952): the checksum of the
//! whole is combined from those of the parts. Of several members some readers take only the first.

use crate::metrics::{OwnMetrics, encode_lasting, encode_passing};
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Text of this kind shrinks to a twentieth at the lowest level; higher ones cost more time than they save.
const LEVEL: Compression = Compression::new(1);

/// RFC 1952, section 2.3: deflate, no name, no time, fastest algorithm, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// RFC 1951, section 3.2.3: a last block with fixed codes and nothing in it.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Compressed text goes out in pieces of this size.
const PIECE: usize = 32 * 1024;

/// The lasting part of one snapshot, compressed.
#[derive(Default)]
pub struct Lasting {
    last: Mutex<(Weak<Snapshot>, Arc<Segment>)>,
}

#[derive(Default)]
struct Segment {
    deflated: Vec<u8>,
    checksum: Crc,
}

impl Lasting {
    fn of(&self, snapshot: &Arc<Snapshot>) -> io::Result<Arc<Segment>> {
        {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if std::ptr::eq(last.0.as_ptr(), Arc::as_ptr(snapshot)) {
                return Ok(Arc::clone(&last.1));
            }
        }
        // Not under the lock: it takes a while. Two scrapers at once do it twice, and both are right.
        let mut deflated = Vec::new();
        let mut deflate = Deflate::new(&mut deflated);
        encode_lasting(snapshot, &mut deflate)?;
        let checksum = deflate.end_segment()?;
        deflated.shrink_to_fit();
        let segment = Arc::new(Segment { deflated, checksum });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = (Arc::downgrade(snapshot), Arc::clone(&segment));
        Ok(segment)
    }
}

/// Writes the exposition as one gzip member. `lasting` is kept from one scrape to the next.
///
/// # Errors
/// Those of `out`.
pub fn write_gzip(
    snapshot: &Arc<Snapshot>,
    own: &OwnMetrics,
    now: UnixSeconds,
    lasting: &Lasting,
    out: &mut dyn Write,
) -> io::Result<()> {
    let segment = lasting.of(snapshot)?;
    out.write_all(&HEADER)?;
    out.write_all(&segment.deflated)?;
    let mut checksum = Crc::new();
    checksum.combine(&segment.checksum);
    drop(segment);
    let mut deflate = Deflate::new(&mut *out);
    encode_passing(snapshot, own, now, &mut deflate)?;
    checksum.combine(&deflate.end_segment()?);
    out.write_all(&LAST_BLOCK)?;
    out.write_all(&checksum.sum().to_le_bytes())?;
    out.write_all(&checksum.amount().to_le_bytes())
}

/// Compresses what is written to it into blocks of its own.
struct Deflate<W> {
    compress: Compress,
    piece: Box<[u8]>,
    checksum: Crc,
    out: W,
}

impl<W: Write> Deflate<W> {
    fn new(out: W) -> Self {
        Self { compress: Compress::new(LEVEL, false), piece: vec![0; PIECE].into(), checksum: Crc::new(), out }
    }

    /// Flushes so that other blocks can follow; returns the checksum of what was written.
    fn end_segment(mut self) -> io::Result<Crc> {
        self.run(&[], FlushCompress::Full)?;
        Ok(self.checksum)
    }

    fn run(&mut self, mut text: &[u8], flush: FlushCompress) -> io::Result<()> {
        loop {
            let (read, written) = (self.compress.total_in(), self.compress.total_out());
            let status = self.compress.compress(text, &mut self.piece, flush).map_err(io::Error::other)?;
            let read = usize::try_from(self.compress.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(self.compress.total_out() - written).unwrap_or(usize::MAX);
            text = text.get(read..).unwrap_or_default();
            self.out.write_all(self.piece.get(..written).unwrap_or_default())?;
            // A piece that was not filled means that there is nothing more to come.
            if text.is_empty() && written < PIECE || status == Status::StreamEnd {
                return Ok(());
            }
        }
    }
}

impl<W: Write> Write for Deflate<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.checksum.update(text);
        self.run(text, FlushCompress::None)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        // Of one member, and strict: what follows it is an error.
        let mut decoder = flate2::bufread::GzDecoder::new(bytes);
        decoder.read_to_end(&mut text).unwrap();
        assert_eq!(decoder.into_inner(), b"", "something stands behind the member");
        text
    }

    /// A member of several segments, each written in pieces.
    fn member(segments: &[Vec<Vec<u8>>]) -> Vec<u8> {
        let (mut out, mut checksum) = (HEADER.to_vec(), Crc::new());
        for segment in segments {
            let mut deflate = Deflate::new(&mut out);
            for piece in segment {
                deflate.write_all(piece).unwrap();
            }
            checksum.combine(&deflate.end_segment().unwrap());
        }
        out.extend(LAST_BLOCK);
        out.extend(checksum.sum().to_le_bytes());
        out.extend(checksum.amount().to_le_bytes());
        out
    }

    proptest! {
        #[test]
        fn segments_add_up_to_one_member(
            segments in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5_000), 0..4), 0..4),
            repeat in 1usize..40,
        ) {
            // Repeated, so that it is more than a window and a piece of output.
            let segments: Vec<Vec<Vec<u8>>> =
                segments.into_iter().map(|segment| segment.into_iter().map(|piece| piece.repeat(repeat)).collect()).collect();
            prop_assert_eq!(gunzip(&member(&segments)), segments.concat().concat());
        }
    }

    #[test]
    fn the_lasting_part_is_compressed_once_for_each_snapshot() {
        let (first, second) = (Arc::new(Snapshot::default()), Arc::new(Snapshot::default()));
        let lasting = Lasting::default();
        let a = lasting.of(&first).unwrap();
        assert!(Arc::ptr_eq(&a, &lasting.of(&first).unwrap()));
        assert!(!Arc::ptr_eq(&a, &lasting.of(&second).unwrap()));
    }
}
