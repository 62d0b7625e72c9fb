//! The command line, in the syntax of Go's `flag` package, because that is what the reference understands.
//!
//! One dash or two, `-flag value` or `-flag=value`, switches also as `-flag=false`, the last one wins, `--` ends the flags.
//! pico-args knows neither the single dash nor the last one, so the arguments are put in its form first.

use crate::log::LevelFilter;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// What the process was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// `-help`, `-h`: usage on standard output.
    Help,
    /// `-version`.
    Version,
    /// `-check-config`: say what the configuration would do.
    CheckConfig(Flags),
    /// `renew -dry-run`: say what the renewals would do now.
    RenewDryRun(Flags),
    /// Run the exporter.
    Run(Flags),
}

/// What holds for every way of running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    /// `-config`, not yet expanded; `None`: the default place.
    pub config: Option<String>,
    /// `-level`.
    pub level: LevelFilter,
}

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
    /// An argument that is no flag.
    Unexpected(String),
    /// `renew` without `-dry-run`, or the other way round.
    DryRunAlone,
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
            Self::DryRunAlone => {
                f.write_str("renew and -dry-run go together: only the running exporter renews, `renew -dry-run` shows what it would do")
            }
            Self::Unexpected(argument) => write!(f, "unexpected argument {argument:?}: there are flags only"),
        }
    }
}

impl std::error::Error for UsageError {}

/// What `-help` prints, and every usage error after its reason.
pub const USAGE: &str = "\
Usage: jwt-exporter [flags]
       jwt-exporter renew -dry-run [flags]    what the renewals would do now; asks nobody, writes nothing

Tells Prometheus when the JSON Web Tokens in Kubernetes Secrets and manifests expire.

Flags (one dash or two, \"-flag value\" or \"-flag=value\", the last one wins):
  -config PATH      configuration file; ~ and $VAR are expanded (default /config/config.yaml)
  -level LEVEL      log level: trace, debug, info, warn, error or off (default info)
  -check-config     check the configuration, say what it would do, and exit with 0 or 2
  -version          print version and commit, and exit
  -help, -h         print this, and exit
";

/// What `-level` takes.
const LEVELS: &str = "trace, debug, info, warn, error or off";

/// Flags with a value.
const VALUES: [&str; 2] = ["config", "level"];

/// Flags that are there or not.
const SWITCHES: [&str; 5] = ["check-config", "dry-run", "version", "help", "h"];

/// Reads the arguments, the program's own name not among them. They are read in their order: a `-help` before a mistake
/// is answered, after it the mistake is.
///
/// # Errors
/// The first thing that is not understood.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let mut arguments = arguments.into_iter().peekable();
    let renew = arguments.next_if(|first| first == "renew").is_some();
    let last = last_of_each(arguments)?;
    if last.contains_key("help") {
        return Ok(Invocation::Help);
    }
    let mut arguments = pico_args::Arguments::from_vec(in_long_form(&last));
    // Nothing is left to go wrong here; should it, the flag is refused and not passed over.
    let refused = |flag: &'static str, expected: &'static str| {
        let value = last.get(flag).cloned().unwrap_or_default();
        move |_: pico_args::Error| UsageError::InvalidValue { flag, value, expected }
    };
    let config: Option<String> = arguments.opt_value_from_str("--config").map_err(refused("config", "a path"))?;
    let level: Option<LevelFilter> =
        arguments.opt_value_from_fn("--level", |text| level(text).ok_or(LEVELS)).map_err(refused("level", LEVELS))?;
    let version = arguments.contains("--version");
    let check_config = arguments.contains("--check-config");
    let dry_run = arguments.contains("--dry-run");
    if let Some(left) = arguments.finish().into_iter().next() {
        return Err(UsageError::Unexpected(left.to_string_lossy().into_owned()));
    }
    let flags = Flags { config, level: level.unwrap_or(LevelFilter::Info) };
    if renew != dry_run {
        return Err(UsageError::DryRunAlone);
    }
    Ok(match (version, check_config) {
        (true, _) => Invocation::Version,
        (false, true) => Invocation::CheckConfig(flags),
        (false, false) if dry_run => Invocation::RenewDryRun(flags),
        (false, false) => Invocation::Run(flags),
    })
}

