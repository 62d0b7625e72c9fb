//! Secret manifests in files: tokens before they are in a cluster, or without any.
//!
//! Every poll reads the files anew. What is wrong with a file is an error of that file, in the place of a Secret: the
//! others go on to be read. A Secret that two manifests describe is that of the later one, as if both had been applied.

mod document;

use super::file_set::{FileErrors, FileSet, Listing, Origin, exhausted, shown_name};
use super::regular_file::FileFault;
use super::{FileGlob, Held, Links, PollError, Source};
use crate::kubernetes::LabelSelector;
use crate::kubernetes::object::LOGIN_ANNOTATION;
use crate::observation::{DataValue, Logins, Observer, Reading, Reason, SecretObservation, SecretView};

pub use document::{DocumentFault, SecretManifest, each_secret};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

/// A larger file is not read: `kubectl get secrets -A -o yaml` of a thousand Secrets is far below.
pub const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;

/// Faults of one file that are told.
const FAULTS_TOLD: usize = 3;

/// Files that hold Secret manifests.
pub struct ManifestsSource {
    files: FileSet,
    selectors: Vec<LabelSelector>,
    annotation_key: String,
    observer: Observer,
    held: Held,
    /// Secrets with more than one manifest of which the log has been told.
    repeated: BTreeSet<Place>,
}

/// Namespace and name.
type Place = (String, String);

/// What one poll has found so far.
#[derive(Default)]
struct Found {
    /// `None`: a Secret without a token that nobody expects to have one.
    secrets: BTreeMap<Place, Option<Arc<SecretObservation>>>,
    repeated: BTreeSet<Place>,
}

impl ManifestsSource {
    /// All Secrets in the files of `globs` are looked into. It is an error if there is no token in one that `selectors`
    /// match or that has the annotation `annotation_key`.
    #[must_use]
    pub fn new(
        globs: Vec<FileGlob>,
        links: Links,
        selectors: Vec<LabelSelector>,
        annotation_key: String,
        reading: Reading,
    ) -> Self {
        Self {
            files: FileSet::new("manifests", globs, links),
            selectors,
            annotation_key,
            observer: Observer::new(reading),
            held: Held::new(),
            repeated: BTreeSet::new(),
        }
    }

    fn read_file(
        &mut self,
        path: &Path,
        origin: &Origin,
        listing: &mut Listing,
        found: &mut Found,
    ) -> Result<(), PollError> {
        let mut bytes = Vec::new();
        let text = match listing.open(path, origin) {
            Ok(None) => return Ok(()),
            Ok(Some(handle)) => handle.read(MAX_FILE_BYTES, &mut bytes).map(|()| String::from_utf8(bytes)),
            Err(fault) => Err(fault),
        };
        match text {
            Ok(Ok(text)) => self.read_text(path, &text, &mut listing.errors, found),
            Ok(Err(error)) => {
                let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
                let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
                listing.error(path, Reason::InvalidDocument, format!("line {line} is not UTF-8"));
            }
            Err(FileFault::Exhausted(error)) => return Err(exhausted(path, &error)),
            Err(fault) => listing.error(path, fault.reason(), fault.to_string()),
        }
        Ok(())
    }

    fn read_text(&mut self, path: &Path, text: &str, errors: &mut FileErrors, found: &mut Found) {
        let faults = each_secret(text, &mut |secret| {
            let place = (secret.namespace.clone(), secret.name.clone());
            let observation = self.observe(secret);
            if found.secrets.insert(place.clone(), observation).is_some() {
                if !self.repeated.contains(&place) {
                    let (namespace, name) = &place;
                    let file = path.display();
                    log::warn!("manifests: {namespace}/{name} has more than one manifest; that in {file} counts");
                }
                found.repeated.insert(place);
            }
        });
        if !faults.is_empty() {
            let mut told: Vec<String> = faults.iter().take(FAULTS_TOLD).map(ToString::to_string).collect();
            if faults.len() > FAULTS_TOLD {
                told.push(format!("and {} more", faults.len() - FAULTS_TOLD));
            }
            errors.entry(shown_name(path)).or_default().push((Reason::InvalidDocument, told.join("; ")));
        }
    }

