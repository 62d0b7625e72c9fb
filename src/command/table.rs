//! Columns that fit a terminal: what does not matter most is left out, what is too long is cut.

use super::terminal::Look;
use super::words::{cut, width};
use std::fmt::Write as _;

/// One column and how it gives way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) heading: &'static str,
    /// It may be cut to this width; 0: never.
    pub(super) least: usize,
    /// The columns with the highest numbers are left out first; 0: never.
    pub(super) dispensable: u8,
    /// Cut in the middle rather than at the end.
    pub(super) middle: bool,
}

/// How a line stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Warning,
    Bad,
}

impl Tone {
    /// SGR codes (ECMA-48): yellow, red.
    pub(super) fn paint(self, text: &str, look: Look) -> String {
        match self {
            Self::Warning if look.colour => format!("\x1b[33m{text}\x1b[0m"),
            Self::Bad if look.colour => format!("\x1b[31m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

const GAP: usize = 2;

/// The table with its headings. The cells are one line each, without control characters.
pub(super) fn render(columns: &[Column], lines: &[(Tone, Vec<String>)], look: Look) -> String {
    let natural = |at: usize, column: &Column| {
        let cells = lines.iter().filter_map(|(_, cells)| cells.get(at)).map(|cell| width(cell));
        cells.max().filter(|widest| *widest > 0).map(|widest| widest.max(width(column.heading)))
    };
    // A column without a single entry says nothing.
    let mut shown: Vec<(usize, &Column, usize)> =
        columns.iter().enumerate().filter_map(|(at, column)| Some((at, column, natural(at, column)?))).collect();
    if let Some(most) = look.width {
        fit(&mut shown, most);
    }
    let mut text = String::new();
    let headings: Vec<String> = columns.iter().map(|column| column.heading.to_owned()).collect();
    let mut before: Option<&String> = None;
    for (tone, cells) in std::iter::once(&(Tone::Plain, headings)).chain(lines) {
        // A second line about the same, of which nothing is left but that, says nothing.
        let is_bare = shown.iter().skip(1).all(|(at, ..)| cells.get(*at).is_none_or(String::is_empty));
        let last = std::mem::replace(&mut before, cells.first());
        if is_bare && last.is_some() && last == cells.first() {
            continue;
        }
        let mut line = String::new();
        for (at, column, columns_wide) in &shown {
            let cell = cut(cells.get(*at).map_or("", String::as_str), *columns_wide, column.middle);
            let padding = columns_wide.saturating_sub(width(&cell)) + GAP;
            let _ = write!(line, "{cell}{:padding$}", "");
        }
        let _ = writeln!(text, "{}", tone.paint(line.trim_end(), look));
    }
    text
}

/// Leaves columns out until the others fit at their least, then gives back what is left over.
fn fit(shown: &mut Vec<(usize, &Column, usize)>, most: usize) {
    let least = |(_, column, natural): &(usize, &Column, usize)| match column.least {
        0 => *natural,
        least => least.max(width(column.heading)).min(*natural),
    };
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    let mut widths: Vec<usize> = shown.iter().map(least).collect();
    while total(&widths) > most {
        let dispensable = shown.iter().enumerate().filter(|(_, (_, column, _))| column.dispensable > 0);
        let Some((at, _)) = dispensable.max_by_key(|(_, (_, column, _))| column.dispensable) else { break };
        shown.remove(at);
        widths.remove(at);
    }
    let mut over = most.saturating_sub(total(&widths));
    // The first one says which line it is: it comes first, with half of what is left.
    if let (Some((_, _, natural)), Some(width)) = (shown.first(), widths.first_mut()) {
        let grown = (*natural).min(*width + over / 2);
        over -= grown - *width;
        *width = grown;
    }
    // Then all in turn, so that many short ones are whole and few long ones cut.
    while over > 0 {
        let mut grown = false;
        for ((_, _, natural), width) in shown.iter().zip(&mut widths) {
            if over > 0 && *width < *natural {
                *width += 1;
                over -= 1;
                grown = true;
            }
        }
        if !grown {
            break;
        }
    }
    for ((_, _, natural), width) in shown.iter_mut().zip(widths) {
        *natural = width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COLUMNS: [Column; 3] = [
        Column { heading: "PLACE", least: 8, dispensable: 0, middle: true },
        Column { heading: "ISSUER", least: 6, dispensable: 1, middle: false },
        Column { heading: "EXPIRES", least: 0, dispensable: 0, middle: false },
    ];

    fn lines(cells: &[[&str; 3]]) -> Vec<(Tone, Vec<String>)> {
        cells.iter().map(|cells| (Tone::Plain, cells.map(str::to_owned).to_vec())).collect()
    }

    fn look(width: usize) -> Look {
        Look { width: Some(width), colour: false }
    }

    #[test]
    fn columns_give_way_to_the_width() {
        let lines = lines(&[["namespace/name:key", "https://issuer", "in 3 d"], ["漢字/a", "", "never"]]);
        let wide = "PLACE               ISSUER          EXPIRES\nnamespace/name:key  https://issuer  in 3 d\n漢字/a                              never\n";
        assert_eq!(render(&COLUMNS, &lines, Look { width: None, colour: true }), wide);
        assert_eq!(render(&COLUMNS, &lines, look(43)), wide);
        let cut =
            "PLACE           ISSUER    EXPIRES\nnamespa…me:key  https:/…  in 3 d\n漢字/a                    never\n";
        assert_eq!(render(&COLUMNS, &lines, look(33)), cut);
        let few = "PLACE     EXPIRES\nname…key  in 3 d\n漢字/a    never\n";
        assert_eq!(render(&COLUMNS, &lines, look(17)), few);
    }

    #[test]
    fn a_column_without_an_entry_is_not_there() {
        assert_eq!(render(&COLUMNS, &lines(&[["a", "", "b"]]), look(80)), "PLACE  EXPIRES\na      b\n");
    }

    #[test]
    fn colour_is_around_the_line_and_counts_for_nothing() {
        let bad = [(Tone::Bad, ["a", "i", "b"].map(str::to_owned).to_vec())];
        let text = render(&COLUMNS, &bad, Look { width: Some(40), colour: true });
        assert_eq!(text, "PLACE  ISSUER  EXPIRES\n\x1b[31ma      i       b\x1b[0m\n");
    }

    #[test]
    fn a_second_line_of_which_nothing_is_left_is_not_there() {
        let lines = lines(&[["a", "x", "now"], ["a", "y", ""], ["b", "", ""], ["c", "", ""]]);
        let wide = "PLACE  ISSUER  EXPIRES\na      x       now\na      y\nb\nc\n";
        assert_eq!(render(&COLUMNS, &lines, look(80)), wide);
        assert_eq!(render(&COLUMNS, &lines, look(17)), "PLACE  EXPIRES\na      now\nb\nc\n");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_allowed(
            cells in proptest::collection::vec(("\\PC{0,30}", "\\PC{0,30}", "[a-z0-9 ]{0,12}"), 0..6), most in 30usize..90
        ) {
            let lines: Vec<_> = cells.iter().map(|(a, b, c)| (Tone::Plain, vec![a.clone(), b.clone(), c.clone()])).collect();
            for line in render(&COLUMNS, &lines, look(most)).lines() {
                prop_assert!(width(line) <= most, "{} > {most}: {line}", width(line));
            }
        }
    }
}