/// Each flag with the last of its values, checked. A switch that is on has an empty value, one that is off is not there.
/// Ends at the first `-help`.
fn last_of_each(arguments: impl IntoIterator<Item = OsString>) -> Result<BTreeMap<&'static str, String>, UsageError> {
    let mut last = BTreeMap::new();
    let mut arguments = arguments
        .into_iter()
        .enumerate()
        .map(|(index, argument)| argument.into_string().map_err(|_| UsageError::NotUtf8 { position: index + 1 }));
    while let Some(argument) = arguments.next().transpose()? {
        if argument == "--" {
            return match arguments.next().transpose()? {
                Some(argument) => Err(UsageError::Unexpected(argument)),
                None => Ok(last),
            };
        }
        let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).filter(|_| argument != "-")
        else {
            return Err(UsageError::Unexpected(argument));
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
            last.insert(flag, value);
        } else if let Some(flag) = SWITCHES.into_iter().find(|known| *known == name) {
            let on = value.map_or(Some(true), boolean);
            match on {
                Some(true) if matches!(flag, "help" | "h") => return Ok(BTreeMap::from([("help", String::new())])),
                Some(true) => last.insert(flag, String::new()),
                Some(false) => last.remove(flag),
                None => {
                    let value = value.unwrap_or_default().to_owned();
                    return Err(UsageError::InvalidValue { flag, value, expected: "true or false" });
                }
            };
        } else {
            return Err(UsageError::Unknown(name.to_owned()));
        }
    }
    Ok(last)
}

fn check(flag: &'static str, value: &str) -> Result<(), UsageError> {
    let (good, expected) = match flag {
        "level" => (level(value).is_some(), LEVELS),
        _ => (!value.is_empty(), "a path"),
    };
    if good { Ok(()) } else { Err(UsageError::InvalidValue { flag, value: value.to_owned(), expected }) }
}

/// The flags as pico-args wants them: two dashes, each once, the value apart (after `=` it would lose its quotes). The
/// path comes first: it is the one value that can look like a flag, and is taken away with its flag before others are
/// searched.
fn in_long_form(last: &BTreeMap<&'static str, String>) -> Vec<OsString> {
    let values =
        VALUES.iter().filter_map(|flag| last.get(flag).map(|value| [format!("--{flag}"), value.clone()])).flatten();
    let switches = SWITCHES.iter().filter(|flag| last.contains_key(*flag)).map(|flag| format!("--{flag}"));
    values.chain(switches).map(OsString::from).collect()
}

/// As Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(arguments: &[&str]) -> Result<Invocation, UsageError> {
        parse(arguments.iter().map(OsString::from))
    }

    fn run(config: Option<&str>, level: LevelFilter) -> Result<Invocation, UsageError> {
        Ok(Invocation::Run(Flags { config: config.map(str::to_owned), level }))
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
    fn help_is_answered_where_it_stands() {
        for arguments in [&["-h"][..], &["--help"], &["-help=true", "-nonsense"], &["-version", "-h"]] {
            assert_eq!(read(arguments), Ok(Invocation::Help), "{arguments:?}");
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

    #[cfg(unix)]
    #[test]
    fn an_argument_that_is_no_text_is_named_by_its_place() {
        let bytes: OsString = std::os::unix::ffi::OsStringExt::from_vec(vec![b'-', 0xff]);
        assert_eq!(parse(["-config".into(), bytes]), Err(UsageError::NotUtf8 { position: 2 }));
    }

    proptest! {
        #[test]
        fn no_arguments_panic(arguments in proptest::collection::vec("-{0,3}(config|level|version|h|check-config|\\PC{0,5})(=\\PC{0,5})?", 0..6)) {
            if let Err(error) = parse(arguments.into_iter().map(OsString::from)) {
                let shown = error.to_string();
                prop_assert_eq!(crate::log::escape(&shown), shown.as_str(), "a usage error can steer a terminal");
            }
        }

        #[test]
        fn a_path_arrives_as_it_is(path in "\\PC{1,12}", joined in any::<bool>()) {
            let arguments = if joined { vec![format!("-config={path}")] } else { vec!["-config".to_owned(), path.clone()] };
            let flags = Flags { config: Some(path), level: LevelFilter::Info };
            prop_assert_eq!(parse(arguments.into_iter().map(OsString::from)), Ok(Invocation::Run(flags)));
        }
    }
}
