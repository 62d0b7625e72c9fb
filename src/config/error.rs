//! What is wrong with a configuration, in words for the person who wrote it.

use super::ExpansionError;
use crate::log::escape;
use std::fmt;
use std::io;

/// What a value should have been, to stand after "expected".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(String);

impl Expected {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Expected {}

/// One mistake and where it is: `config.yaml:12:3: polling_interval: expected a duration …, found "1 hour"`.
#[derive(Debug)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: String,
    /// Line and column, both from 1, where the mistake has a place.
    pub at: Option<(usize, usize)>,
    /// The mistake.
    pub problem: ConfigProblem,
}

/// The mistakes. Keys are written as a path: `claims.scope[1]`.
#[derive(Debug)]
pub enum ConfigProblem {
    /// The file's own name (`-config`) cannot be expanded.
    Path(ExpansionError),
    /// The file cannot be read.
    Unreadable(io::Error),
    /// The file is longer than [`MAX_BYTES`](super::MAX_BYTES).
    TooLarge,
    /// The file is no UTF-8 text.
    NotUtf8,
    /// The text is not YAML. The parser's words, without their position.
    Syntax(String),
    /// A second document.
    SecondDocument,
    /// A key that nothing knows.
    UnknownKey {
        /// The key, and the keys that lead to it.
        key: String,
        /// What it was perhaps meant to be.
        meant: Option<&'static str>,
    },
    /// The second of two equal keys.
    RepeatedKey {
        /// The key, and the keys that lead to it.
        key: String,
    },
    /// A value that cannot be.
    Value {
        /// The key of the value; empty for the document itself.
        key: String,
        /// To stand after "expected".
        expected: Expected,
        /// To stand after "found".
        found: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.file))?;
        if let Some((line, column)) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            // What has words of our own needs no others.
            ConfigProblem::Unreadable(error) if words_for(error).is_none() => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(error) => write!(f, "expected {error}"),
            Self::Unreadable(error) => f.write_str(words_for(error).unwrap_or("the file cannot be read")),
            Self::TooLarge => write!(f, "the file is larger than {} bytes", super::MAX_BYTES),
            Self::NotUtf8 => f.write_str("the text is not UTF-8 from here on"),
            Self::Syntax(message) => write!(f, "this YAML cannot be read: {}", escape(message)),
            Self::SecondDocument => f.write_str("expected one YAML document, found a second one"),
            Self::UnknownKey { key, meant: None } => write!(f, "{}: there is no such key", escape(key)),
            Self::UnknownKey { key, meant: Some(meant) } => {
                write!(f, "{}: there is no such key; did you mean {meant}?", escape(key))
            }
            Self::RepeatedKey { key } => write!(f, "{}: the key is there twice", escape(key)),
            Self::Value { key, expected, found } if key.is_empty() => write!(f, "expected {expected}, found {found}"),
            Self::Value { key, expected, found } => {
                write!(f, "{}: expected {expected}, found {found}", escape(key))
            }
        }
    }
}

fn words_for(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::NotFound => Some("there is no such file"),
        io::ErrorKind::PermissionDenied => Some("this user may not read the file"),
        io::ErrorKind::IsADirectory => Some("this is a directory; name the file in it"),
        _ => None,
    }
}
