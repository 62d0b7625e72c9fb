//! The rows of one page out of all, and how many there are of each kind, in one pass and without sorting them all.
//!
//! Of the rows before and on the page a number each is held, of the page's own the row; texts are looked at where they are.

use super::kind::Kind;
use super::query::{Order, Query};
use crate::log::escape;
use crate::login::Verdict;
use crate::metrics::LoginBoard;
use crate::observation::{Reason, labels};
use crate::snapshot::{Row, Snapshot};
use crate::time::UnixSeconds;
use std::collections::BinaryHeap;

/// What is shown.
pub(super) struct Selection<'a> {
    /// Rows in which the text was found, of whatever kind.
    pub(super) matching: usize,
    /// How many of them are of each kind, in the order of [`Kind::ALL`].
    counts: [usize; Kind::ALL.len()],
    /// In how many of them each reason stands, in the order of [`Reason::ALL`].
    pub(super) reasons: [usize; Reason::ALL.len()],
    /// Those of the kind that was asked for: on all pages together.
    pub(super) found: usize,
    /// The page that is shown, from 1 on.
    pub(super) page: usize,
    /// How many there are, at least one.
    pub(super) pages: usize,
    /// So many stand on the pages before.
    pub(super) before: usize,
    /// Those of the page.
    pub(super) rows: Vec<(Kind, Row<'a>)>,
    /// What logins say.
    pub(super) board: &'a LoginBoard,
    /// Tokens, whether the text is in them or not, that have no series in the detailed families.
    pub(super) beyond: usize,
}

impl<'a> Selection<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, board: &'a LoginBoard, query: &Query, now: UnixSeconds) -> Self {
        let needle = Needle::new(&query.text);
        let (mut counts, mut reasons) = ([0; Kind::ALL.len()], [0; Reason::ALL.len()]);
        let (mut matching, mut found) = (0usize, 0usize);
        // The first rows of the order, the last of them on top.
        let (up_to, mut first) = (query.page.saturating_mul(query.size), BinaryHeap::new());
        for (number, row) in snapshot.rows().enumerate() {
            if !needle.is_in(&row, board, now) {
                continue;
            }
            matching += 1;
            let kind = Kind::of(&row, now);
            add_one(&mut counts, Kind::ALL.iter().position(|known| *known == kind));
            let mut has_error = false;
            for (reason, _) in row.errors() {
                add_one(&mut reasons, Reason::ALL.iter().position(|known| *known == reason));
                has_error = true;
            }
            let is_refused = !board.is_empty() && would_refuse(board, &row, now);
            for (besides, is_one) in [(Kind::Error, has_error), (Kind::Refused, is_refused)] {
                if is_one {
                    add_one(&mut counts, Kind::ALL.iter().position(|known| *known == besides));
                }
            }
            let is_wanted = match query.kind {
                None => true,
                Some(Kind::Error) => has_error,
                Some(Kind::Refused) => is_refused,
                Some(wanted) => wanted == kind,
            };
            if !is_wanted {
                continue;
            }
            found += 1;
            let entry = (rank(query.order, kind, &row), number);
            if first.len() < up_to {
                first.push(entry);
            } else if first.peek().is_some_and(|last| entry < *last) {
                first.pop();
                first.push(entry);
            }
        }
        let pages = found.div_ceil(query.size).max(1);
        let page = query.page.min(pages);
        let before = (page - 1) * query.size;
        let numbers: Vec<usize> = first.into_sorted_vec().into_iter().skip(before).map(|(_, number)| number).collect();
        let rows = pick(snapshot, &numbers).into_iter().map(|row| (Kind::of(&row, now), row)).collect();
        let beyond = snapshot.beyond_detailed();
        Self { matching, counts, reasons, found, page, pages, before, rows, board, beyond }
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        let counts = Kind::ALL.into_iter().zip(self.counts);
        counts.filter(|(known, _)| *known == kind).map(|(_, count)| count).sum()
    }

    /// The kinds that there can be: without logins nothing is refused.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> {
        let refuses = !self.board.is_empty();
        Kind::ALL.into_iter().filter(move |kind| refuses || *kind != Kind::Refused)
    }
}

/// Whether a login would refuse the row's token now.
fn would_refuse(board: &LoginBoard, row: &Row<'_>, now: UnixSeconds) -> bool {
    board.verdicts_at(row.place(), now).any(|verdict| matches!(verdict, Verdict::Refused(_)))
}

fn add_one(counts: &mut [usize], at: Option<usize>) {
    if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
        *count += 1;
    }
}

/// What has no date comes last, what could not be read behind what never expires. Equal ones stay in the snapshot's order.
fn rank(order: Order, kind: Kind, row: &Row<'_>) -> (i64, bool) {
    match order {
        Order::Namespace => (0, false),
        Order::Expiry => {
            let expires = row.token().and_then(|token| token.expires());
            (expires.map_or(i64::MAX, |at| at.0), kind == Kind::Unreadable)
        }
    }
}

