//! The command line, in the syntax of Go's `flag` package, because that is what the reference understands.
//!
//! One dash or two, `-flag value` or `-flag=value`, switches also as `-flag=false`, the last one wins, `--` ends the flags.
//! pico-args knows neither the single dash nor the last one, so the arguments are put in its form first.
//!
//! | file | subject |
//! | --- | --- |
//! | `command` | the commands, their flags and their usage |
//! | `sorted` | the arguments by the rules of Go's `flag` package |
//! | `usage_error` | why a command line is refused |

mod command;
mod sorted;
mod usage_error;

pub use command::Command;
pub use usage_error::UsageError;

use crate::config::parse_duration;
use crate::log::{self, LevelFilter};
use crate::observation::LoginName;
use sorted::Sorted;
use std::ffi::OsString;
use std::time::Duration;

/// What the process was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// `-help`, `-h`: usage on standard output.
    Help(Command),
    /// `-version`.
    Version,
    /// `-check-config`: say what the configuration would do.
    CheckConfig(Flags),
    /// Run the exporter.
    Run(Flags),
    /// `-once PATH`: one poll, the exposition into a file; `-` is standard output.
    Once(Flags, String),
    /// `check`: one look at every source, as a table.
    Check(Flags, CheckFlags),
    /// `inspect`: decode what these files hold; `-` is standard input.
    Inspect(Format, Vec<String>),
    /// `inspect -login NAME/ROLE`: explain what would become of a login with the token in a file.
    InspectLogin {
        /// As for the exporter.
        flags: Flags,
        /// Login and role.
        login: LoginName,
        /// `-` or `None` is standard input.
        file: Option<String>,
    },
    /// `renew -dry-run`: what the renewals would do now.
    RenewDryRun(Flags),
    /// `explain NAMESPACE/NAME`, or `explain PATH`.
    Explain {
        /// As for the exporter.
        flags: Flags,
        /// Of the Secret; empty for a file.
        namespace: String,
        /// Of the Secret; of a file the path.
        name: String,
    },
}

/// What holds for every way of running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    /// `-config`, not yet expanded; `None`: the default place.
    pub config: Option<String>,
    /// `-level`.
    pub level: LevelFilter,
    /// `-log-format`.
    pub log_format: log::Format,
}

/// What holds for `check` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckFlags {
    /// `-expiring-within`: what expires within it is not well.
    pub expiring_within: Duration,
    /// `-output`.
    pub format: Format,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One object.
    Json,
    /// RFC 4180.
    Csv,
}

/// `-expiring-within` unless said.
const A_WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Reads the arguments, the program's own name not among them. They are read in their order: a `-help` before a mistake
/// is answered, after it the mistake is. Flags may stand before and behind what is none.
///
/// # Errors
/// The first thing that is not understood, and the command that it was said to.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, (UsageError, Command)> {
    let mut sorted = Sorted::new();
    let result = sorted.sort(arguments).and_then(|()| sorted.invocation());
    result.map_err(|error| (error, sorted.command))
}