    fn observe(&mut self, secret: SecretManifest) -> Option<Arc<SecretObservation>> {
        let picked = self.selectors.iter().any(|selector| selector.matches(|key| secret.label(key)));
        let annotation = secret.annotation(&self.annotation_key).map(str::to_owned);
        let login = secret.annotation(LOGIN_ANNOTATION).map(str::to_owned);
        // Of namespaces the files say nothing.
        let extra = self.observer.reading().extra_labels(|key| secret.label(key), None);
        let (namespace, name) = (secret.namespace.clone(), secret.name.clone());
        let data = secret.into_data();
        let mut hasher = DefaultHasher::new();
        (&annotation, &login, picked, extra.as_str()).hash(&mut hasher);
        for (key, value) in &data {
            let (is_base64, bytes) = match value {
                DataValue::Base64(text) => (true, text.as_bytes()),
                DataValue::Plain(text) => (false, text.as_bytes()),
                DataValue::Bytes(bytes) => (false, *bytes),
            };
            (key, is_base64, bytes).hash(&mut hasher);
        }
        let version = hasher.finish();
        let place = (&*namespace, &*name);
        let known = self.held.binary_search_by(|known| (&*known.namespace, &*known.name).cmp(&place));
        if let Some(known) = known.ok().and_then(|at| self.held.get(at)).filter(|known| known.version == version) {
            return Some(Arc::clone(known));
        }
        let view = SecretView {
            namespace: &namespace,
            name: &name,
            annotation: annotation.as_deref(),
            data: &data,
            logins: Logins::Annotation(login.as_deref()),
            picked,
            extra: &extra,
            version,
        };
        self.observer.observe(&view).map(Arc::new)
    }
}

impl Source for ManifestsSource {
    fn name(&self) -> &str {
        "manifests"
    }

    fn held(&self) -> &Held {
        &self.held
    }

    fn poll(&mut self) -> Result<(), PollError> {
        let mut found = Found::default();
        let mut listing = self.files.list()?;
        for (path, origin) in std::mem::take(&mut listing.files) {
            self.read_file(&path, &origin, &mut listing, &mut found)?;
        }
        self.files.tell_outside(&listing);
        self.repeated = found.repeated;
        // Files have no namespace, and so come first.
        let extra = self.observer.reading().extra_labels(|_| None, None);
        let broken = |(path, errors): (String, _)| Arc::new(SecretObservation::broken(&path, errors, &extra));
        let files = listing.errors.into_iter().map(broken);
        self.held = files.chain(found.secrets.into_values().flatten()).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::file_set::MAX_FILES;
    use super::*;
    use crate::jwt::ClaimPaths;
    use crate::observation::Bounds;
    use std::fs;

    const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.";

    fn source(folder: &Path, patterns: &[&str], selector: &str) -> ManifestsSource {
        let globs = patterns.iter().map(|pattern| FileGlob::parse(&format!("{}/{pattern}", folder.display())).unwrap());
        let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 100 };
        let reading = Reading::new(ClaimPaths::default(), bounds);
        let selectors = LabelSelector::parse(selector).unwrap().into_iter().collect();
        ManifestsSource::new(globs.collect(), Links::Inside, selectors, "keys".into(), reading)
    }

    fn secret(name: &str, metadata: &str, value: &str) -> String {
        format!("---\nkind: Secret\nmetadata: {{name: {name}, namespace: n{metadata}}}\nstringData: {{t: {value}}}\n")
    }

    /// `namespace/name tokens reasons…` for each.
    fn shown(held: &Held, folder: &Path) -> Vec<String> {
        let line = |secret: &Arc<SecretObservation>| {
            let place = format!("{}/{}", secret.namespace, secret.name).replace(&*folder.display().to_string(), "F");
            let reasons = secret.errors.iter().map(|error| format!(" {}", error.reason.as_str()));
            format!("{place} {}{}", secret.tokens.len(), reasons.collect::<String>())
        };
        held.iter().map(line).collect()
    }

    fn poll(source: &mut ManifestsSource) -> Held {
        source.poll().unwrap();
        source.held().clone()
    }

