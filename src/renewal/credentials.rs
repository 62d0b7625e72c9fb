//! The values of the variables: read for one try, wiped behind it.

use super::plan::{Clusters, CredentialsPlan};
use super::reason::{Failure, Reason};
use super::target::secret::{MOST_BYTES, get};
use crate::json;
use crate::kubernetes::{Cluster, Reason as KubeReason};
use crate::redacted::Redacted;
use crate::whole_file;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;
use zeroize::Zeroizing;

/// A longer file is no credential.
const MOST_FILE_BYTES: usize = 64 * 1024;

/// Names and values. Wiped when it goes.
#[derive(Debug, Default)]
pub(super) struct Values(Vec<(String, Redacted)>);

impl Values {
    /// The value of a variable.
    #[must_use]
    pub(super) fn get(&self, name: &str) -> Option<&Redacted> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Reads the variables that are `wanted`, no others. One line end at the end of a value is not a part of it.
    ///
    /// # Errors
    /// What cannot be read; never a piece of it.
    pub(super) fn read(plan: &CredentialsPlan, wanted: &[&str], clusters: &Clusters) -> Result<Self, Failure> {
        match plan {
            _ if wanted.is_empty() => Ok(Self::default()),
            CredentialsPlan::None => {
                Err(missing(wanted.first().copied().unwrap_or_default(), "no credentials are configured"))
            }
            CredentialsPlan::Secret { context, namespace, name } => {
                of_secret(namespace, name, wanted, clusters.get(context.as_deref()))
            }
            CredentialsPlan::Files(files) => {
                let mut values = Self::default();
                for name in wanted {
                    let (_, path) = files
                        .iter()
                        .find(|(known, _)| known == name)
                        .ok_or_else(|| missing(name, "`credentials_files` has no such key"))?;
                    values.0.push(((*name).to_owned(), of_file(path)?));
                }
                Ok(values)
            }
        }
    }
}

fn missing(variable: &str, cause: &str) -> Failure {
    Failure::new(Reason::MissingVariable, format!("there is no value for ${{{variable}}}: {cause}"))
}

fn unavailable(message: String) -> Failure {
    Failure::new(Reason::CredentialsUnavailable, message)
}

fn of_file(path: &Path) -> Result<Redacted, Failure> {
    let shown = path.display();
    let bytes = whole_file::read(path, MOST_FILE_BYTES)
        .map_err(|error| unavailable(format!("the credentials in {shown} cannot be read: {error}")))?;
    text(&bytes).ok_or_else(|| Failure::new(Reason::BadValue, format!("{shown} is not UTF-8 text")))
}

fn of_secret(namespace: &str, name: &str, wanted: &[&str], cluster: Option<&Cluster>) -> Result<Values, Failure> {
    let what = format!("the credentials in the Secret {namespace}/{name}");
    let cluster = cluster.ok_or_else(|| unavailable(format!("{what} cannot be read: no API server is called")))?;
    let object = get(cluster, namespace, name).map_err(|error| {
        unavailable(match error.reason() {
            KubeReason::NotFound => format!("{what} cannot be read: there is no such Secret"),
            _ => format!("{what} cannot be read: {error}"),
        })
    })?;
    let malformed =
        |_| unavailable(format!("{what} cannot be read: the answer is no Secret of at most {MOST_BYTES} bytes"));
    let mut data = "{}";
    let object = json::text(&object).map_err(malformed)?;
    json::members(object, |member, value| {
        if member == "data" && value != "null" {
            data = value;
        }
    })
    .map_err(malformed)?;
    let mut values = Values::default();
    let mut is_text = true;
    json::members(data, |key, value| {
        if wanted.contains(&&*key) {
            // An encoded value has no escapes, so this borrows.
            let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
            let encoded = json::string(value).unwrap_or_default();
            let decoded = STANDARD.decode_vec(encoded.as_bytes(), &mut bytes);
            match decoded.ok().and_then(|()| text(&bytes)) {
                Some(value) => values.0.push((key.into_owned(), value)),
                None => is_text = false,
            }
        }
    })
    .map_err(malformed)?;
    if !is_text {
        return Err(Failure::new(Reason::BadValue, format!("{what}: a value is not UTF-8 text")));
    }
    match wanted.iter().find(|name| values.get(name).is_none()) {
        Some(variable) => Err(missing(variable, &format!("the Secret {namespace}/{name} has no such data key"))),
        None => Ok(values),
    }
}

/// UTF-8 without one line end at its end, which editors, `echo` and here-documents leave there.
fn text(bytes: &[u8]) -> Option<Redacted> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Some(Redacted::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &[u8])], wanted: &[&str]) -> Result<Vec<(String, String)>, Reason> {
        let folder = tempfile::tempdir().unwrap();
        let plan = files.iter().map(|(name, value)| {
            let path = folder.path().join(name);
            std::fs::write(&path, value).unwrap();
            ((*name).to_owned(), path)
        });
        let plan = CredentialsPlan::Files(plan.collect());
        let values = Values::read(&plan, wanted, &Clusters::default()).map_err(|failure| {
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
            failure.reason
        })?;
        assert!(!format!("{values:?}").contains("hunter2"), "{values:?}");
        Ok(values.0.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect())
    }

    #[test]
    fn one_line_end_is_dropped_and_nothing_else() {
        for (content, wanted) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("hunter2\r\n", "hunter2"),
            ("hunter2\n\n", "hunter2\n"),
            (" hunter2 \n", " hunter2 "),
            ("hunter2\r", "hunter2\r"),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(
                files(&[("p", content.as_bytes())], &["p"]),
                Ok(vec![("p".into(), wanted.into())]),
                "{content:?}"
            );
        }
    }

    #[test]
    fn only_what_is_wanted_is_read() {
        let both: &[(&str, &[u8])] = &[("a", b"hunter2-a"), ("b", b"hunter2\xff")];
        assert_eq!(files(both, &["a"]), Ok(vec![("a".into(), "hunter2-a".into())]));
        assert_eq!(files(both, &["b"]), Err(Reason::BadValue));
        assert_eq!(files(both, &["c"]), Err(Reason::MissingVariable));
        assert_eq!(files(&[("a", &[b'x'; 70_000])], &["a"]), Err(Reason::CredentialsUnavailable));
        let nowhere = CredentialsPlan::Files(vec![("a".into(), "/nowhere/a".into())]);
        assert_eq!(
            Values::read(&nowhere, &["a"], &Clusters::default()).unwrap_err().reason,
            Reason::CredentialsUnavailable
        );
        assert!(Values::read(&CredentialsPlan::None, &[], &Clusters::default()).is_ok());
    }
}
