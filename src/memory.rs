//! Copying and comparing bytes: C's `memcpy`, `memmove`, `memcmp` and `bcmp`, for the static program.
//!
//! The compiler calls these four by name for every text that is copied or compared, and takes them from the C library. glibc's
//! are as fast as can be. musl's take longer to begin than a short copy has to last (`rep movsq`), and compare byte by byte: they were
//! half the time of a scrape, which is put together from pieces of 10 to 200 bytes. So the release for musl on x86-64 brings its own.
//! Everywhere else nobody calls what stands here but its tests.
//!
//! Up to 256 bytes nothing is a loop: everything is read, in pieces that overlap in the middle, before anything is written. That is right
//! for areas that overlap too, so that `memcpy` is `memmove`.
//!
//! Nothing here may become a call of one of the four itself. The compiler makes such calls of loops over bytes and of moves of large
//! values; there are none of these, only vectors, which every x86-64 has (SSE2). Without optimization it may make them of anything, so that
//! a debug build keeps musl's.

// An address and a length are all that C hands over.
#![allow(clippy::missing_safety_doc, clippy::cast_ptr_alignment)]
#![cfg_attr(not(all(target_env = "musl", not(debug_assertions))), allow(dead_code))]

use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_storeu_si128};

const VECTOR: usize = size_of::<__m128i>();

/// C's `memcpy` (C17, 7.24.2.1); here the areas may overlap.
#[cfg_attr(all(target_env = "musl", not(debug_assertions)), unsafe(no_mangle))]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller owns `length` bytes at both places.
    unsafe { copy(to, from, length) };
    to
}

/// C's `memmove` (C17, 7.24.2.2).
#[cfg_attr(all(target_env = "musl", not(debug_assertions)), unsafe(no_mangle))]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: as above.
    unsafe { copy(to, from, length) };
    to
}

/// C's `memcmp` (C17, 7.24.4.1): negative, zero or positive as the first byte that differs.
#[cfg_attr(all(target_env = "musl", not(debug_assertions)), unsafe(no_mangle))]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    // SAFETY: the caller lends `length` bytes at both places.
    unsafe { compare(one, other, length) }
}

/// `memcmp` of which only zero means something (POSIX.1-2001).
#[cfg_attr(all(target_env = "musl", not(debug_assertions)), unsafe(no_mangle))]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    // SAFETY: as above.
    unsafe { compare(one, other, length) }
}

#[inline(always)]
unsafe fn load(from: *const u8, at: usize) -> __m128i {
    // SAFETY: the caller lends the 16 bytes from there; they need not be aligned.
    unsafe { _mm_loadu_si128(from.add(at).cast()) }
}

#[inline(always)]
unsafe fn store(to: *mut u8, at: usize, vector: __m128i) {
    // SAFETY: the caller owns the 16 bytes from there; they need not be aligned.
    unsafe { _mm_storeu_si128(to.add(at).cast(), vector) }
}

/// Copies the vectors at these places: reads the first one, sees to the others, and then writes it. So all are read before one is
/// written.
macro_rules! copy_vectors {
    ($to:ident, $from:ident;) => {};
    ($to:ident, $from:ident; $at:expr $(, $others:expr)*) => {
        let vector = load($from, $at);
        copy_vectors!($to, $from; $($others),*);
        store($to, $at, vector);
    };
}

/// The same with the first and the last one of a type: between them they are all, if there is at least one and are at most two.
macro_rules! copy_ends {
    ($type:ty, $to:ident, $from:ident, $length:ident) => {
        let last = $length - size_of::<$type>();
        let (one, other) = ($from.cast::<$type>().read_unaligned(), $from.add(last).cast::<$type>().read_unaligned());
        $to.cast::<$type>().write_unaligned(one);
        $to.add(last).cast::<$type>().write_unaligned(other);
    };
}