    #[test]
    fn only_what_somebody_picked_has_to_hold_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let text = secret("plain", "", "hello")
            + &secret("labelled", ", labels: {a: b}", "hello")
            + &secret("annotated", ", annotations: {keys: t}", "hello")
            + &secret("other", ", labels: {a: c}", TOKEN);
        fs::write(folder.path().join("a.yaml"), text).unwrap();
        let found = |selector| {
            let held = poll(&mut source(folder.path(), &["*.yaml"], selector));
            shown(&held, folder.path())
        };
        assert_eq!(found("a=b"), ["n/annotated 0 not_a_jwt", "n/labelled 0 no_token", "n/other 1"]);
        assert_eq!(found(""), ["n/annotated 0 not_a_jwt", "n/other 1"]);
    }

    #[test]
    fn the_later_manifest_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: String| fs::write(folder.path().join(file), text).unwrap();
        write("b.yaml", secret("x", "", "hello") + &secret("y", "", TOKEN) + &secret("z", "", "hello"));
        write("a.yaml", secret("x", "", TOKEN) + &secret("z", "", "hello") + &secret("z", "", TOKEN));
        let mut source = source(folder.path(), &["b.yaml", "*.yaml"], "");
        let held = poll(&mut source);
        assert_eq!(shown(&held, folder.path()), ["n/y 1"]);
        assert_eq!(source.repeated.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["x", "z"]);
    }

    #[test]
    fn what_did_not_change_is_carried_over() {
        let folder = tempfile::tempdir().unwrap();
        let write = |first: &str| {
            let text = secret("same", "", TOKEN) + &secret("other", "", first);
            fs::write(folder.path().join("a.yaml"), text).unwrap();
        };
        let mut source = source(folder.path(), &["a.yaml"], "");
        write(TOKEN);
        let before = poll(&mut source);
        write("eyJhbGciOiJub25lIn0.eyJleHAiOjJ9.");
        let after = poll(&mut source);
        assert_eq!(shown(&after, folder.path()), ["n/other 1", "n/same 1"]);
        assert!(Arc::ptr_eq(&before[1], &after[1]) && !Arc::ptr_eq(&before[0], &after[0]));
        fs::write(folder.path().join("a.yaml"), "").unwrap();
        assert!(poll(&mut source).is_empty());
    }

    #[test]
    fn only_so_many_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=MAX_FILES {
            fs::write(folder.path().join(format!("{number}.yaml")), "").unwrap();
        }
        fs::write(folder.path().join("named"), secret("named", "", TOKEN)).unwrap();
        fs::write(folder.path().join("other.yml"), secret("other", "", TOKEN)).unwrap();
        let mut only = source(folder.path(), &["*.yaml"], "");
        assert_eq!(only.files.list().unwrap().files.len(), MAX_FILES);
        only.poll().unwrap();
        assert_eq!(shown(only.held(), folder.path()), ["/F/*.yaml 0 too_large"]);
        // What somebody named is read all the same, and later patterns are told of.
        for patterns in [["*.yaml", "named", "*.yml", "missing/*"], ["missing/*", "*.yml", "named", "*.yaml"]] {
            let mut source = source(folder.path(), &patterns, "");
            let held = poll(&mut source);
            let shown = shown(&held, folder.path());
            assert!(shown.contains(&"/F/*.yaml 0 too_large".into()), "{shown:?}");
            assert!(shown.contains(&"/F/missing 0 not_found".into()), "{shown:?}");
            assert!(shown.contains(&"n/named 1".into()), "{shown:?}");
        }
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &[u8]| fs::write(folder.path().join(file), text).unwrap();
        write("a.yaml", secret("good", "", TOKEN).as_bytes());
        write("broken.yaml", (secret("first", "", TOKEN) + "---\nkind: [\n").as_bytes());
        write("latin.yaml", b"# a\n# \xff\n");
        write("large.yaml", &vec![b'#'; MAX_FILE_BYTES + 1]);
        fs::create_dir(folder.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling.yaml")).unwrap();
        let pipe = std::ffi::CString::new(folder.path().join("pipe").display().to_string()).unwrap();
        // SAFETY: a path that ends in NUL.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        let mut source =
            source(folder.path(), &["missing.yaml", "*.yaml", "folder", "pipe", "nothing/*", "x*.json"], "");
        let held = poll(&mut source);
        assert_eq!(
            shown(&held, folder.path()),
            [
                "/F/broken.yaml 0 invalid_document",
                "/F/dangling.yaml 0 not_found",
                "/F/folder 0 unreadable",
                "/F/large.yaml 0 too_large",
                "/F/latin.yaml 0 invalid_document",
                "/F/missing.yaml 0 not_found",
                "/F/nothing 0 not_found",
                "/F/pipe 0 unreadable",
                "n/first 1",
                "n/good 1",
            ]
        );
        let details: Vec<_> = held.iter().flat_map(|secret| &secret.errors).map(|error| &*error.detail).collect();
        assert_eq!(details[0], "line 7 is not YAML");
        assert_eq!(details[4], "line 2 is not UTF-8");
        assert!(details[2].contains("it is a folder"), "{}", details[2]);
        let errors: Vec<_> = held.iter().flat_map(|secret| &secret.errors).map(|error| &*error.location).collect();
        assert!(
            errors[0].starts_with("secret_key=\"\",secret_name=\"/") && errors[0].ends_with("secret_namespace=\"\"")
        );
    }
}
