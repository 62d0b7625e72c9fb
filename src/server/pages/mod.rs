//! The status page at `/`: how every token stands, for people without another program.
//!
//! It is one HTML document without a script, made anew at each request from the snapshot, and bounded: it holds one page of the
//! rows, whatever there is. What it shows of a token are its labels, as `/metrics` has them, and its dates; so what is hidden there
//! is hidden here. `query` reads the address, `kind` and `selection` say what belongs on the page, `tokens`, `renewals` and `around` write it
//! down, `html` makes texts from outside harmless.

mod around;
mod html;
mod kind;
mod query;
mod renewals;
mod selection;
mod tokens;

use crate::metrics::{LoginBoard, RenewalStatus};
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use html::text;
use query::Query;
use selection::Selection;
use std::fmt::Write as _;

/// What a page is made from besides the snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front<'a> {
    /// Of this program.
    pub(super) version: &'static str,
    /// Whether there is a page at all.
    pub(super) is_on: bool,
    /// The moment of the request.
    pub(super) now: UnixSeconds,
    /// The tokens that are renewed.
    pub(super) renewals: &'a [RenewalStatus],
}

/// Nothing on the page comes from elsewhere, and nothing is executed; the hash is that of `style.css` (CSP Level 3). Names of people
/// and systems stand on it, and what a minute ago was true: nobody is to keep it.
pub(super) const HEADERS: &[(&str, &str)] = &[
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'sha256-Bwjp+qtGFgfvXbXzcUouM8SsFwN+24XHQndJ0mI+Pgs='; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
];

const STYLE: &str = include_str!("style.css");

/// The page that `query`, the address behind its `?`, asks for, with what the logins of `board` say at `now`. Any text is a query; the page is at most as long as some hundred
/// rows are, whatever they hold.
#[must_use]
pub fn status_page(
    snapshot: &Snapshot,
    board: &LoginBoard,
    query: &str,
    version: &'static str,
    now: UnixSeconds,
) -> String {
    page_of(snapshot, board, query, Front { version, is_on: true, now, renewals: &[] })
}

/// The same, with what else there is.
pub(super) fn page_of(snapshot: &Snapshot, board: &LoginBoard, query: &str, front: Front<'_>) -> String {
    let query = Query::parse(query);
    let selection = Selection::new(snapshot, board, &query, front.now);
    let mut page = String::with_capacity(16 * 1024);
    // Writing to a String cannot fail.
    let _ = write_page(&mut page, snapshot, &query, &selection, front);
    page
}

fn write_page(
    page: &mut String,
    snapshot: &Snapshot,
    query: &Query,
    selection: &Selection<'_>,
    front: Front<'_>,
) -> std::fmt::Result {
    write!(
        page,
        r##"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#tokens">Go to the tokens</a>
"##,
        title = text(&title(selection)),
    )?;
    around::header(page, snapshot, query, front)?;
    page.push_str("<main>\n");
    around::totals(page, query, selection)?;
    tokens::section(page, query, selection, front.now)?;
    renewals::section(page, front.renewals, front.now)?;
    around::errors(page, query, selection)?;
    around::sources(page, snapshot, front.now)?;
    page.push_str("</main>\n");
    around::footer(page, selection, front)?;
    page.push_str("</body>\n</html>\n");
    Ok(())
}

/// What a tab shows: the worst first.
fn title(selection: &Selection<'_>) -> String {
    let mut title = String::new();
    for kind in [kind::Kind::Expired, kind::Kind::Refused, kind::Kind::Expiring] {
        let count = selection.count(kind);
        if count > 0 {
            let _ = write!(title, "{} {} · ", html::grouped(count), kind.words().to_lowercase());
        }
    }
    title + "jwt-exporter"
}

#[cfg(test)]
mod tests;
