//! The rows of one page out of all, and how many there are of each kind, in one pass and without sorting them all.
//!
//! Of the rows before and on the page a number each is held, of the page's own the row; texts are looked at where they are.

use super::kind::Kind;
use super::query::{Order, Query};
use crate::log::escape;
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
}

impl<'a> Selection<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, query: &Query, now: UnixSeconds) -> Self {
        let needle = Needle::new(&query.text);
        let (mut counts, mut reasons) = ([0; Kind::ALL.len()], [0; Reason::ALL.len()]);
        let (mut matching, mut found) = (0usize, 0usize);
        // The first rows of the order, the last of them on top.
        let (up_to, mut first) = (query.page.saturating_mul(query.size), BinaryHeap::new());
        for (number, row) in snapshot.rows().enumerate() {
            if !needle.is_in(&row) {
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
            if has_error {
                add_one(&mut counts, Kind::ALL.iter().position(|known| *known == Kind::Error));
            }
            if query.kind.is_some_and(|wanted| wanted != kind && !(wanted == Kind::Error && has_error)) {
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
        Self { matching, counts, reasons, found, page, pages, before, rows }
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        let counts = Kind::ALL.into_iter().zip(self.counts);
        counts.filter(|(known, _)| *known == kind).map(|(_, count)| count).sum()
    }
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
            let expires = row.token().and_then(|token| token.expires);
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

/// Words, in lower case, all of which have to be found in a row: in a label's value, a reason's code or its detail.
struct Needle(Vec<String>);

impl Needle {
    fn new(text: &str) -> Self {
        Self(text.split(' ').filter(|word| !word.is_empty()).take(8).map(str::to_lowercase).collect())
    }

    fn is_in(&self, row: &Row<'_>) -> bool {
        self.0.iter().all(|word| {
            may_be_in_a_label(row, word) && row.labels().any(|(_, value)| holds(&value, word))
                || row.errors().any(|(reason, detail)| holds(reason.as_str(), word) || holds(detail, word))
                || row.token().is_some_and(|token| {
                    token.series().flat_map(labels).any(|(_, value)| holds(&value, word))
                })
                // A place as it is written elsewhere: namespace/name.
                || word.contains('/')
                    && holds(&format!("{}/{}", row.label("secret_namespace"), row.label("secret_name")), word)
        })
    }
}

/// Whether it is worth taking a token's labels apart: where nothing is escaped, a value that holds the word is in the whole text.
fn may_be_in_a_label(row: &Row<'_>, word: &str) -> bool {
    let Some(token) = row.token() else { return true };
    let plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\');
    [token.head(), token.tail()].into_iter().any(|text| !plain(text) || holds(text, word))
}

/// Whether a text, as it is shown, holds a word in lower case.
fn holds(text: &str, word: &str) -> bool {
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return escape(text).to_lowercase().contains(word);
    }
    let Some(first) = word.bytes().next() else { return true };
    let bytes = text.as_bytes();
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), bytes)
        .any(|at| bytes.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes())))
}