#[inline(always)]
unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    let n = length;
    // SAFETY: the caller owns `n` bytes from `to` and lends as many from `from`; every branch stays within them.
    unsafe {
        if n <= VECTOR {
            if n >= 8 {
                copy_ends!(u64, to, from, n);
            } else if n >= 4 {
                copy_ends!(u32, to, from, n);
            } else if n >= 2 {
                copy_ends!(u16, to, from, n);
            } else if n == 1 {
                *to = *from;
            }
        } else if n <= 32 {
            copy_vectors!(to, from; 0, n - 16);
        } else if n <= 64 {
            copy_vectors!(to, from; 0, 16, n - 32, n - 16);
        } else if n <= 128 {
            copy_vectors!(to, from; 0, 16, 32, 48, n - 64, n - 48, n - 32, n - 16);
        } else if n <= 256 {
            copy_vectors!(to, from; 0, 16, 32, 48, 64, 80, 96, 112, n - 128, n - 112, n - 96, n - 80, n - 64, n - 48, n - 32, n - 16);
        } else if to.addr().wrapping_sub(from.addr()) >= n {
            copy_up(to, from, n);
        } else {
            copy_down(to, from, n);
        }
    }
}

/// What one turn of a loop copies.
const TURN: usize = 4 * VECTOR;

/// From the beginning on: `to` does not lie within what is yet to be read.
unsafe fn copy_up(to: *mut u8, from: *const u8, length: usize) {
    let last = length - TURN;
    // SAFETY: as in `copy`; `length` is more than a turn.
    unsafe {
        // Read now, since where the areas overlap the loop writes over it.
        let end = [load(from, last), load(from, last + 16), load(from, last + 32), load(from, last + 48)];
        let mut at = 0;
        while at < last {
            let (to, from) = (to.add(at), from.add(at));
            copy_vectors!(to, from; 0, 16, 32, 48);
            at += TURN;
        }
        let [a, b, c, d] = end;
        store(to, last, a);
        store(to, last + 16, b);
        store(to, last + 32, c);
        store(to, last + 48, d);
    }
}

/// From the end on: `to` lies within what is to be read.
unsafe fn copy_down(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: as in `copy`; `length` is more than a turn.
    unsafe {
        let [a, b, c, d] = [load(from, 0), load(from, 16), load(from, 32), load(from, 48)];
        let mut left = length;
        while left > TURN {
            left -= TURN;
            let (to, from) = (to.add(left), from.add(left));
            copy_vectors!(to, from; 0, 16, 32, 48);
        }
        store(to, 0, a);
        store(to, 16, b);
        store(to, 32, c);
        store(to, 48, d);
    }
}

#[inline(always)]
unsafe fn compare(one: *const u8, other: *const u8, length: usize) -> i32 {
    // SAFETY: the caller lends `length` bytes at both places; every branch stays within them.
    unsafe {
        if length < VECTOR {
            return compare_short(one, other, length);
        }
        let last = length - VECTOR;
        let mut at = 0;
        loop {
            let equal = _mm_movemask_epi8(_mm_cmpeq_epi8(load(one, at), load(other, at)));
            if equal != 0xffff {
                let first = at + equal.trailing_ones() as usize;
                return i32::from(*one.add(first)) - i32::from(*other.add(first));
            }
            if at == last {
                return 0;
            }
            // The last vector may hold some of the one before it.
            at = last.min(at + VECTOR);
        }
    }
}

