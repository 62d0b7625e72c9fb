//! `check`: one look at every source, and what there is, soonest expiry first.

mod machine;

pub(super) use machine::harmless;

use super::table::{self, Column, Tone};
use super::terminal::Look;
use super::words::place;
use super::{EXIT_FAILURE, EXIT_USAGE, complain, logins, looking, print, run};
use crate::cli::{CheckFlags, Format};
use crate::config::Config;
use crate::log::escape;
use crate::login::Verdict;
use crate::metrics::{LoginAnswer, LoginBoard};
use crate::published::Published;
use crate::snapshot::{Row, Snapshot, State};
use crate::time::{UnixSeconds, date, expiry, minute, span};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

/// Looks, prints, and tells by its exit code how it stands.
pub(super) fn check(config: &Config, flags: CheckFlags) -> ExitCode {
    run::leave_no_core();
    let looked = looking::own_metrics().and_then(|own| {
        let snapshot = Arc::new(Published::new(looking::look(config, &own)?));
        Ok((logins::board_once(config, &own, Arc::clone(&snapshot)), snapshot.load()))
    });
    let (board, snapshot) = match looked {
        Ok(looked) => looked,
        Err(reason) => {
            complain(&format!("jwt-exporter: {reason}\n"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let window = i64::try_from(flags.expiring_within.as_secs()).unwrap_or(i64::MAX);
    let answer = Answer::new(&snapshot, &board, UnixSeconds::now(), window);
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
    lines: Vec<Line<'a>>,
}

/// A token, or what is in the place of one.
struct Line<'a> {
    state: State,
    row: Row<'a>,
    /// What each login that it is held against says.
    answers: Vec<LoginAnswer<'a>>,
}

impl<'a> Answer<'a> {
    fn new(snapshot: &'a Snapshot, board: &'a LoginBoard, now: UnixSeconds, window: i64) -> Self {
        let line =
            |row: Row<'a>| Line { state: row.state(now, window), row, answers: board.at(row.place(), now).collect() };
        let mut lines: Vec<_> = snapshot.rows().map(line).collect();
        // Stable: the same date leaves the order of the places. What has no date comes last, near the summary.
        lines.sort_by_key(|line| {
            let expires = line.row.token().and_then(|token| token.expires()).map_or(i64::MAX, |at| at.0);
            (expires, line.state)
        });
        Self { snapshot, now, window, lines }
    }

    fn counted(&self, is_one: impl Fn(&Line<'_>) -> bool) -> usize {
        self.lines.iter().filter(|line| is_one(line)).count()
    }

    fn count(&self, state: State) -> usize {
        self.counted(|line| line.state == state)
    }

    /// Rows with an error that says that something could not be read.
    fn troubles(&self) -> usize {
        self.counted(|line| line.row.is_in_trouble())
    }

    fn tokens(&self) -> usize {
        self.counted(|line| line.row.token().is_some())
    }

    /// Those that a login would refuse now.
    fn refused(&self) -> usize {
        self.counted(|line| line.is_refused())
    }

    /// Those of which it cannot be told for a login.
    fn undetermined(&self) -> usize {
        self.counted(|line| line.answers.iter().any(|answer| matches!(answer.verdict, Verdict::Undetermined(_))))
    }

    /// Those that a login lets in, but not for longer than the window.
    fn ending(&self) -> usize {
        self.counted(|line| self.ends_soon(line))
    }

    fn ends_soon(&self, line: &Line<'_>) -> bool {
        let ends = |answer: &LoginAnswer<'_>| answer.until().is_some_and(|until| until.since(self.now) <= self.window);
        line.answers.iter().any(|answer| answer.verdict == Verdict::Accepted && ends(answer))
    }

    fn exit_code(&self) -> u8 {
        let failed = self.snapshot.sources().iter().any(|source| !source.up);
        let unwell = self.count(State::Expired) + self.count(State::Expiring) + self.troubles();
        match (failed, unwell + self.refused() + self.ending() > 0) {
            (true, _) => EXIT_USAGE,
            (false, true) => EXIT_FAILURE,
            (false, false) => 0,
        }
    }

    fn table(&self, look: Look) -> String {
        const fn column(heading: &'static str, least: usize, dispensable: u8, middle: bool) -> Column {
            Column { heading, least, dispensable, middle }
        }
        const COLUMNS: [Column; CELLS] = [
            column("PLACE", 22, 0, true),
            column("ALGORITHM", 0, 7, false),
            column("ISSUER", 14, 8, true),
            column("SUBJECT", 14, 9, true),
            column("ISSUED (UTC)", 0, 10, false),
            column("EXPIRES (UTC)", 0, 5, false),
            column("", 0, 0, false),
            column("LOGIN", 12, 3, true),
            column("VERDICT", 0, 1, false),
            column("UNTIL (UTC)", 0, 6, false),
            column("WHY", 34, 4, false),
            column("REASON", 16, 2, false),
            column("DETAIL", 30, 11, false),
        ];
        let mut lines = Vec::new();
        for line in &self.lines {
            let tone = match line.state {
                State::Expired | State::Unreadable => Tone::Bad,
                _ if line.is_refused() => Tone::Bad,
                State::Expiring => Tone::Warning,
                _ if self.ends_soon(line) => Tone::Warning,
                State::Valid | State::Never => Tone::Plain,
            };
            let mut answers = line.answers.iter();
            let mut cells = self.cells(line);
            self.fill_in(answers.next(), &mut cells);
            let place = cells.first().cloned().unwrap_or_default();
            lines.push((tone, cells.to_vec()));
            // Each further login on a line of its own.
            for answer in answers {
                let mut cells = [const { String::new() }; CELLS];
                self.fill_in(Some(answer), &mut cells);
                let mut cells = cells.to_vec();
                if let Some(first) = cells.first_mut() {
                    first.clone_from(&place);
                }
                lines.push((tone, cells));
            }
        }
        let mut text = if lines.is_empty() { String::new() } else { table::render(&COLUMNS, &lines, look) + "\n" };
        for line in self.failures().lines() {
            let _ = writeln!(text, "{}", Tone::Bad.paint(line, look));
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    /// All but what a login says.
    fn cells(&self, line: &Line<'_>) -> [String; CELLS] {
        let (state, row) = (line.state, &line.row);
        let label = |name: &str| escape(&row.label(name)).into_owned();
        let token = row.token();
        let when = |at: Option<UnixSeconds>| at.map(minute).unwrap_or_default();
        let words = match (state, token) {
            (State::Unreadable, _) => "unreadable".to_owned(),
            (_, Some(token)) => expiry(token.expires(), self.now),
            (_, None) => String::new(),
        };
        let reasons: Vec<&str> = row.errors().map(|(reason, _)| reason.as_str()).collect();
        let mut details: Vec<String> = row.errors().map(|(_, detail)| escape(detail).into_owned()).collect();
        if let Some(begins) = token.and_then(|token| token.not_before()).filter(|begins| *begins > self.now) {
            details.push(format!("not valid before {}", date(begins)));
        }
        [
            place_of(row),
            label("algorithm"),
            label("issuer"),
            label("subject"),
            when(token.and_then(|token| token.issued())),
            when(token.and_then(|token| token.expires())),
            words,
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            reasons.join(", "),
            details.join("; "),
        ]
    }

    fn fill_in(&self, answer: Option<&LoginAnswer<'_>>, cells: &mut [String; CELLS]) {
        let Some(answer) = answer else { return };
        let [.., login, verdict, until, why, _, _] = cells;
        *login = escape(&answer.name()).into_owned();
        answer.verdict.code().clone_into(verdict);
        *until = answer.until().map(minute).unwrap_or_default();
        answer.verdict.reason().map_or("", |(_, words)| words).clone_into(why);
        if let Some(begins) = answer.begins_after(self.now) {
            let _ = write!(why, " before {}", date(begins));
        }
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
            (self.refused(), "refused by a login".to_owned()),
            (self.ending(), format!("let in by a login for {window} at most")),
            (self.undetermined(), "with a login that cannot be told".to_owned()),
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

impl Line<'_> {
    fn is_refused(&self) -> bool {
        self.answers.iter().any(|answer| matches!(answer.verdict, Verdict::Refused(_)))
    }
}

/// The columns of the table.
const CELLS: usize = 13;

fn place_of(row: &Row<'_>) -> String {
    let label = |name: &str| row.label(name);
    place(&label("secret_cluster"), &label("secret_namespace"), &label("secret_name"), &label("secret_key"))
}

#[cfg(test)]
mod tests;