impl Sorted {
    fn invocation(&self) -> Result<Invocation, UsageError> {
        let Self { command, last, .. } = self;
        if self.help {
            return Ok(Invocation::Help(*command));
        }
        let mut arguments = pico_args::Arguments::from_vec(self.in_long_form());
        // Nothing is left to go wrong here; should it, the flag is refused and not passed over.
        let refused = |flag: &'static str, expected: &'static str| {
            let value = last.get(flag).cloned().unwrap_or_default();
            move |_: pico_args::Error| UsageError::InvalidValue { flag, value, expected }
        };
        let mut text = |flag: &'static str, long: &'static str| -> Result<Option<String>, UsageError> {
            arguments.opt_value_from_str(long).map_err(refused(flag, "a text"))
        };
        let (config, once) = (text("config", "--config")?, text("once", "--once")?);
        let (level_given, log_given) = (text("level", "--level")?, text("log-format", "--log-format")?);
        let (within, output) = (text("expiring-within", "--expiring-within")?, text("output", "--output")?);
        let login = text("login", "--login")?.and_then(|login| LoginName::parse(&login));
        let (version, check_config) = (arguments.contains("--version"), arguments.contains("--check-config"));
        let dry_run = arguments.contains("--dry-run");
        if let Some(left) = arguments.finish().into_iter().next() {
            return Err(UsageError::Unexpected(left.to_string_lossy().into_owned()));
        }
        if version {
            return Ok(Invocation::Version);
        }
        // Without a login, `inspect` has nothing to do with a configuration.
        let of_login = |flag: &str| login.is_some() && matches!(flag, "config" | "level" | "log-format");
        let takes = |flag: &str| command.takes(flag) || *command == Command::Inspect && of_login(flag);
        if let Some(flag) = last.keys().find(|flag| !takes(flag)) {
            return Err(UsageError::OtherCommand { flag, command: *command });
        }
        // In a terminal the answer itself says what is wrong.
        let usual = if *command == Command::Run { LevelFilter::Info } else { LevelFilter::Error };
        let level = level_given.as_deref().and_then(level).unwrap_or(usual);
        let log_format = log_given.as_deref().and_then(log_format).unwrap_or_default();
        let flags = Flags { config, level, log_format };
        let format = output.as_deref().and_then(format).unwrap_or(Format::Text);
        match (command, self.operands.as_slice()) {
            (Command::Inspect, _) if format == Format::Csv => {
                Err(UsageError::InvalidValue { flag: "output", value: "csv".to_owned(), expected: "text or json" })
            }
            (Command::Inspect, files) if login.is_some() => match (login, files) {
                (Some(login), []) => Ok(Invocation::InspectLogin { flags, login, file: None }),
                (Some(login), [file]) => Ok(Invocation::InspectLogin { flags, login, file: Some(file.clone()) }),
                (_, [_, other, ..]) => Err(UsageError::Unexpected(other.clone())),
                (None, _) => Err(UsageError::NeedsArgument("login")),
            },
            (Command::Inspect, files) => Ok(Invocation::Inspect(format, files.to_vec())),
            (Command::Explain, [place]) => {
                // No name of Kubernetes holds a slash.
                let (namespace, name) = match place.split_once('/') {
                    Some((namespace, name)) if name.is_empty() || name.contains('/') || is_folder(namespace) => {
                        ("", &**place)
                    }
                    Some((namespace, name)) => (namespace, name),
                    None => return Err(UsageError::NeedsSecret),
                };
                if place.ends_with('/') {
                    return Err(UsageError::NeedsSecret);
                }
                Ok(Invocation::Explain { flags, namespace: namespace.to_owned(), name: name.to_owned() })
            }
            (Command::Explain, []) => Err(UsageError::NeedsSecret),
            (Command::Renew, []) if dry_run => Ok(Invocation::RenewDryRun(flags)),
            (Command::Renew, []) => Err(UsageError::NeedsDryRun),
            (Command::Explain, [_, other, ..]) | (Command::Run | Command::Check | Command::Renew, [other, ..]) => {
                Err(UsageError::Unexpected(other.clone()))
            }
            (Command::Check, []) => {
                let expiring_within = within.and_then(|text| parse_duration(&text).ok()).unwrap_or(A_WEEK);
                Ok(Invocation::Check(flags, CheckFlags { expiring_within, format }))
            }
            (Command::Run, []) => Ok(match (check_config, once) {
                (true, _) => Invocation::CheckConfig(flags),
                (false, Some(path)) => Invocation::Once(flags, path),
                (false, None) => Invocation::Run(flags),
            }),
        }
    }
}

fn format(text: &str) -> Option<Format> {
    match text {
        "table" | "text" => Some(Format::Text),
        "json" => Some(Format::Json),
        "csv" => Some(Format::Csv),
        _ => None,
    }
}

fn log_format(text: &str) -> Option<log::Format> {
    match text {
        "text" => Some(log::Format::Text),
        "json" => Some(log::Format::Json),
        _ => None,
    }
}

/// As the reference's logger reads levels, case aside; the empty one is `info` there.
fn level(text: &str) -> Option<LevelFilter> {
    Some(match text.to_ascii_lowercase().as_str() {
        "trace" => LevelFilter::Trace,
        "debug" => LevelFilter::Debug,
        "" | "info" => LevelFilter::Info,
        "warn" => LevelFilter::Warn,
        "error" | "dpanic" | "panic" | "fatal" => LevelFilter::Error,
        "off" => LevelFilter::Off,
        _ => return None,
    })
}

