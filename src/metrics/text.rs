//! Prometheus' text format, put together in pieces of one size that are written one after the other.

use super::family::Family;
use std::io::{self, Write};

/// Larger pieces were no faster.
const PIECE: usize = 128 * 1024;

/// A text on its way out.
pub(super) struct Text<'a> {
    piece: Box<[u8]>,
    /// So much of the piece is text.
    filled: usize,
    out: &'a mut dyn Write,
}

impl<'a> Text<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { piece: vec![0; PIECE].into(), filled: 0, out }
    }

    /// Writes what is left.
    pub(super) fn end(self) -> io::Result<()> {
        self.out.write_all(self.piece.get(..self.filled).unwrap_or_default())
    }

    /// The caller is a loop over all tokens: nothing here is more than a comparison and a copy.
    #[inline(always)]
    pub(super) fn push(&mut self, part: &[u8]) -> io::Result<()> {
        match self.piece.get_mut(self.filled..).and_then(|room| room.get_mut(..part.len())) {
            Some(room) => {
                room.copy_from_slice(part);
                self.filled += part.len();
                Ok(())
            }
            None => self.push_beyond(part),
        }
    }

    /// The same for a part that there is no room for. A part is never taken apart, but for one that is larger than a piece.
    #[cold]
    fn push_beyond(&mut self, part: &[u8]) -> io::Result<()> {
        self.out.write_all(self.piece.get(..self.filled).unwrap_or_default())?;
        self.filled = 0;
        match self.piece.get_mut(..part.len()) {
            Some(room) => {
                room.copy_from_slice(part);
                self.filled = part.len();
                Ok(())
            }
            None => self.out.write_all(part),
        }
    }

    /// One family; without a sample nothing of it appears.
    pub(super) fn family(&mut self, family: Family) -> Samples<'_, 'a> {
        Samples { text: self, family, is_begun: false, next: ["\n", family.name, "{"].concat(), value: Value::of(0) }
    }
}

/// The samples of one family.
pub(super) struct Samples<'t, 'a> {
    text: &'t mut Text<'a>,
    family: Family,
    is_begun: bool,
    /// What ends a sample and begins another one, up to its labels.
    next: String,
    value: Value,
}

impl Samples<'_, '_> {
    /// A sample with these labels, put together from parts.
    pub(super) fn sample(&mut self, labels: &[&str], value: i64) -> io::Result<()> {
        self.value(value)?;
        for part in labels {
            self.labels(part.as_bytes())?;
        }
        self.end_sample()
    }

    /// The samples that follow have this value.
    pub(super) fn value(&mut self, value: i64) -> io::Result<()> {
        self.value.set(value);
        if self.is_begun {
            return Ok(());
        }
        self.is_begun = true;
        let Family { name, help, kind } = self.family;
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind.as_str()] {
            self.text.push(part.as_bytes())?;
        }
        self.text.push(self.next.as_bytes())
    }

    /// Labels of the next sample, or a part of them.
    #[inline(always)]
    pub(super) fn labels(&mut self, part: &[u8]) -> io::Result<()> {
        self.text.push(part)
    }

    /// These were all labels of the sample.
    pub(super) fn end_sample(&mut self) -> io::Result<()> {
        self.text.push(self.value.text())?;
        self.text.push(self.next.as_bytes())
    }

    /// There are no more of them: what was written to begin another one is taken back, but for the end of the line.
    pub(super) fn end(self) {
        if self.is_begun {
            // It was the last part, and none is ever taken apart.
            self.text.filled = self.text.filled.saturating_sub(self.next.len() - "\n".len());
        }
    }
}

/// A value as text, with what stands between it and the labels.
struct Value {
    number: i64,
    /// Has room for all digits of an `i64`, and a sign.
    text: [u8; Self::BEFORE.len() + 20],
    length: usize,
}

impl Value {
    const BEFORE: &str = "} ";

    fn of(number: i64) -> Self {
        let mut value = Self { number, text: *b"} 00000000000000000000", length: 0 };
        value.write(number);
        value
    }

    fn set(&mut self, number: i64) {
        // That of several families is always the same.
        if number != self.number {
            self.write(number);
        }
    }

    fn write(&mut self, number: i64) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number).as_bytes();
        if let Some(room) = self.text.get_mut(Self::BEFORE.len()..).and_then(|room| room.get_mut(..digits.len())) {
            room.copy_from_slice(digits);
        }
        (self.number, self.length) = (number, Self::BEFORE.len() + digits.len());
    }

    fn text(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metrics::family::{TOKEN_ERROR, TOKEN_INFO};

    /// All that is written.
    pub(in crate::metrics) fn written(write: impl FnOnce(&mut Text<'_>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        let mut text = Text::new(&mut out);
        write(&mut text).unwrap();
        text.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_family_without_a_sample_does_not_appear() {
        let text = written(|text| {
            text.family(TOKEN_INFO).end();
            let mut samples = text.family(TOKEN_ERROR);
            samples.sample(&["a=\"1\"", ",b=\"2\""], i64::MIN)?;
            samples.sample(&[], i64::MAX)?;
            samples.end();
            text.family(TOKEN_INFO).end();
            Ok(())
        });
        let (name, help) = (TOKEN_ERROR.name, TOKEN_ERROR.help);
        assert_eq!(
            text,
            format!(
                "# HELP {name} {help}\n# TYPE {name} gauge\n\
                 {name}{{a=\"1\",b=\"2\"}} -9223372036854775808\n{name}{{}} 9223372036854775807\n"
            )
        );
    }

    #[test]
    fn wherever_a_piece_ends_the_text_is_the_same() {
        let long = "x".repeat(PIECE + 7);
        // Each turn another number of bytes lies in the piece when the families begin, and end.
        for before in (0..400).chain([long.len()]) {
            let before = &long[..before];
            let label = "y".repeat(PIECE - 400);
            let text = written(|text| {
                text.push(before.as_bytes())?;
                for family in [TOKEN_INFO, TOKEN_ERROR] {
                    let mut samples = text.family(family);
                    samples.sample(&["a=\"", &label, "\""], 7)?;
                    samples.sample(&["b=\"\""], -7)?;
                    samples.end();
                }
                text.push(long.as_bytes())
            });
            let family = |Family { name, help, kind }: Family| {
                let kind = kind.as_str();
                format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{a=\"{label}\"}} 7\n{name}{{b=\"\"}} -7\n")
            };
            assert!(text == [before, &family(TOKEN_INFO), &family(TOKEN_ERROR), &long].concat(), "{}", before.len());
        }
    }
}
