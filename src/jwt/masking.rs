//! Tokens in texts that are shown.

use std::borrow::Cow;

/// The text with `…` in the place of each token. People put tokens where names belong: into the annotation, as a member of a
/// document, into another token's claim.
pub fn without_tokens(text: &str) -> Cow<'_, str> {
    // Of a header as every library writes it: `{"` in base64url. Shorter than this is nothing that could be used.
    const START: &[u8] = b"eyJ";
    const LEAST: usize = 20;
    if text.len() < LEAST {
        return Cow::Borrowed(text);
    }
    // By its letter that stands in few other words: a search for all three is prepared for longer than most labels last.
    let bytes = text.as_bytes();
    let starts = memchr::memchr_iter(b'J', bytes).filter_map(|at| at.checked_sub(START.len() - 1));
    let mut found = starts.filter(|start| bytes.get(*start..).is_some_and(|rest| rest.starts_with(START))).peekable();
    if found.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+=".contains(byte);
    let (mut kept, mut from, mut run_end) = (String::new(), 0, 0);
    for start in found {
        // Of a run the first beginning counts: from a later one it has fewer bytes and no more dots. Each run is read once.
        if start < run_end {
            continue;
        }
        let rest = bytes.get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| !belongs(byte)).unwrap_or(rest.len());
        let dots = memchr::memchr_iter(b'.', rest.get(..length).unwrap_or_default()).count();
        run_end = start + length;
        if dots >= 2 && length >= LEAST {
            kept.push_str(text.get(from..start).unwrap_or_default());
            kept.push('…');
            from = run_end;
        }
    }
    kept.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(kept)
}