/// What stands before the first slash of a path, and is no namespace.
fn is_folder(before: &str) -> bool {
    matches!(before, "" | "." | ".." | "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(arguments: &[&str]) -> Result<Invocation, UsageError> {
        parse(arguments.iter().map(OsString::from)).map_err(|(error, _)| error)
    }

    fn run(config: Option<&str>, level: LevelFilter) -> Result<Invocation, UsageError> {
        Ok(Invocation::Run(Flags { config: config.map(str::to_owned), level, log_format: log::Format::Text }))
    }

    #[test]
    fn one_dash_or_two_a_space_or_an_equals_sign() {
        for arguments in
            [&["-config", "a"][..], &["--config", "a"], &["-config=a"], &["--config=a"], &["-config", "a", "--"]]
        {
            assert_eq!(read(arguments), run(Some("a"), LevelFilter::Info), "{arguments:?}");
        }
        assert_eq!(read(&[]), run(None, LevelFilter::Info));
    }

    #[test]
    fn the_last_one_wins() {
        assert_eq!(
            read(&["-config", "a", "-level=debug", "--config=b", "-level", "off"]),
            run(Some("b"), LevelFilter::Off)
        );
        assert_eq!(read(&["-version", "-version=false"]), run(None, LevelFilter::Info));
        assert_eq!(read(&["-version=0", "-version=T"]), Ok(Invocation::Version));
    }

    #[test]
    fn a_value_may_look_like_anything() {
        for value in ["-version", "--level", "--config", "--", "a=b", "'quoted'", "\"x\"", " "] {
            assert_eq!(read(&["-config", value]), run(Some(value), LevelFilter::Info), "{value}");
            assert_eq!(read(&[&format!("-config={value}")]), run(Some(value), LevelFilter::Info), "{value}");
        }
    }

    #[test]
    fn levels_in_any_case() {
        for (text, level) in [
            ("trace", LevelFilter::Trace),
            ("DEBUG", LevelFilter::Debug),
            ("Info", LevelFilter::Info),
            ("", LevelFilter::Info),
            ("warn", LevelFilter::Warn),
            ("error", LevelFilter::Error),
            ("dpanic", LevelFilter::Error),
            ("PANIC", LevelFilter::Error),
            ("fatal", LevelFilter::Error),
            ("off", LevelFilter::Off),
        ] {
            assert_eq!(read(&["-level", text]), run(None, level), "{text}");
        }
    }

    #[test]
    fn the_log_has_two_formats() {
        for (text, log_format) in [("text", log::Format::Text), ("json", log::Format::Json)] {
            let flags = Flags { config: None, level: LevelFilter::Info, log_format };
            assert_eq!(read(&["-log-format", text]), Ok(Invocation::Run(flags)), "{text}");
        }
        let refused = read(&["--log-format=JSON"]).unwrap_err().to_string();
        assert_eq!(refused, "invalid value \"JSON\" for flag -log-format: expected text or json");
    }

    #[test]
    fn help_is_answered_where_it_stands() {
        for arguments in [&["-h"][..], &["--help"], &["-help=true", "-nonsense"], &["-version", "-h"]] {
            assert_eq!(read(arguments), Ok(Invocation::Help(Command::Run)), "{arguments:?}");
        }
        assert_eq!(read(&["-nonsense", "-h"]), Err(UsageError::Unknown("nonsense".to_owned())));
        assert_eq!(read(&["-help=false"]), run(None, LevelFilter::Info));
    }

    #[test]
    fn version_goes_before_check_config() {
        assert_eq!(read(&["-check-config", "-version"]), Ok(Invocation::Version));
        assert!(matches!(read(&["-check-config"]), Ok(Invocation::CheckConfig(_))));
    }

    #[test]
    fn a_usage_error_cannot_steer_a_terminal() {
        let harmful = "\u{202e}\u{2028}\u{9b}\x1b\n\u{200f}";
        for argument in [format!("-{harmful}"), format!("-={harmful}"), format!("-level={harmful}"), harmful.to_owned()]
        {
            let shown = read(&[&argument]).unwrap_err().to_string();
            assert_eq!(crate::log::escape(&shown), shown.as_str());
        }
    }

    #[test]
    fn flags_may_stand_on_either_side_of_the_command() {
        let flags = Flags { config: Some("a".into()), level: LevelFilter::Error, log_format: log::Format::Text };
        let expected = CheckFlags { expiring_within: Duration::from_secs(3600), format: Format::Json };
        let check = Ok(Invocation::Check(flags.clone(), expected));
        for arguments in [
            &["check", "-config=a", "-expiring-within", "1h", "-output", "json"][..],
            &["-config", "a", "--output=json", "check", "--expiring-within=1h"],
            &["-config", "a", "-output=json", "-expiring-within", "1h", "--", "check"],
        ] {
            assert_eq!(read(arguments), check, "{arguments:?}");
        }
        let explain = Ok(Invocation::Explain { flags, namespace: "n".into(), name: "s".into() });
        assert_eq!(read(&["explain", "n/s", "-config", "a"]), explain);
        assert_eq!(read(&["explain", "-config", "a", "n/s"]), explain);
        let inspect = |files: &[&str]| {
            Ok(Invocation::Inspect(Format::Text, files.iter().map(|file| (*file).to_owned()).collect()))
        };
        assert_eq!(read(&["inspect"]), inspect(&[]));
        let login = LoginName::parse("l/r").unwrap();
        let flags = Flags { config: None, level: LevelFilter::Error, log_format: log::Format::Text };
        let file = Some("f".to_owned());
        assert_eq!(read(&["inspect", "-login", "l/r", "f"]), Ok(Invocation::InspectLogin { flags, login, file }));
        assert_eq!(read(&["inspect", "-login=l/r", "f", "g"]), Err(UsageError::Unexpected("g".into())));
        assert!(matches!(read(&["inspect", "-login", "/r"]), Err(UsageError::InvalidValue { .. })));
        assert_eq!(read(&["inspect", "-", "b", "--", "-c", "check"]), inspect(&["-", "b", "-c", "check"]));
    }

    #[test]
    fn each_command_has_its_own_flags_and_operands() {
        let other = |flag, command| Err(UsageError::OtherCommand { flag, command });
        assert_eq!(read(&["-output", "json"]), other("output", Command::Run));
        assert_eq!(read(&["check", "-once", "-"]), other("once", Command::Check));
        assert_eq!(read(&["inspect", "-config", "a"]), other("config", Command::Inspect));
        assert_eq!(read(&["check", "x"]), Err(UsageError::Unexpected("x".into())));
        assert_eq!(read(&["explain", "n/s", "x"]), Err(UsageError::Unexpected("x".into())));
        for secret in [&["explain"][..], &["explain", "n"], &["explain", "n/"], &["explain", "/"], &["explain", "./n/"]]
        {
            assert_eq!(read(secret), Err(UsageError::NeedsSecret));
        }
        for path in ["/s", "./s", "../s", "~/s", "a/b/c", "/run/token"] {
            let Ok(Invocation::Explain { namespace, name, .. }) = read(&["explain", path]) else { panic!("{path}") };
            assert_eq!((&*namespace, &*name), ("", path));
        }
        assert!(matches!(read(&["inspect", "-output=csv"]), Err(UsageError::InvalidValue { .. })));
        assert!(matches!(read(&["check", "-expiring-within", "7"]), Err(UsageError::InvalidValue { .. })));
        assert_eq!(read(&["check", "-version"]), Ok(Invocation::Version));
        assert_eq!(read(&["check", "-h"]), Ok(Invocation::Help(Command::Check)));
        let flags = Flags { config: None, level: LevelFilter::Info, log_format: log::Format::Text };
        assert_eq!(read(&["-once", "-"]), Ok(Invocation::Once(flags, "-".into())));
    }

    #[cfg(unix)]
    #[test]
    fn an_argument_that_is_no_text_is_named_by_its_place() {
        let bytes: OsString = std::os::unix::ffi::OsStringExt::from_vec(vec![b'-', 0xff]);
        assert_eq!(parse(["-config".into(), bytes]), Err((UsageError::NotUtf8 { position: 2 }, Command::Run)));
    }

    proptest! {
        #[test]
        fn no_arguments_panic(arguments in proptest::collection::vec("-{0,3}(config|login|level|log-format|version|h|check|inspect|explain|renew|dry-run|output|once|check-config|\\PC{0,5})(=\\PC{0,5})?", 0..6)) {
            if let Err((error, _)) = parse(arguments.into_iter().map(OsString::from)) {
                let shown = error.to_string();
                prop_assert_eq!(crate::log::escape(&shown), shown.as_str(), "a usage error can steer a terminal");
            }
        }

        #[test]
        fn a_path_arrives_as_it_is(path in "\\PC{1,12}", joined in any::<bool>()) {
            let arguments = if joined { vec![format!("-config={path}")] } else { vec!["-config".to_owned(), path.clone()] };
            let flags = Flags { config: Some(path), level: LevelFilter::Info, log_format: log::Format::Text };
            prop_assert_eq!(parse(arguments.into_iter().map(OsString::from)), Ok(Invocation::Run(flags)));
        }
    }
}
