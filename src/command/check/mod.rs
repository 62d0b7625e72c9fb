//! `check`: one look at every source, and what there is, soonest expiry first.

mod machine;

pub(super) use machine::harmless;

use super::table::{self, Column, Tone};
use super::terminal::Look;
use super::words::place;
use super::{EXIT_FAILURE, EXIT_USAGE, complain, looking, print, run};
use crate::cli::{CheckFlags, Format};
use crate::config::Config;
use crate::log::escape;
use crate::snapshot::{Row, Snapshot, State};
use crate::time::{UnixSeconds, date, expiry, minute, span};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Looks, prints, and tells by its exit code how it stands.
pub(super) fn check(config: &Config, flags: CheckFlags) -> ExitCode {
    run::leave_no_core();
    let looked = looking::own_metrics().and_then(|own| looking::look(config, &own));
    let snapshot = match looked {
        Ok(snapshot) => snapshot,
        Err(reason) => {
            complain(&format!("jwt-exporter: {reason}\n"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let window = i64::try_from(flags.expiring_within.as_secs()).unwrap_or(i64::MAX);
    let answer = Answer::new(&snapshot, UnixSeconds::now(), window);
    let text = match flags.format {
        Format::Text => answer.table(Look::of_stdout()),
        Format::Json => answer.json(),
        Format::Csv => answer.csv(),
    };
    if print(&text) != ExitCode::SUCCESS {
        return ExitCode::from(EXIT_FAILURE);
    }
    if flags.format == Format::Csv {
        // Its lines are all tokens: what could not be read as a whole stands beside it.
        complain(&answer.failures());
    }
    ExitCode::from(answer.exit_code())
}

/// What was found, in the order in which it is shown.
struct Answer<'a> {
    snapshot: &'a Snapshot,
    now: UnixSeconds,
    window: i64,
    rows: Vec<(State, Row<'a>)>,
}

impl<'a> Answer<'a> {
    fn new(snapshot: &'a Snapshot, now: UnixSeconds, window: i64) -> Self {
        let mut rows: Vec<_> = snapshot.rows().map(|row| (row.state(now, window), row)).collect();
        // Stable: the same date leaves the order of the places. What has no date comes last, near the summary.
        rows.sort_by_key(|(state, row)| {
            let expires = row.token().and_then(|token| token.expires).map_or(i64::MAX, |at| at.0);
            (expires, *state)
        });
        Self { snapshot, now, window, rows }
    }

    fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|(found, _)| *found == state).count()
    }

    /// Rows with an error that says that something could not be read.
    fn troubles(&self) -> usize {
        self.rows.iter().filter(|(_, row)| row.is_in_trouble()).count()
    }

    fn tokens(&self) -> usize {
        self.rows.iter().filter(|(_, row)| row.token().is_some()).count()
    }

    fn exit_code(&self) -> u8 {
        let failed = self.snapshot.sources().iter().any(|source| !source.up);
        let unwell = self.count(State::Expired) + self.count(State::Expiring) + self.troubles() > 0;
        match (failed, unwell) {
            (true, _) => EXIT_USAGE,
            (false, true) => EXIT_FAILURE,
            (false, false) => 0,
        }
    }

    fn table(&self, look: Look) -> String {
        const fn column(heading: &'static str, least: usize, dispensable: u8, middle: bool) -> Column {
            Column { heading, least, dispensable, middle }
        }
        const COLUMNS: [Column; 9] = [
            column("PLACE", 22, 0, true),
            column("ALGORITHM", 0, 3, false),
            column("ISSUER", 14, 4, true),
            column("SUBJECT", 14, 5, true),
            column("ISSUED (UTC)", 0, 6, false),
            column("EXPIRES (UTC)", 0, 2, false),
            column("", 0, 0, false),
            column("REASON", 16, 1, false),
            column("DETAIL", 30, 7, false),
        ];
        let line = |(state, row): &(State, Row<'_>)| {
            let tone = match state {
                State::Expired | State::Unreadable => Tone::Bad,
                State::Expiring => Tone::Warning,
                State::Valid | State::Never => Tone::Plain,
            };
            (tone, self.cells(*state, row).to_vec())
        };
        let lines: Vec<_> = self.rows.iter().map(line).collect();
        let mut text = if lines.is_empty() { String::new() } else { table::render(&COLUMNS, &lines, look) + "\n" };
        for line in self.failures().lines() {
            let _ = writeln!(text, "{}", Tone::Bad.paint(line, look));
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    fn cells(&self, state: State, row: &Row<'_>) -> [String; 9] {
        let label = |name: &str| escape(&row.label(name)).into_owned();
        let token = row.token();
        let when = |at: Option<UnixSeconds>| at.map(minute).unwrap_or_default();
        let words = match (state, token) {
            (State::Unreadable, _) => "unreadable".to_owned(),
            (_, Some(token)) => expiry(token.expires, self.now),
            (_, None) => String::new(),
        };
        let reasons: Vec<&str> = row.errors().map(|(reason, _)| reason.as_str()).collect();
        let mut details: Vec<String> = row.errors().map(|(_, detail)| escape(detail).into_owned()).collect();
        if let Some(begins) = token.and_then(|token| token.not_before).filter(|begins| *begins > self.now) {
            details.push(format!("not valid before {}", date(begins)));
        }
        [
            place_of(row),
            label("algorithm"),
            label("issuer"),
            label("subject"),
            when(token.and_then(|token| token.issued)),
            when(token.and_then(|token| token.expires)),
            words,
            reasons.join(", "),
            details.join("; "),
        ]
    }

    /// Sources that could not be read, or not in every part: a line each.
    fn failures(&self) -> String {
        let mut text = String::new();
        for source in self.snapshot.sources().iter().filter(|source| !source.up) {
            let why = source.failure.as_deref().unwrap_or("a part of it could not be read");
            let _ = writeln!(text, "{}: {}", escape(&source.name), escape(why));
        }
        text
    }

    fn summary(&self) -> String {
        let mut parts = vec![match self.tokens() {
            0 => "No token".to_owned(),
            1 => "1 token".to_owned(),
            tokens => format!("{tokens} tokens"),
        }];
        let window = span(self.window.unsigned_abs());
        for (count, what) in [
            (self.count(State::Expired), "expired".to_owned()),
            (self.count(State::Expiring), format!("expiring within {window}")),
            (self.count(State::Valid), "valid for longer".to_owned()),
            (self.count(State::Never), "without an end".to_owned()),
            (self.troubles(), "with something unreadable".to_owned()),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let sources = self.snapshot.sources();
        let failed = sources.iter().filter(|source| !source.up).count();
        if failed > 0 {
            parts.push(format!("{failed} of {} sources not read", sources.len()));
        }
        let (first, others) = parts.split_first().map_or(("", &[][..]), |(first, others)| (first.as_str(), others));
        if others.is_empty() { format!("{first}.") } else { format!("{first}: {}.", others.join(", ")) }
    }
}

fn place_of(row: &Row<'_>) -> String {
    let label = |name: &str| row.label(name);
    place(&label("secret_cluster"), &label("secret_namespace"), &label("secret_name"), &label("secret_key"))
}

#[cfg(test)]
mod tests;