/// Less than a vector: by numbers in which the first byte weighs most.
#[inline(always)]
unsafe fn compare_short(one: *const u8, other: *const u8, length: usize) -> i32 {
    macro_rules! compare_at {
        ($type:ty, $at:expr) => {
            let left = <$type>::from_be(one.add($at).cast::<$type>().read_unaligned());
            let right = <$type>::from_be(other.add($at).cast::<$type>().read_unaligned());
            if left != right {
                return if left < right { -1 } else { 1 };
            }
        };
    }
    // SAFETY: as in `compare`.
    unsafe {
        // The first and the last of a kind, which may overlap.
        if length >= 8 {
            compare_at!(u64, 0);
            compare_at!(u64, length - 8);
        } else if length >= 4 {
            compare_at!(u32, 0);
            compare_at!(u32, length - 4);
        } else if length >= 2 {
            compare_at!(u16, 0);
            compare_at!(u16, length - 2);
        } else if length == 1 {
            return i32::from(*one) - i32::from(*other);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of which no two neighbours, and no two at the distance of a vector, are alike.
    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n * 7 + n / 16) as u8).collect()
    }

    /// Moves within one area, as `copy_within` does it. Nothing around the target may change.
    fn moves(from: usize, to: usize, length: usize) {
        let before = bytes(from.max(to) + length + 40);
        let (mut found, mut wanted) = (before.clone(), before);
        wanted.copy_within(from..from + length, to);
        for function in [memcpy, memmove] {
            let start = found.as_mut_ptr();
            // SAFETY: both ends lie within `found`.
            let returned = unsafe { function(start.add(to), start.add(from), length) };
            assert_eq!(returned, found[to..].as_mut_ptr());
            assert!(found == wanted, "{length} bytes from {from} to {to}");
            found = bytes(found.len());
        }
    }

    #[test]
    fn every_length_is_copied_from_and_to_every_alignment() {
        for length in 0..600 {
            for (from, to) in (0..16).map(|n| (n, (n * 5) % 16)) {
                moves(from, 640 + to, length);
                moves(640 + from, to, length);
            }
        }
    }

    #[test]
    fn areas_overlap_by_every_distance() {
        for length in [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 32, 33, 64, 65, 128, 129, 255, 256, 257, 300, 320, 321, 599] {
            for distance in 0..=length.min(300) {
                moves(20, 20 + distance, length);
                moves(20 + distance, 20, length);
            }
        }
    }

    fn sign(one: &[u8], other: &[u8]) -> (i32, bool) {
        // SAFETY: both have this length.
        unsafe {
            let order = memcmp(one.as_ptr(), other.as_ptr(), one.len());
            (order.signum(), bcmp(one.as_ptr(), other.as_ptr(), one.len()) == 0)
        }
    }

    #[test]
    fn every_difference_is_seen_at_every_length() {
        for length in 0..130 {
            for start in 0..16 {
                let one = bytes(start + length);
                let other = [&bytes(start)[..], &one[start..]].concat();
                assert_eq!(sign(&one[start..], &other[start..]), (0, true), "{length}");
            }
            for at in 0..length {
                let one = bytes(length);
                let mut other = one.clone();
                other[at] ^= 0x80;
                // What comes behind speaks for the opposite.
                for later in other.iter_mut().skip(at + 1) {
                    *later = if one[at] < 0x80 { 0 } else { 255 };
                }
                let wanted = one.cmp(&other) as i32;
                assert_eq!(sign(&one, &other), (wanted, false), "{length} {at}");
                assert_eq!(sign(&other, &one), (-wanted, false), "{length} {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_moved_and_ordered_as_slices_are(
            area in proptest::collection::vec(any::<u8>(), 1..2_000), from in 0usize..2_000, to in 0usize..2_000, length in 0usize..2_000,
        ) {
            let (from, to) = (from % area.len(), to % area.len());
            let length = length.min(area.len() - from.max(to));
            let (mut found, mut wanted) = (area.clone(), area.clone());
            wanted.copy_within(from..from + length, to);
            // SAFETY: both ends lie within `found`.
            unsafe { memmove(found.as_mut_ptr().add(to), found.as_ptr().add(from), length) };
            prop_assert_eq!(found, wanted);
            let (one, other) = (&area[from..from + length], &area[to..to + length]);
            prop_assert_eq!(sign(one, other), (one.cmp(other) as i32, one == other));
        }
    }
}
