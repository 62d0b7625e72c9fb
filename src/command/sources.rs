//! Which sources a configuration makes, and what each of them is made from.
//!
//! A new source is a variant of [`Recipe`]: a line in [`recipes`] that fills it from the configuration, its name, and how it is
//! built. A reload builds only those whose recipe is another one than before, so a recipe holds everything that a source
//! depends on, and nothing else.

use crate::config::Config;
use crate::kubernetes::access::{Access, Kubeconfig, SERVICE_ACCOUNT_FOLDER};
use crate::kubernetes::{Cluster, LabelSelector, Verb};
use crate::log::escape;
use crate::metrics::OwnMetrics;
use crate::observation::{Reading, cluster_label};
use crate::poller::{Inbox, Seat};
use crate::source::files::FilesSource;
use crate::source::manifests::ManifestsSource;
use crate::source::secrets::{SecretsSource, Selection};
use crate::source::{FileGlob, Links, Source};
use crate::whole_file;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that a source depends on. Equal recipes make sources that do the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Recipe {
    /// The Secrets of a cluster.
    Secrets { name: String, way: Way, selection: Box<Selection>, annotation_key: String, watch: bool, reading: Reading },
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
    /// By a kubeconfig, which is read when the source is built: with another content it is another way. With a `context`, the
    /// content is that of this context alone, and others may come and go.
    Kubeconfig { path: PathBuf, context: Option<String>, content: Option<u64> },
}

/// The sources of a configuration, in the order in which they are shown. No two have the same name.
pub(super) fn recipes(config: &Config) -> Vec<Recipe> {
    let mut recipes = Vec::new();
    let annotation_key = &config.annotation_key;
    // Where clusters are told apart, what is in none of them has an empty name: every sample of a token has the same labels.
    let is_told = !config.contexts.is_empty();
    let reading_in =
        |cluster: &str| Reading { cluster: cluster_label(is_told.then_some(cluster)), ..config.reading.clone() };
    let reading = &reading_in("");
    for cluster in config.clusters() {
        let selection = Selection {
            label_selectors: config.label_selectors.iter().map(ToString::to_string).collect(),
            namespaces: config.namespaces.clone(),
            secrets: config.secrets_in(cluster).cloned().collect(),
            only_named: config.only_named,
            exclude_namespaces: config.exclude_namespaces.clone(),
            namespace_selector: config.namespace_selector.clone(),
            field_selector: config.field_selector.clone(),
            shard: config.shard,
        };
        recipes.push(Recipe::Secrets {
            name: cluster.map_or_else(|| "kubernetes".to_owned(), |context| format!("kubernetes/{context}")),
            way: Way::of(config, cluster),
            selection: Box::new(selection),
            annotation_key: annotation_key.clone(),
            watch: config.watch,
            reading: reading_in(cluster.unwrap_or_default()),
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

/// One of the [clusters](Config::clusters) of a configuration; nobody is called yet.
///
/// # Errors
/// What is missing, for the log.
pub(super) fn cluster(config: &Config, context: Option<&str>, own: &OwnMetrics) -> Result<Cluster, String> {
    Way::of(config, context).connect(own)
}

/// Whether the kubeconfig has the contexts of the configuration. A kubeconfig that cannot be read is told of when it is needed.
///
/// # Errors
/// The first that it does not have, and those that it has.
pub(super) fn check_contexts(config: &Config) -> Result<(), String> {
    let Some(path) = config.kubeconfig_path.as_ref().filter(|_| config.kubernetes && !config.contexts.is_empty())
    else {
        return Ok(());
    };
    let Ok(kubeconfig) = Kubeconfig::load(path) else { return Ok(()) };
    let there = kubeconfig.contexts();
    let Some(missing) = config.contexts.iter().find(|context| !there.contains(&context.as_str())) else {
        return Ok(());
    };
    let quoted = |name: &str| format!("\"{}\"", escape(name));
    let there: Vec<String> = there.iter().take(MOST_CONTEXTS_TOLD).map(|name| quoted(name)).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let (missing, path) = (quoted(missing), escape(&path.to_string_lossy()).into_owned());
    Err(format!("contexts: expected contexts of {path}, which are {there}, found {missing}"))
}

impl Recipe {
    /// The label `source`.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Secrets { name, .. } => name,
            Self::Files { .. } => "files",
            Self::Manifests { .. } => "manifests",
        }
    }

    /// Prepares the source; nothing of it is read yet, and nobody is called.
    ///
    /// # Errors
    /// What is missing, for the log.
    pub(super) fn build(&self, own: &OwnMetrics) -> Result<Seat, String> {
        let inbox = Inbox::new();
        let source: Box<dyn Source> = match self.clone() {
            Self::Secrets { name, way, selection, annotation_key, watch, reading } => {
                let cluster = Arc::new(way.connect(own)?);
                let mut secrets =
                    SecretsSource::new(&name, cluster, Vec::new(), annotation_key, reading).with_selection(*selection);
                if watch {
                    secrets = secrets.with_watches(inbox.notify());
                }
                Box::new(secrets)
            }
            Self::Files { globs, links, watch, reading } => Box::new(FilesSource::new(globs, links, watch, reading)),
            Self::Manifests { globs, links, selectors, annotation_key, reading } => {
                Box::new(ManifestsSource::new(globs, links, selectors, annotation_key, reading))
            }
        };
        Ok(Seat { source, inbox })
    }
}

impl Way {
    fn of(config: &Config, context: Option<&str>) -> Self {
        let Some(path) = &config.kubeconfig_path else { return Self::InCluster };
        let content = match context {
            None => digest(path),
            Some(context) => Kubeconfig::load(path).ok().and_then(|kubeconfig| kubeconfig.digest(context)),
        };
        Self::Kubeconfig { path: path.clone(), context: context.map(str::to_owned), content }
    }

    fn connect(&self, own: &OwnMetrics) -> Result<Cluster, String> {
        let environment = |name: &str| std::env::var(name).ok();
        let access = match self {
            Self::Kubeconfig { path, context, .. } => Access::from_kubeconfig(path, context.as_deref(), &environment),
            Self::InCluster => Access::in_cluster(Path::new(SERVICE_ACCOUNT_FOLDER), &environment),
        };
        let own = own.clone();
        let count = move |verb: Verb, resource: &str, code: &str| own.count_kube_request(verb.as_str(), resource, code);
        access.and_then(|access| Cluster::connect(access, Arc::new(count))).map_err(|error| error.to_string())
    }
}

/// A kubeconfig may have hundreds.
const MOST_CONTEXTS_TOLD: usize = 20;

/// So much of a kubeconfig is looked at; a longer one is refused when it is read.
const MOST_DIGESTED: usize = 4 << 20;

/// A number that another content would not have; `None` if there is nothing to read.
fn digest(path: &Path) -> Option<u64> {
    let bytes = whole_file::read(path, MOST_DIGESTED).ok()?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
            ("kubeconfig_path: /nowhere\ncontexts: [a]", (kubernetes, files, manifests)),
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
