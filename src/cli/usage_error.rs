//! Why a command line is refused.

use super::command::{Command, commands_with};
use std::fmt;

/// Why the arguments cannot be understood, in the words of Go's `flag` package where it has some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// An argument that is no UTF-8 text, from 1.
    NotUtf8 {
        /// Its position.
        position: usize,
    },
    /// `-`, `---x` or `-=x`.
    BadSyntax(String),
    /// A flag that nothing knows.
    Unknown(String),
    /// A flag at the end that wants a value.
    NeedsArgument(&'static str),
    /// A value that its flag does not take.
    InvalidValue {
        /// Without its dash.
        flag: &'static str,
        /// The value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// An argument that is no flag, where there is none to be.
    Unexpected(String),
    /// A flag of another command.
    OtherCommand {
        /// Without its dash.
        flag: &'static str,
        /// What was to be done.
        command: Command,
    },
    /// `explain` has to be told one Secret.
    NeedsSecret,
    /// `renew` without `-dry-run`.
    NeedsDryRun,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Go's %q: the quotes and whatever could steer a terminal are escaped.
        match self {
            Self::NotUtf8 { position } => write!(f, "argument {position} is not UTF-8 text"),
            Self::BadSyntax(argument) => write!(f, "bad flag syntax: {}", argument.escape_debug()),
            Self::Unknown(name) => write!(f, "flag provided but not defined: -{}", name.escape_debug()),
            Self::NeedsArgument(flag) => write!(f, "flag needs an argument: -{flag}"),
            Self::InvalidValue { flag, value, expected } => {
                write!(f, "invalid value {value:?} for flag -{flag}: expected {expected}")
            }
            Self::Unexpected(argument) => write!(f, "unexpected argument {argument:?}"),
            Self::OtherCommand { flag, command: Command::Run } => {
                write!(f, "flag -{flag} belongs to a command: {}", commands_with(flag).join(", "))
            }
            Self::OtherCommand { flag, command } => write!(f, "flag -{flag} does not belong to {}", command.name()),
            Self::NeedsDryRun => {
                f.write_str("only the running exporter renews; `renew -dry-run` shows what it would do")
            }
            Self::NeedsSecret => f.write_str(
                "explain needs the namespace and name of one Secret, NAMESPACE/NAME, or the path of one file: /PATH, ./PATH",
            ),
        }
    }
}

impl std::error::Error for UsageError {}
