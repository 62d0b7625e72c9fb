//! Which sources a configuration makes, and what each of them is made from.
//!
//! A new source is a variant of [`Recipe`]: a line in [`recipes`] that fills it from the configuration, its name, and how it is
//! built. A reload builds only those whose recipe is another one than before, so a recipe holds everything that a source
//! depends on, and nothing else.

use crate::config::Config;
use crate::kubernetes::access::{Access, SERVICE_ACCOUNT_FOLDER};
use crate::kubernetes::{Cluster, LabelSelector, Verb};
use crate::metrics::OwnMetrics;
use crate::observation::Reading;
use crate::poller::{Message, SourceNumber};
use crate::source::files::FilesSource;
use crate::source::manifests::ManifestsSource;
use crate::source::secrets::{SecretsSource, Selection};
use crate::source::{FileGlob, Links, Source};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use zeroize::Zeroizing;

/// Everything that a source depends on. Equal recipes make sources that do the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Recipe {
    /// The Secrets of a cluster.
    Secrets { way: Way, selection: Box<Selection>, annotation_key: String, watch: bool, reading: Reading },
    /// Files with Secret manifests.
    Manifests {
        globs: Vec<FileGlob>,
        links: Links,
        selectors: Vec<LabelSelector>,
        annotation_key: String,
        reading: Reading,
    },
    /// Files that are tokens or hold some.
    Files { globs: Vec<FileGlob>, links: Links, watch: bool, reading: Reading },
}

/// How to get into a cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Way {
    /// By the pod's service account, whose files are read anew as they change.
    InCluster,
    /// By a kubeconfig, which is read when the source is built: with another content it is another way.
    Kubeconfig { path: PathBuf, content: Option<u64> },
}

/// What sources are built with.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) own: OwnMetrics,
    /// To the poller.
    pub(super) news: SyncSender<Message>,
}

/// The sources of a configuration, in the order in which they are shown. No two have the same name.
pub(super) fn recipes(config: &Config) -> Vec<Recipe> {
    let mut recipes = Vec::new();
    let (annotation_key, reading) = (&config.annotation_key, &config.reading);
    if config.kubernetes {
        let selection = Selection {
            label_selectors: config.label_selectors.iter().map(ToString::to_string).collect(),
            namespaces: config.namespaces.clone(),
            secrets: config.secrets.clone(),
            only_named: config.only_named,
            exclude_namespaces: config.exclude_namespaces.clone(),
            namespace_selector: config.namespace_selector.clone(),
            field_selector: config.field_selector.clone(),
            shard: config.shard,
        };
        recipes.push(Recipe::Secrets {
            way: Way::of(config),
            selection: Box::new(selection),
            annotation_key: annotation_key.clone(),
            watch: config.watch,
            reading: reading.clone(),
        });
    }
    if !config.files.is_empty() {
        recipes.push(Recipe::Files {
            globs: config.files.clone(),
            links: config.links,
            watch: config.watch,
            reading: reading.clone(),
        });
    }
    if !config.manifests.is_empty() {
        recipes.push(Recipe::Manifests {
            globs: config.manifests.clone(),
            links: config.links,
            selectors: config.label_selectors.clone(),
            annotation_key: annotation_key.clone(),
            reading: reading.clone(),
        });
    }
    if recipes.is_empty() {
        log::warn!("there is nothing to read: `kubernetes` is false, and `files` and `manifests` are empty");
    }
    recipes
}

/// The cluster of a configuration; nobody is called yet.
///
/// # Errors
/// What is missing, for the log.
pub(super) fn cluster(config: &Config, own: &OwnMetrics) -> Result<Cluster, String> {
    cluster_of(config, None, own)
}

/// The same, by another context of the kubeconfig than its current one.
///
/// # Errors
/// What is missing, for the log.
pub(super) fn cluster_of(config: &Config, context: Option<&str>, own: &OwnMetrics) -> Result<Cluster, String> {
    Way::of(config).connect(context, own)
}

impl Recipe {
    /// The label `source`.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Secrets { .. } => "kubernetes",
            Self::Files { .. } => "files",
            Self::Manifests { .. } => "manifests",
        }
    }

    /// Prepares the source; nothing of it is read yet, and nobody is called.
    ///
    /// # Errors
    /// What is missing, for the log.
    pub(super) fn build(&self, number: SourceNumber, with: &Workshop) -> Result<Box<dyn Source>, String> {
        match self.clone() {
            Self::Secrets { way, selection, annotation_key, watch, reading } => {
                let cluster = Arc::new(way.connect(None, &with.own)?);
                let mut secrets = SecretsSource::new(self.name(), cluster, Vec::new(), annotation_key, reading)
                    .with_selection(*selection);
                if watch {
                    let news = with.news.clone();
                    let notify = move |event| news.send(Message::News(number, event)).is_ok();
                    secrets = secrets.with_watches(Arc::new(notify));
                }
                Ok(Box::new(secrets))
            }
            Self::Files { globs, links, watch, reading } => {
                Ok(Box::new(FilesSource::new(globs, links, watch, reading)))
            }
            Self::Manifests { globs, links, selectors, annotation_key, reading } => {
                Ok(Box::new(ManifestsSource::new(globs, links, selectors, annotation_key, reading)))
            }
        }
    }
}

