//! The documents of a stream, one by one, so that a broken one does not hide the others.

use super::{YamlError, parse};
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// One document of a stream: its text from its `---` on, directives included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// The line of the stream where the text begins, from 1.
    pub line: usize,
    /// What stands there.
    pub text: &'a str,
}

impl<'a> Document<'a> {
    /// The document's text behind as many line ends as the stream has before it: whatever a parser says of positions is
    /// true of the stream.
    #[must_use]
    pub fn in_place(&self) -> Cow<'a, str> {
        if self.line == 1 { Cow::Borrowed(self.text) } else { Cow::Owned("\n".repeat(self.line - 1) + self.text) }
    }

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
    /// The error as it stands in a larger text, `lines` lines further down. Its message loses its position; others that
    /// the parser names in it ("while parsing … at line 1") remain those of the smaller text.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str) -> Vec<(usize, &str)> {
        documents(text).map(|document| (document.line, document.text)).collect()
    }

    #[test]
    fn documents_are_cut_at_their_markers() {
        for (text, wanted) in [
            ("", &[][..]),
            ("# nothing\n---\n# again\n...\n---", &[]),
            ("a", &[(1, "a")]),
            ("---\na: 1\n---\nb: 2\n", &[(1, "---\na: 1\n"), (3, "---\nb: 2\n")]),
            ("a: 1\r\n---\r\n# no\r\n---\r\nb: 2", &[(1, "a: 1\r\n"), (4, "---\r\nb: 2")]),
            ("--- a\n--- {b: 1} # c\n", &[(1, "--- a\n"), (2, "--- {b: 1} # c\n")]),
            ("a: 1\n...\nb: 2\n", &[(1, "a: 1\n"), (3, "b: 2\n")]),
            ("%YAML 1.1\n# c\n---\na: 1\n", &[(1, "%YAML 1.1\n# c\n---\na: 1\n")]),
            ("a: |\n  ---\n ...\nb: ---c\n---d: 1\n", &[(1, "a: |\n  ---\n ...\nb: ---c\n---d: 1\n")]),
            ("\u{feff}a: 1\n", &[(1, "a: 1\n")]),
            ("---\nnull\n", &[(1, "---\nnull\n")]),
        ] {
            assert_eq!(found(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_broken_document_does_not_hide_the_others_and_says_its_line() {
        let text = "---\na: 1\n---\na: [\n---\n# c\na: x\n---\na: 3\n";
        let results: Vec<_> =
            documents(text).map(|document| document.parse::<std::collections::BTreeMap<String, u8>>()).collect();
        let lines: Vec<_> = results.iter().map(|result| result.as_ref().err().map(|error| error.line)).collect();
        assert_eq!(lines, [None, Some(Some(4)), Some(Some(7)), None]);
        assert_eq!(results[3].as_ref().unwrap()["a"], 3);
        assert!(!results[2].as_ref().unwrap_err().message.contains("line"));
    }

    #[test]
    fn json_is_read_as_json() {
        let document = documents("{\n\t\"a\": \"\\ud83d\\ude42\"}\n").next().unwrap();
        assert_eq!(document.parse::<std::collections::BTreeMap<String, String>>().unwrap()["a"], "🙂");
    }

    #[test]
    fn in_place_positions_are_those_of_the_stream() {
        let documents: Vec<_> = documents("a: 1\n---\nb: [\n").collect();
        assert_eq!(documents[0].in_place(), "a: 1\n");
        assert_eq!(documents[1].in_place(), "\n---\nb: [\n");
    }

    proptest! {
        /// Where the YAML parser reads a stream as a whole, it finds the same documents.
        #[test]
        fn the_parser_cuts_at_the_same_places(
            lines in proptest::collection::vec("---( #c| \\{x: 1\\}| t)?|\\.\\.\\.|#c|a: 1|b: [\"'|]?|  ---|  - 2|", 0..8)
        ) {
            let text = lines.join("\n");
            let whole: Result<Vec<serde_yaml::Value>, _> =
                serde_yaml::Deserializer::from_str(&text).map(serde::Deserialize::deserialize).collect();
            if let Ok(whole) = whole {
                let cut: Vec<serde_yaml::Value> =
                    documents(&text).map(|document| document.parse().unwrap()).filter(|value: &serde_yaml::Value| !value.is_null()).collect();
                let whole: Vec<_> = whole.into_iter().filter(|value| !value.is_null()).collect();
                prop_assert_eq!(cut, whole);
            }
        }
    }
}
