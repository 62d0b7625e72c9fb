//! `drop_labels`, `hash_labels` and `hash_key_file`: who may see what.

use super::reader::{Fault, Fields, Reader};
use super::{Config, Expected, Lookup, file};
use crate::jwt::PseudonymKey;
use crate::log::escape;
use crate::observation::{Showing, Showings};
use crate::whole_file;
use std::io;
use std::path::Path;

/// Reads the file with the key of `hash_labels`.
pub(super) type KeyFile<'a> = &'a dyn Fn(&str) -> Result<PseudonymKey, Expected>;

/// They say which token a sample is of. Without them two tokens could be one sample.
const LOCATION: [&str; 4] = ["secret_namespace", "secret_name", "secret_key", "secret_cluster"];

/// A longer file is something else than a key.
const MOST_KEY_BYTES: usize = 4096;

/// Lays the keys over a configuration whose labels are known: the fixed ones and those that it names itself, `added`.
pub(super) fn read(
    fields: &Fields<'_>,
    config: &mut Config,
    added: &[String],
    lookup: Lookup<'_>,
    key_file: KeyFile<'_>,
) -> Result<(), Fault> {
    let names = |key: &str| -> Result<Vec<(Reader<'_>, String)>, Fault> {
        let Some(value) = fields.get(key) else { return Ok(Vec::new()) };
        let items = value.list("names of labels")?.into_iter();
        items.map(|item| item.text("the name of a label", |text| known(text, added)).map(|name| (item, name))).collect()
    };
    let (dropped, hashed) = (names("drop_labels")?, names("hash_labels")?);
    for (item, name) in &hashed {
        if dropped.iter().any(|(_, dropped)| dropped == name) {
            return Err(item.refuse(Expected::new("a label that `drop_labels` does not leave out")));
        }
    }
    for (_, name) in &dropped {
        show(config, name, &Showing::Dropped);
    }
    let path = match fields.get("hash_key_file") {
        Some(value) => Some((value, file::path(value, lookup)?)).filter(|(_, path)| !path.is_empty()),
        None => None,
    };
    match (path, fields.get("hash_labels")) {
        (Some((value, _)), _) if hashed.is_empty() => {
            return Err(value.refuse(Expected::new("`hash_labels` beside it: the key is for them alone")));
        }
        (Some((value, path)), _) => {
            let how = Showing::Hashed(key_file(&path).map_err(|expected| value.refuse(expected))?);
            for (_, name) in &hashed {
                show(config, name, &how);
            }
        }
        (None, Some(value)) if !hashed.is_empty() => {
            return Err(value.refuse(Expected::new("a `hash_key_file` beside it, whose content is the key")));
        }
        (None, _) => {}
    }
    let names = |items: Vec<(_, String)>| items.into_iter().map(|(_, name)| name).collect();
    (config.dropped, config.hashed) = (names(dropped), names(hashed));
    Ok(())
}

/// A claim that the configuration adds and drops is not even looked for.
fn show(config: &mut Config, name: &str, how: &Showing) {
    let reading = &mut config.reading;
    if reading.secret_labels.show(name, how) || reading.namespace_labels.show(name, how) {
        return;
    }
    let at = reading.show.added.iter().position(|(added, _)| added == name);
    if let (Some(at), Showing::Dropped) = (at, how) {
        reading.show.added.remove(at);
        reading.claims.added.remove(at);
    } else if let Some(showing) = reading.show.named(name) {
        *showing = how.clone();
    }
}

fn known(text: &str, added: &[String]) -> Result<String, Expected> {
    if LOCATION.contains(&text) {
        return Err(Expected::new(format!(
            "a label that does not say where a token is (as {} do)",
            LOCATION.join(", ")
        )));
    }
    if !Showings::NAMES.contains(&text) && !added.iter().any(|name| name == text) {
        let names: Vec<&str> = Showings::NAMES.into_iter().chain(added.iter().map(String::as_str)).collect();
        return Err(Expected::new(format!("one of the labels {}", names.join(", "))));
    }
    Ok(text.to_owned())
}

