//! The same for a file of `files:`.

use super::{Explanation, tell_rows};
use crate::config::Config;
use crate::observation::SecretObservation;
use crate::source::Source as _;
use crate::source::files::FilesSource;
use crate::time::UnixSeconds;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Tells of the file at a path.
pub(super) fn explain(config: &Config, path: &str, now: UnixSeconds, told: &mut Explanation) {
    if config.files.is_empty() {
        told.say("  the configuration reads no files");
        return told.conclude("`files` are empty");
    }
    if !tell(config, path, now, told) {
        match fs::metadata(path) {
            Err(error) => told.say(format!("  it cannot be looked at: {error}")),
            Ok(found) if !found.is_file() => told.say("  it is no regular file"),
            Ok(_) => told.say("  nothing in it looks like a token, or no pattern leads to it"),
        }
        let globs: Vec<&str> = config.files.iter().map(|glob| glob.as_str()).collect();
        told.say(format!("  `files` are: {}", globs.join(", ")));
        told.conclude("none of `files` leads to a token there");
    }
}

/// A Secret and a file in a folder can be written alike.
pub(super) fn explain_namesake(config: &Config, path: &str, now: UnixSeconds, told: &mut Explanation) {
    if !tell(config, path, now, told) {
        told.say(format!("  `files` are read too, and none of them is {path}; another one is explained by its path"));
        told.conclude("no file is named so");
    }
}

/// What is held of the file at a path; whether there is anything.
fn tell(config: &Config, path: &str, now: UnixSeconds, told: &mut Explanation) -> bool {
    let mut source = FilesSource::new(config.files.clone(), config.links, false, config.reading.clone());
    if let Err(error) = source.poll() {
        told.say(format!("  the files cannot be read: {error}"));
        told.unknown = true;
        return false;
    }
    let real = fs::canonicalize(path).ok();
    let is_it = |secret: &&Arc<SecretObservation>| {
        *secret.name == *path || real.is_some() && fs::canonicalize(Path::new(&*secret.name)).ok() == real
    };
    let Some(secret) = source.held().iter().find(is_it).cloned() else { return false };
    told.say("  `files` lead to it");
    let tokens = secret.tokens.len();
    let error = tell_rows(secret, now, told);
    if tokens > 0 {
        told.has_samples = true;
    } else {
        told.conclude(error.unwrap_or_else(|| "there is no token in it".to_owned()));
    }
    true
}
