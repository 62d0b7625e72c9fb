//! What is at the other end of standard output and standard error.

use std::io::{IsTerminal as _, Write as _};

/// How to write for whoever reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Lines are at most so wide; `None`: as wide as need be.
    pub(super) width: Option<usize>,
    pub(super) colour: bool,
}

/// Below this a table cannot be read whatever is left out.
const LEAST_WIDTH: usize = 40;

impl Look {
    /// That of standard output: `COLUMNS`, else the terminal's own width; colour on a terminal, unless `NO_COLOR` is set
    /// (<https://no-color.org>) or the terminal is dumb.
    pub(super) fn of_stdout() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_terminal = std::io::stdout().is_terminal();
        let named = variable("COLUMNS").and_then(|text| text.parse().ok()).filter(|columns: &usize| *columns > 0);
        let width = named.or_else(|| is_terminal.then(columns).flatten());
        let colour = is_terminal && variable("NO_COLOR").is_none() && variable("TERM").as_deref() != Some("dumb");
        Self { width: width.map(|width| width.max(LEAST_WIDTH)), colour }
    }
}

/// The width of the terminal behind standard output (tty_ioctl(4), TIOCGWINSZ); `None` where it does not say.
fn columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request fills in this very structure, which lives through the call.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// One line on standard error that is written over; nothing at all where that is no terminal.
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        Self { shown: std::io::stderr().is_terminal() && !dumb }
    }

    pub(super) fn is_shown(&self) -> bool {
        self.shown
    }

    pub(super) fn say(&self, text: &str) {
        if self.shown {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{text}");
        }
    }

    pub(super) fn clear(&self) {
        self.say("");
    }
}