/// The key in a file: its bytes, but for line breaks at the end, which editors and `echo` leave there.
pub(super) fn read_key(path: &str) -> Result<PseudonymKey, Expected> {
    let expected = |why: String| {
        Expected::new(format!(
            "a file with a key of {} to {MOST_KEY_BYTES} bytes ({}: {why})",
            PseudonymKey::LEAST_BYTES,
            escape(path)
        ))
    };
    let bytes = whole_file::read(Path::new(path), MOST_KEY_BYTES + 2).map_err(|error| {
        expected(match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
            io::ErrorKind::FileTooLarge => "it has more".to_owned(),
            _ => error.to_string(),
        })
    })?;
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    let key = bytes.get(..end).unwrap_or_default();
    if key.len() > MOST_KEY_BYTES {
        return Err(expected("it has more".to_owned()));
    }
    PseudonymKey::new(key).ok_or_else(|| expected(format!("it has {}", key.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use std::fs;

    const KEY: &str = "0123456789abcdef";

    fn key_of(content: &str) -> Result<PseudonymKey, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        let path = file.path().to_str().unwrap();
        read_key(path).map_err(|expected| expected.to_string().replace(path, "FILE"))
    }

    #[test]
    fn the_key_is_the_content_without_line_breaks_at_its_end() {
        let key = PseudonymKey::new(KEY.as_bytes());
        for content in [KEY.to_owned(), format!("{KEY}\n"), format!("{KEY}\r\n\n")] {
            assert_eq!(key_of(&content).ok(), key, "{content:?}");
        }
        for content in [format!("{KEY} "), format!("\n{KEY}"), "x".repeat(4096)] {
            assert_ne!(Some(key_of(&content).unwrap()), key, "{content:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_without_a_piece_of_it() {
        for (content, why) in
            [(String::new(), "it has 0"), ("hunter2\n".into(), "it has 7"), ("x".repeat(9000), "it has more")]
        {
            assert_eq!(key_of(&content).unwrap_err(), format!("a file with a key of 16 to 4096 bytes (FILE: {why})"));
        }
        for (path, why) in [("/nowhere/key", "there is no such file"), ("/dev/zero", "it is no regular file")] {
            assert!(read_key(path).unwrap_err().to_string().ends_with(&format!("({path}: {why})")));
        }
    }

    #[test]
    fn a_configuration_is_loaded_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let (config, key) = (folder.path().join("config.yaml"), folder.path().join("key"));
        fs::write(&key, format!("{KEY}\n")).unwrap();
        let text = "claim_labels: {tenant: /t, group: /g}\nsecret_labels: {team: a/team, tier: tier}\nnamespace_labels: {env: env}\n\
            drop_labels: [email, team, group]\nhash_labels: [subject, tenant, env]\nhash_key_file: $FOLDER/key\n";
        fs::write(&config, text).unwrap();
        let lookup = |name: &str| (name == "FOLDER").then(|| folder.path().as_os_str().to_owned());
        let loaded = load(config.to_str(), &lookup).unwrap();
        let hashed = Showing::Hashed(PseudonymKey::new(KEY.as_bytes()).unwrap());
        let mut reading = loaded.config.reading.clone();
        for (name, wanted) in [
            ("email", Some(Showing::Dropped)),
            ("subject", Some(hashed.clone())),
            ("issuer", Some(Showing::Plain)),
            ("group", None),
        ] {
            assert_eq!(reading.show.named(name).cloned(), wanted, "{name}");
        }
        assert_eq!(reading.show.added, [("tenant".to_owned(), hashed)]);
        assert_eq!(reading.claims.added, ["/t".parse().unwrap()]);
        assert_eq!(reading.secret_labels.entries().collect::<Vec<_>>(), [("tier", "tier")]);
        let of_namespace = reading.namespace_labels.render(|_| Some("production"));
        assert!(of_namespace.starts_with(",env=\"") && !of_namespace.contains("production"), "{of_namespace}");
        assert!(!format!("{loaded:?}").contains(KEY));
        fs::write(&key, format!("another {KEY}")).unwrap();
        assert_ne!(load(config.to_str(), &lookup).unwrap(), loaded);
        fs::write(&key, "short").unwrap();
        let error = load(config.to_str(), &lookup).unwrap_err().to_string();
        assert!(
            error.contains(":6:16: hash_key_file: expected a file with a key of 16 to 4096 bytes (")
                && error.contains("it has 5"),
            "{error}"
        );
    }
}
