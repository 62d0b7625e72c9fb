//! From a file to a checked configuration.

use super::file;
use super::reader::Fault;
use super::{Config, ConfigError, ConfigProblem, Expected, KeyFile, Lookup, disclosure, expand};
use crate::yaml::{self, Node};
use std::fs::File;
use std::io::{self, Read};

/// Where the configuration is if nobody says otherwise.
pub const DEFAULT_PATH: &str = "/config/config.yaml";

/// A larger file is no configuration.
pub const MAX_BYTES: usize = 1024 * 1024;

/// A configuration and where it came from.
#[derive(Debug, PartialEq)]
pub struct Loaded {
    /// The checked configuration.
    pub config: Config,
    /// The file, `~` and variables expanded.
    pub path: String,
    /// `false`: there is no file at the default place, and the defaults hold.
    pub from_file: bool,
}

/// A file as it was read, not looked into.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ConfigFile {
    /// `~` and variables expanded.
    path: String,
    /// `None`: there is no file at the default place.
    bytes: Option<Vec<u8>>,
}

/// Reads and checks the file that `-config` names, or the one at [`DEFAULT_PATH`], which may be missing.
///
/// # Errors
/// The first mistake.
pub fn load(named: Option<&str>, lookup: Lookup<'_>) -> Result<Loaded, ConfigError> {
    ConfigFile::read(named, lookup)?.check(lookup)
}

impl ConfigFile {
    /// Reads the file that `-config` names, or the one at [`DEFAULT_PATH`], which may be missing.
    ///
    /// # Errors
    /// That it cannot be read, or is too large.
    pub fn read(named: Option<&str>, lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let fail = |file: &str, problem| ConfigError { file: file.to_owned(), at: None, problem };
        let path = match named {
            Some(text) => expand(text, lookup).map_err(|error| fail(text, ConfigProblem::Path(error)))?,
            None => DEFAULT_PATH.to_owned(),
        };
        match read(&path) {
            Ok(bytes) if bytes.len() > MAX_BYTES => Err(fail(&path, ConfigProblem::TooLarge)),
            Ok(bytes) => Ok(Self { path, bytes: Some(bytes) }),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Self { path, bytes: None }),
            Err(error) => Err(fail(&path, ConfigProblem::Unreadable(error))),
        }
    }

    /// Checks what was read.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(self, lookup: Lookup<'_>) -> Result<Loaded, ConfigError> {
        let Self { path, bytes } = self;
        let Some(bytes) = bytes else { return Ok(Loaded { config: Config::default(), path, from_file: false }) };
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = bytes
                    .get(..error.valid_up_to())
                    .and_then(|good| std::str::from_utf8(good).ok())
                    .unwrap_or_default();
                return Err(ConfigError { file: path, at: Some(end_of(good)), problem: ConfigProblem::NotUtf8 });
            }
        };
        parse_with(text, &path, lookup, &disclosure::read_key).map(|config| Loaded { config, path, from_file: true })
    }
}

/// One byte more than [`MAX_BYTES`] at most, so that a device or a pipe cannot fill the memory: `-config <(…)` and
/// `-config /dev/stdin` are as good as a file.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Line and column behind the last character.
fn end_of(text: &str) -> (usize, usize) {
    let last = text.rsplit('\n').next().unwrap_or_default();
    (text.matches('\n').count() + 1, last.chars().count() + 1)
}

/// Checks the text of a configuration; `file` names it in errors, `lookup` is the environment. No file is opened: a text that
/// names a `hash_key_file` is refused.
///
/// # Errors
/// The first mistake: first those of the YAML, then unknown and repeated keys, then values.
pub fn parse(text: &str, file: &str, lookup: Lookup<'_>) -> Result<Config, ConfigError> {
    parse_with(text, file, lookup, &|_| Err(Expected::new("no key file here")))
}

fn parse_with(text: &str, file: &str, lookup: Lookup<'_>, key_file: KeyFile<'_>) -> Result<Config, ConfigError> {
    let fail = |at, problem| ConfigError { file: file.to_owned(), at, problem };
    let mut documents = yaml::documents(text);
    let Some(document) = documents.next() else {
        return Ok(Config::default());
    };
    if let Some(second) = documents.next() {
        return Err(fail(Some((second.line, 1)), ConfigProblem::SecondDocument));
    }
    let text = document.in_place();
    let node = Node::parse(&text).map_err(|error| {
        let error = error.without_position();
        fail(error.line.zip(error.column), ConfigProblem::Syntax(error.message))
    })?;
    file::read(&node, lookup, key_file).map_err(|Fault { steps, problem }| fail(yaml::locate(&text, &steps), problem))
}
