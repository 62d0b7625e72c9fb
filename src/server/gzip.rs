//! The exposition gzipped, with what did not change since the last scrape taken from there.
//!
//! Three of four bytes depend on the snapshot alone. They are compressed once for each snapshot, into deflate blocks that a
//! full flush ends: behind it nothing refers back, and it lies on a byte boundary (RFC 1951; zlib's `Z_FULL_FLUSH`). What
//! depends on the clock is compressed for each scrape and follows. All of it is ONE member (RFC 1952): the checksum of the
//! whole is combined from those of the parts. Of several members some readers take only the first.
//!
//! Scrapers that come together wait for one of them to compress it, and share what it made. One that is still reading that of an older
//! snapshot keeps it until it has written it to its client.

use crate::metrics::{OwnMetrics, encode_lasting, encode_passing};
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Text of this kind shrinks to a twentieth at the lowest level; higher ones cost more time than they save.
const LEVEL: Compression = Compression::new(1);

/// RFC 1952, section 2.3: deflate, no name, no time, fastest algorithm, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// RFC 1951, section 3.2.3: a last block with fixed codes and nothing in it.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Compressed text goes out in pieces of this size.
const PIECE: usize = 32 * 1024;

/// The lasting part of the newest snapshot that was scraped, compressed.
#[derive(Default)]
pub struct Lasting {
    newest: Mutex<(Weak<Snapshot>, Arc<Place>)>,
}

/// Where the segment of one snapshot is, or is to be. Who finds nothing compresses it under the lock, for all who wait there. It goes to
/// memory and not to a client, so nobody waits for a slow one; if it fails, or panics, the next one tries.
type Place = Mutex<Option<Arc<Segment>>>;

struct Segment {
    deflated: Vec<u8>,
    checksum: Crc,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lasting {
    fn of(&self, snapshot: &Arc<Snapshot>) -> io::Result<Arc<Segment>> {
        let place = {
            let mut newest = lock(&self.newest);
            if !std::ptr::eq(newest.0.as_ptr(), Arc::as_ptr(snapshot)) {
                *newest = (Arc::downgrade(snapshot), Arc::default());
            }
            Arc::clone(&newest.1)
        };
        let mut place = lock(&place);
        if let Some(segment) = &*place {
            return Ok(Arc::clone(segment));
        }
        let mut deflated = Vec::new();
        let mut deflate = Deflate::new(&mut deflated);
        encode_lasting(snapshot, &mut deflate)?;
        let checksum = deflate.end_segment()?;
        deflated.shrink_to_fit();
        Ok(Arc::clone(place.insert(Arc::new(Segment { deflated, checksum }))))
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
    use crate::jwt::ClaimPaths;
    use crate::observation::{Bounds, DataValue, ExtraLabels, Logins, Observer, Reading, SecretView};
    use crate::snapshot::SourceStatus;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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

    /// A snapshot whose lasting part is several pieces long when it is compressed.
    fn large() -> Arc<Snapshot> {
        let reading = Reading::new(ClaimPaths::default(), Bounds { max_tokens_per_secret: 1, max_series_per_token: 1 });
        let mut observer = Observer::new(reading);
        let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
        let mut held = Vec::new();
        for number in 0..1_000 {
            // Marsaglia's xorshift.
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{number},"iat":1,"jti":"{noise}{}"}}"#, !noise));
            let token = format!("{}.{claims}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#));
            let view = SecretView {
                namespace: "n",
                name: &format!("s-{number:04}"),
                annotation: None,
                data: &[("token".into(), DataValue::Plain(token.into()))],
                logins: Logins::Annotation(None),
                picked: true,
                extra: &ExtraLabels::default(),
                version: 0,
            };
            held.extend(observer.observe(&view).map(Arc::new));
        }
        Arc::new(Snapshot::assemble([(&SourceStatus::untried("kubernetes"), &held[..])], 10_000))
    }

    fn plain(snapshot: &Snapshot) -> Vec<u8> {
        let mut text = Vec::new();
        encode_lasting(snapshot, &mut text).unwrap();
        text
    }

    /// A segment as a member of its own, unpacked.
    fn unpacked(segment: &Segment) -> Vec<u8> {
        let ends = [&segment.checksum.sum().to_le_bytes()[..], &segment.checksum.amount().to_le_bytes()].concat();
        gunzip(&[&HEADER[..], &segment.deflated, &LAST_BLOCK, &ends].concat())
    }

    /// The place of the newest snapshot.
    fn place(lasting: &Lasting) -> Arc<Place> {
        Arc::clone(&lock(&lasting.newest).1)
    }

    #[test]
    fn the_lasting_part_is_compressed_once_for_each_snapshot() {
        let (first, second) = (large(), Arc::new(Snapshot::default()));
        let lasting = Lasting::default();
        let segment = lasting.of(&first).unwrap();
        assert!(unpacked(&segment) == plain(&first));
        assert!(Arc::ptr_eq(&segment, &lasting.of(&first).unwrap()));
        let other = lasting.of(&second).unwrap();
        assert!(unpacked(&other) == plain(&second));
        let only = Arc::downgrade(&segment);
        drop(segment);
        assert!(only.upgrade().is_none(), "that of a snapshot that is gone is kept");
    }

    #[test]
    fn who_comes_while_it_is_compressed_waits_for_that() {
        let (snapshot, lasting) = (large(), Arc::new(Lasting::default()));
        *lock(&lasting.newest) = (Arc::downgrade(&snapshot), Arc::default());
        let compressed = place(&lasting);
        let mut compressing = lock(&compressed);
        let scrapers: Vec<_> = (0..3)
            .map(|_| {
                let (snapshot, lasting) = (Arc::clone(&snapshot), Arc::clone(&lasting));
                std::thread::spawn(move || lasting.of(&snapshot).unwrap())
            })
            .collect();
        // That of `lasting`, ours, and theirs: now they can only wait.
        while Arc::strong_count(&compressed) < 2 + scrapers.len() {
            std::thread::yield_now();
        }
        *compressing = Some(Arc::new(Segment { deflated: b"of somebody else".to_vec(), checksum: Crc::new() }));
        drop(compressing);
        for scraper in scrapers {
            assert_eq!(scraper.join().unwrap().deflated, b"of somebody else");
        }
    }

    #[test]
    fn a_panic_of_the_one_that_compresses_leaves_it_to_the_next() {
        let (snapshot, lasting) = (large(), Lasting::default());
        *lock(&lasting.newest) = (Arc::downgrade(&snapshot), Arc::default());
        let compressed = place(&lasting);
        let died = std::thread::spawn(move || {
            let _compressing = lock(&compressed);
            panic!("on purpose");
        });
        assert!(died.join().is_err());
        assert!(unpacked(&lasting.of(&snapshot).unwrap()) == plain(&snapshot));
    }
}
