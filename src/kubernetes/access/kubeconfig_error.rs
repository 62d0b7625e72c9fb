//! What is wrong with a kubeconfig, in words that an operator can act on and that give nothing of its values away.

use crate::http_client::{BaseUrlError, ProxyUrlError};
use crate::yaml::YamlError;
use std::fmt;

/// Longest kubeconfig that is read; those with many clusters and inline certificates have some hundred KiB.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// A kubeconfig that cannot be used: file, key, problem. No value of the file is in it but names of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeconfigError {
    /// The file.
    pub file: String,
    /// The key, such as `users[2] "admin": client-key-data`; empty where it is about the whole file.
    pub key: String,
    /// What is wrong.
    pub problem: KubeconfigProblem,
}

/// What is wrong with a kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeconfigProblem {
    /// It cannot be read.
    Unreadable {
        /// The system's words.
        cause: String,
    },
    /// It has more than 4 MiB.
    TooLong,
    /// It is no YAML, or a value is of another kind than its key wants. The values are not shown.
    Syntax {
        /// Line, from 1, where it can be told.
        line: Option<usize>,
        /// What was expected, where it can be told.
        expected: Option<String>,
    },
    /// No `current-context`, and no other is asked for.
    NoCurrentContext,
    /// An entry that is referred to is not there, or not complete.
    Missing {
        /// What is there instead.
        there: Vec<String>,
    },
    /// Two entries of the same name.
    Duplicate,
    /// A key that has to be there is not, or empty.
    Required,
    /// The server's URL is none.
    Url(BaseUrlError),
    /// The proxy's URL is none, or of an unsupported kind.
    Proxy(ProxyUrlError),
    /// Not base64.
    Base64,
    /// Two keys that exclude each other.
    Conflict {
        /// The other key, and why.
        with: &'static str,
    },
    /// Only one key of a pair.
    Alone {
        /// The other.
        without: &'static str,
    },
    /// Something that is not supported, and what to do instead.
    Unsupported {
        /// What to do.
        advice: String,
    },
    /// A value that cannot be sent in an HTTP header.
    NotAHeader,
}

impl fmt::Display for KubeconfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        match &self.problem {
            KubeconfigProblem::Unreadable { cause } => write!(f, "{cause}; is the path right, and may we read it?"),
            KubeconfigProblem::TooLong => write!(f, "longer than {MAX_BYTES} bytes; is it a kubeconfig?"),
            KubeconfigProblem::Syntax { line, expected } => {
                match line {
                    Some(line) => write!(f, "line {line}: ")?,
                    None => f.write_str("somewhere in it: ")?,
                }
                match expected {
                    Some(expected) => write!(f, "expected {expected}"),
                    None => f.write_str("not the YAML of a kubeconfig (what is there is not shown: it may be secret)"),
                }
            }
            KubeconfigProblem::NoCurrentContext => {
                f.write_str("not set; set it to the name of a context (kubectl config use-context NAME)")
            }
            KubeconfigProblem::Missing { there } if there.is_empty() => {
                f.write_str("there is no such entry, and no other")
            }
            KubeconfigProblem::Missing { there } => write!(f, "there is no such entry; there are {}", there.join(", ")),
            KubeconfigProblem::Duplicate => f.write_str("there are two entries of this name; remove one"),
            KubeconfigProblem::Required => f.write_str("not set, but needed"),
            KubeconfigProblem::Url(error) => error.fmt(f),
            KubeconfigProblem::Proxy(error) => error.fmt(f),
            KubeconfigProblem::Base64 => f.write_str("not base64; is the value cut off, or pasted with line breaks?"),
            KubeconfigProblem::Conflict { with } => write!(f, "excludes {with}; remove one of them"),
            KubeconfigProblem::Alone { without } => write!(f, "set without {without}; both are needed"),
            KubeconfigProblem::Unsupported { advice } => write!(f, "not supported; {advice}"),
            KubeconfigProblem::NotAHeader => {
                f.write_str("holds characters that cannot be sent in an HTTP header; only printable ASCII can")
            }
        }
    }
}

impl std::error::Error for KubeconfigError {}

/// The keys of a kubeconfig that are read.
const KEYS: [&str; 39] = [
    "apiVersion",
    "args",
    "as",
    "as-groups",
    "as-uid",
    "as-user-extra",
    "auth-provider",
    "certificate-authority",
    "certificate-authority-data",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "cluster",
    "clusters",
    "command",
    "context",
    "contexts",
    "current-context",
    "disable-compression",
    "env",
    "exec",
    "extension",
    "extensions",
    "insecure-skip-tls-verify",
    "installHint",
    "interactiveMode",
    "name",
    "password",
    "provideClusterInfo",
    "proxy-url",
    "server",
    "tls-server-name",
    "token",
    "tokenFile",
    "user",
    "username",
    "users",
    "value",
];

/// The key and the expectation out of the YAML crate's message, which has the form `a.b[0].c: invalid type: string "SECRET",
/// expected a map at line 1 column 2`. Of what stands between, nothing is kept.
pub(super) fn without_values(error: &YamlError) -> (String, Option<String>) {
    const EXPECTATIONS: [(&str, &str); 9] = [
        ("expected a string", "a text (put numbers, dates, true and false into quotes)"),
        ("expected a boolean", "true or false"),
        ("expected a sequence", "a list"),
        ("expected a map", "keys and values"),
        ("expected struct", "keys and values"),
        ("missing field `name`", "a name"),
        ("missing field `value`", "a value"),
        ("duplicate field", "each key only once"),
        ("more than one document", "one document, not several"),
    ];
    let message = error.message.as_str();
    let path = message.split_once(": ").map_or("", |(path, _)| path);
    // The path is made of the file's own keys; a value that slipped into the place of a key is not shown.
    let mut key = String::new();
    for part in path.split('.') {
        let (name, index) = part.find('[').map_or((part, ""), |at| part.split_at(at));
        let is_index = |c: char| c.is_ascii_digit() || c == '[' || c == ']';
        if !KEYS.contains(&name) || !index.chars().all(is_index) {
            break;
        }
        if !key.is_empty() {
            key.push('.');
        }
        key.push_str(part);
    }
    // The expectation comes last: what a value says of itself stands before it.
    let tail = message.rfind(", expected ").map_or(message, |at| message.get(at..).unwrap_or_default());
    let expected =
        EXPECTATIONS.iter().find(|(words, _)| tail.contains(words)).map(|(_, expected)| (*expected).to_owned());
    (key, expected)
}
