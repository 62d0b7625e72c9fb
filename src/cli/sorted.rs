//! The arguments, sorted by the rules of Go's `flag` package.

use super::{Command, UsageError, format, level, log_format};
use crate::config::parse_duration;
use crate::observation::LoginName;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// What `-level` takes.
const LEVELS: &str = "trace, debug, info, warn, error or off";

/// What `-log-format` takes.
const LOG_FORMATS: &str = "text or json";

/// Flags with a value.
const VALUES: [&str; 7] = ["config", "once", "level", "log-format", "expiring-within", "output", "login"];

/// Flags that are there or not.
const SWITCHES: [&str; 5] = ["check-config", "dry-run", "version", "help", "h"];

/// What `-expiring-within` takes.
const DURATION: &str = "a time such as 12h or 7d";

/// The arguments, sorted.
pub(super) struct Sorted {
    /// What is to be done.
    pub(super) command: Command,
    /// Each flag with the last of its values, checked. A switch that is on has an empty value, one that is off is not there.
    pub(super) last: BTreeMap<&'static str, String>,
    /// What is no flag, but for the command.
    pub(super) operands: Vec<String>,
    /// Usage is asked for.
    pub(super) help: bool,
}

impl Sorted {
    /// Nothing was said yet.
    pub(super) fn new() -> Self {
        Self { command: Command::Run, last: BTreeMap::new(), operands: Vec::new(), help: false }
    }

    fn operand(&mut self, argument: String) -> Result<(), UsageError> {
        if self.command != Command::Run {
            self.operands.push(argument);
            return Ok(());
        }
        self.command = Command::named(&argument).ok_or(UsageError::Unexpected(argument))?;
        Ok(())
    }

    /// Ends at the first `-help`.
    pub(super) fn sort(&mut self, arguments: impl IntoIterator<Item = OsString>) -> Result<(), UsageError> {
        let mut arguments = arguments
            .into_iter()
            .enumerate()
            .map(|(index, argument)| argument.into_string().map_err(|_| UsageError::NotUtf8 { position: index + 1 }));
        while let Some(argument) = arguments.next().transpose()? {
            if argument == "--" {
                return arguments.try_for_each(|argument| self.operand(argument?));
            }
            let Some(flag) =
                argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).filter(|_| argument != "-")
            else {
                self.operand(argument)?;
                continue;
            };
            if flag.is_empty() || flag.starts_with(['-', '=']) {
                return Err(UsageError::BadSyntax(argument));
            }
            let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            if let Some(flag) = VALUES.into_iter().find(|known| *known == name) {
                let value = match value {
                    Some(value) => value.to_owned(),
                    None => arguments.next().transpose()?.ok_or(UsageError::NeedsArgument(flag))?,
                };
                check(flag, &value)?;
                self.last.insert(flag, value);
            } else if let Some(flag) = SWITCHES.into_iter().find(|known| *known == name) {
                let on = value.map_or(Some(true), boolean);
                match on {
                    Some(true) if matches!(flag, "help" | "h") => {
                        self.help = true;
                        return Ok(());
                    }
                    Some(true) => self.last.insert(flag, String::new()),
                    Some(false) => self.last.remove(flag),
                    None => {
                        let value = value.unwrap_or_default().to_owned();
                        return Err(UsageError::InvalidValue { flag, value, expected: "true or false" });
                    }
                };
            } else {
                return Err(UsageError::Unknown(name.to_owned()));
            }
        }
        Ok(())
    }

    /// The flags as pico-args wants them: two dashes, each once, the value apart (after `=` it would lose its quotes). The
    /// path comes first: it is the one value that can look like a flag, and is taken away with its flag before others are
    /// searched.
    pub(super) fn in_long_form(&self) -> Vec<OsString> {
        let values = VALUES
            .iter()
            .filter_map(|flag| self.last.get(flag).map(|value| [format!("--{flag}"), value.clone()]))
            .flatten();
        let switches = SWITCHES.iter().filter(|flag| self.last.contains_key(*flag)).map(|flag| format!("--{flag}"));
        values.chain(switches).map(OsString::from).collect()
    }
}

fn check(flag: &'static str, value: &str) -> Result<(), UsageError> {
    let (good, expected) = match flag {
        "level" => (level(value).is_some(), LEVELS),
        "log-format" => (log_format(value).is_some(), LOG_FORMATS),
        "expiring-within" => (parse_duration(value).is_ok(), DURATION),
        "output" => (format(value).is_some(), "table, json or csv"),
        "login" => (LoginName::parse(value).is_some(), "a login with its role, such as vault-dev/dev-role"),
        _ => (!value.is_empty(), "a path"),
    };
    if good { Ok(()) } else { Err(UsageError::InvalidValue { flag, value: value.to_owned(), expected }) }
}

/// As Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