impl Way {
    fn of(config: &Config) -> Self {
        match &config.kubeconfig_path {
            None => Self::InCluster,
            Some(path) => Self::Kubeconfig { path: path.clone(), content: digest(path) },
        }
    }

    fn connect(&self, context: Option<&str>, own: &OwnMetrics) -> Result<Cluster, String> {
        let environment = |name: &str| std::env::var(name).ok();
        let access = match self {
            Self::Kubeconfig { path, .. } => Access::from_kubeconfig(path, context, &environment),
            Self::InCluster => Access::in_cluster(Path::new(SERVICE_ACCOUNT_FOLDER), &environment),
        };
        let own = own.clone();
        let count = move |verb: Verb, resource: &str, code: &str| own.count_kube_request(verb.as_str(), resource, code);
        access.and_then(|access| Cluster::connect(access, Arc::new(count))).map_err(|error| error.to_string())
    }
}

/// So much of a kubeconfig is looked at; a longer one is refused when it is read.
const MOST_DIGESTED: u64 = 4 << 20;

/// A number that another content would not have; `None` if there is nothing to read.
fn digest(path: &Path) -> Option<u64> {
    // A pipe would keep us waiting.
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path).ok()?.take(MOST_DIGESTED).read_to_end(&mut bytes).ok()?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipes_of(text: &str) -> Vec<Recipe> {
        recipes(&crate::config::parse(text, "config.yaml", &|_| None).unwrap())
    }

    #[test]
    fn a_recipe_changes_with_all_that_its_source_depends_on_and_with_nothing_else() {
        let (kubernetes, files, manifests) = (true, true, true);
        let before = "manifests: [a.yaml]\nfiles: [a]\n";
        let none = (false, false, false);
        for (line, changed) in [
            ("address: :9999", none),
            ("polling_interval: 5s", none),
            ("max_series: 5", none),
            ("watch: true", none),
            ("watch: false", (kubernetes, files, false)),
            ("label_selectors: [a=b]", (kubernetes, false, manifests)),
            ("annotation_key: other", (kubernetes, false, manifests)),
            ("max_tokens_per_secret: 5", (kubernetes, files, manifests)),
            ("max_series_per_token: 5", (kubernetes, files, manifests)),
            ("claims: {role: [/r]}", (kubernetes, files, manifests)),
            ("follow_links_outside: true", (false, files, manifests)),
            ("namespaces: [a]", (kubernetes, false, false)),
            ("exclude_namespaces: [a]", (kubernetes, false, false)),
            ("namespace_selector: a", (kubernetes, false, false)),
            ("shard: 0/3", (kubernetes, false, false)),
            ("secret_labels: {a: b}", (kubernetes, files, manifests)),
            ("claim_labels: {a: /b}", (kubernetes, files, manifests)),
            ("drop_labels: [role]", (kubernetes, files, manifests)),
            ("token_series: compact", (kubernetes, files, manifests)),
            ("token_series: detailed", none),
            ("namespace_labels: {a: b}", (kubernetes, files, manifests)),
            ("field_selector: type=Opaque", (kubernetes, false, false)),
            ("kubeconfig_path: /nowhere", (kubernetes, false, false)),
            ("secrets: [{namespace: a, name: b}]", (kubernetes, false, false)),
        ] {
            let (before, after) = (recipes_of(before), recipes_of(&format!("{before}{line}\n")));
            let differ = |at: usize| before[at] != after[at];
            assert_eq!((differ(0), differ(1), differ(2)), changed, "{line}");
        }
        assert_eq!(recipes_of("kubernetes: false\nmanifests: [b.yaml]\n").len(), 1);
    }

    #[test]
    fn a_kubeconfig_of_another_content_is_another_way() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("kubeconfig_path: {}\n", file.path().display());
        let empty = recipes_of(&text);
        assert_eq!(empty, recipes_of(&text));
        fs::write(file.path(), "clusters: []\n").unwrap();
        assert_ne!(empty, recipes_of(&text));
    }
}
