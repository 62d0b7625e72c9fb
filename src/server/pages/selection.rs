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

/// Words, in lower case, all of which have to be found in a row: in a label's value, a reason's code or its detail, or what a login
/// says.
struct Needle(Vec<String>);

impl Needle {
    fn new(text: &str) -> Self {
        Self(text.split(' ').filter(|word| !word.is_empty()).take(8).map(str::to_lowercase).collect())
    }

    fn is_in(&self, row: &Row<'_>, board: &LoginBoard, now: UnixSeconds) -> bool {
        self.0.iter().all(|word| {
            may_be_in_a_label(row, word) && row.labels().any(|(_, value)| holds(&value, word))
                || row.errors().any(|(reason, detail)| holds(reason.as_str(), word) || holds(detail, word))
                || row.token().is_some_and(|token| {
                    token.series().flat_map(labels).any(|(_, value)| holds(&value, word))
                })
                || !board.is_empty() && board.at(row.place(), now).any(|answer| {
                    let (code, words) = answer.verdict.reason().unwrap_or_default();
                    holds(&answer.name(), word) || holds(code, word) || holds(words, word)
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