/// The rows with these numbers, in the order of the numbers' list.
fn pick<'a>(snapshot: &'a Snapshot, numbers: &[usize]) -> Vec<Row<'a>> {
    let mut wanted: Vec<(usize, usize)> = numbers.iter().enumerate().map(|(place, number)| (*number, place)).collect();
    wanted.sort_unstable();
    let mut wanted = wanted.into_iter().peekable();
    let mut rows: Vec<(usize, Row<'a>)> = Vec::with_capacity(numbers.len());
    for (number, row) in snapshot.rows().enumerate() {
        match wanted.peek() {
            None => break,
            Some((next, place)) if *next == number => {
                rows.push((*place, row));
                wanted.next();
            }
            Some(_) => {}
        }
    }
    rows.sort_unstable_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Words, in lower case, all of which have to be found in a row: in a label's value, a reason's code or its detail, or what a login
/// says.
struct Needle(Vec<String>);

impl Needle {
    fn new(text: &str) -> Self {
        Self(text.split(' ').filter(|word| !word.is_empty()).take(8).map(str::to_lowercase).collect())
    }

    fn is_in(&self, row: &Row<'_>, board: &LoginBoard, now: UnixSeconds) -> bool {
        if self.0.is_empty() {
            return true;
        }
        // A row without a token has its place alone; that is short.
        let text = row.token().map(|token| (token, is_plain(token.text())));
        let in_labels = |word: &str| match text {
            // Where nothing is escaped, a value that holds the word is in the whole text.
            Some((token, true)) if !is_within(token.text(), word) => false,
            Some((token, _)) => {
                row.labels().chain(token.series().flat_map(labels)).any(|(_, value)| holds(&value, word))
            }
            None => row.labels().any(|(_, value)| holds(&value, word)),
        };
        let in_errors = |word| row.errors().any(|(reason, detail)| holds(reason.as_str(), word) || holds(detail, word));
        let in_logins = |word| {
            board.at(row.place(), now).any(|answer| {
                let (code, words) = answer.verdict.reason().unwrap_or_default();
                holds(&answer.name(), word) || holds(code, word) || holds(words, word)
            })
        };
        // A place as it is written elsewhere: namespace/name.
        let in_place = |word: &str| {
            word.contains('/')
                && holds(&format!("{}/{}", row.label("secret_namespace"), row.label("secret_name")), word)
        };
        self.0
            .iter()
            .all(|word| in_labels(word) || in_errors(word) || !board.is_empty() && in_logins(word) || in_place(word))
    }
}

/// Whether a text, as it is shown, holds a word in lower case.
fn holds(text: &str, word: &str) -> bool {
    let is_one_line = memchr::memchr(b'\n', text.as_bytes()).is_none();
    if is_one_line && is_plain(text) { is_within(text, word) } else { escape(text).to_lowercase().contains(word) }
}

/// Whether a text is shown as it is written: visible ASCII, and no escape of the exposition. Eight bytes at a time: this is asked of
/// everything that is kept.
fn is_plain(text: &str) -> bool {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = EACH << 7;
    let bytes = text.as_bytes();
    let (words, rest) = bytes.as_chunks::<8>();
    // Of a byte below a blank the subtraction borrows; the highest bit is set in what is no ASCII. (Newlines stand between series.)
    let odd = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        (word.wrapping_sub(EACH * 0x20) & !word | word) & HIGH != 0
    };
    memchr::memchr2(b'\\', 0x7f, bytes).is_none()
        && words.iter().all(|word| !odd(word) || word.iter().all(is_harmless))
        && rest.iter().all(is_harmless)
}

fn is_harmless(byte: &u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n')
}

/// Whether a word in lower case is in a text of ASCII, in whatever case.
fn is_within(text: &str, word: &str) -> bool {
    let Some(first) = word.bytes().next() else { return true };
    let bytes = text.as_bytes();
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), bytes)
        .any(|at| bytes.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_text_is_plain_if_each_of_its_bytes_is(text in "([ -~\n]{0,9}|\\PC|[\u{0}-\u{1f}\u{7f}-\u{ff}\\\\]){0,4}") {
            let expected = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n') && byte != b'\\');
            prop_assert_eq!(is_plain(&text), expected, "{:?}", text);
        }

        #[test]
        fn a_word_is_found_where_it_is_shown(text in "[a-cA-C\n\u{1}é\\\\]{0,12}", word in "[a-cén\\\\]{1,3}") {
            prop_assert_eq!(holds(&text, &word), escape(&text).to_lowercase().contains(&word), "{:?}", text);
        }
    }
}
