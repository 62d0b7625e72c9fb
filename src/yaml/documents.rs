//! The documents of a stream, one by one, so that a broken one does not hide the others.

use super::{YamlError, parse};
use serde::de::DeserializeOwned;

/// One document of a stream: its text from its `---` on, directives included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// The line of the stream where the text begins, from 1.
    pub line: usize,
    /// What stands there.
    pub text: &'a str,
}

impl Document<'_> {
    /// Reads the document, which may just as well be JSON. The lines of errors are those of the stream.
    ///
    /// # Errors
    /// What the text lacks to be a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        // JSON is almost YAML; what the YAML parser does not know (surrogate pairs) is why it is tried as itself first.
        if self.text.trim_start().starts_with('{')
            && let Ok(value) = serde_json::from_str(self.text)
        {
            return Ok(value);
        }
        parse(self.text).map_err(|error| error.moved_down(self.line - 1))
    }
}

impl YamlError {
    /// The error as it stands in a larger text, `lines` lines further down. Its message has no position any more.
    #[must_use]
    pub fn moved_down(self, lines: usize) -> Self {
        let error = self.without_position();
        Self { line: error.line.map(|line| line + lines), ..error }
    }

    /// The error with a message that does not repeat `line` and `column`.
    #[must_use]
    pub fn without_position(self) -> Self {
        let message = match (self.line, self.column) {
            (Some(line), Some(column)) => self.message.replacen(&format!(" at line {line} column {column}"), "", 1),
            _ => self.message,
        };
        Self { message, ..self }
    }
}

/// The documents of `text` in their order. One that holds nothing but comments is left out.
///
/// A line that begins with `---` or `...` ends a document whatever stands before it (YAML 1.2.2, section 9.1.2: no
/// content may look like that), so the text can be cut before it is parsed.
pub fn documents(text: &str) -> impl Iterator<Item = Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let (mut start, mut start_line, mut content) = (0, 1, Content::Nothing);
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker = marker(line);
        if marker.is_some() {
            if content == Content::Something {
                found.push(Document { line: start_line, text: text.get(start..at).unwrap_or_default() });
            }
            // Directives stand before the `---` of their document and belong to it.
            if content != Content::Directive {
                (start, start_line) = (at, index + 1);
            }
            content = Content::Nothing;
        }
        match marker {
            Some(Marker::End) => (start, start_line) = (at + line.len(), index + 2),
            Some(Marker::Begin { rest }) => content = content.max(Content::of(rest, false)),
            None => content = content.max(Content::of(line, true)),
        }
        at += line.len();
    }
    if content != Content::Nothing {
        found.push(Document { line: start_line, text: text.get(start..).unwrap_or_default() });
    }
    found.into_iter()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    Nothing,
    Directive,
    Something,
}

impl Content {
    fn of(line: &str, from_column_one: bool) -> Self {
        if from_column_one && line.starts_with('%') {
            return Self::Directive;
        }
        match line.trim_start().chars().next() {
            None | Some('#') => Self::Nothing,
            Some(_) => Self::Something,
        }
    }
}

enum Marker<'a> {
    Begin { rest: &'a str },
    End,
}

fn marker(line: &str) -> Option<Marker<'_>> {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']);
    if let Some(rest) = line.strip_prefix("---").filter(|rest| ends(rest)) {
        return Some(Marker::Begin { rest });
    }
    line.strip_prefix("...").filter(|rest| ends(rest)).map(|_| Marker::End)
}
