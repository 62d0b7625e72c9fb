//! Telling the processor what will be read soon, so that it is there by then.
//!
//! What a snapshot holds lies all over the memory. A scrape that reads one thing after the other would wait for each: three quarters of
//! its time. A hint costs one instruction, waits for nothing, and may be wrong.

/// Lines of cache that are asked for at most: behind them the processor sees by itself where this is going.
const MOST_LINES: usize = 16;
const LINE: usize = 64;

/// Has the processor fetch the memory in which these lie. Nothing is read of them.
#[inline(always)]
pub(crate) fn prefetch<T>(things: &[T]) {
    let bytes = size_of_val(things).min(MOST_LINES * LINE);
    let begin = things.as_ptr().cast::<u8>();
    let mut at = 0;
    while at < bytes {
        line(begin.wrapping_add(at));
        at += LINE;
    }
    // Where they do not begin at a line, they may end in one more.
    if bytes > 0 {
        line(begin.wrapping_add(bytes - 1));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn line(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction (SSE) is on every x86-64, and no address makes it fail.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn line(address: *const u8) {
    // SAFETY: no address makes the instruction fail, and it changes nothing that a program can see.
    unsafe { std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly)) };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn line(_: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_will_do() {
        prefetch::<u64>(&[]);
        prefetch(&[0_u8; 1]);
        prefetch(&vec![0_u64; 10_000]);
        line(std::ptr::null());
        line(std::ptr::without_provenance(usize::MAX));
    }
}
