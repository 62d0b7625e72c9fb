//! What the operator asked for, checked once: nothing downstream validates again.
//!
//! The text goes through [`yaml::Node`](crate::yaml::Node), where every value still knows its place in the file, into the
//! checked [`Config`]. `file` holds the shape on disk, key by key; each checked type has its own file. A mistake is one
//! [`ConfigError`] with file, line, column, key, what was expected and what was found.
//!
//! - Paths and globs are relative to the working directory, as with other tools, not to the configuration's folder.
//! - A key without a value (`address:`) is a key that is not there: its default counts.
//! - [`parse`] reads neither the environment nor a file: `~` and `$VAR` are looked up by the caller's closure, so a text and
//!   that closure alone decide the result. Only [`load`] reads the one file that a configuration is not whole without, the key of
//!   `hash_labels`.

mod address;
mod disclosure;
mod duration;
mod error;
mod expansion;
mod extra_labels;
mod file;
mod load;
mod logins;
mod places;
mod reader;
mod renewals;
mod shard;
mod watched_file;

pub use address::{ListenAddress, ListenHost};
pub use duration::{parse as parse_duration, written as written_duration};
pub use error::{ConfigError, ConfigProblem, Expected};
pub use expansion::{ExpansionError, Lookup, environment, expand};
pub use load::{ConfigFile, DEFAULT_PATH, Loaded, MAX_BYTES, load, parse};
pub use watched_file::WatchedFile;

use disclosure::KeyFile;

use crate::jwt::ClaimPaths;
use crate::kubernetes::{FieldSelector, LabelSelector, NamespacePattern};
use crate::observation::{Bounds, Reading};
use crate::renewal::Renewal;
use crate::source::secrets::{NamedSecret, Shard};
use crate::source::{FileGlob, Links};
use crate::vault::Login;
use std::path::PathBuf;
use std::time::Duration;

/// A configuration that holds together. [`Config::default`] is that of an empty file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where `/metrics` is served.
    pub address: ListenAddress,
    /// A Secret is taken if any of them matches. Empty: every Secret is taken.
    pub label_selectors: Vec<LabelSelector>,
    /// From the start of one poll to the start of the next.
    pub polling_interval: Duration,
    /// `None`: the service account of the pod we run in.
    pub kubeconfig_path: Option<PathBuf>,
    /// Contexts of the kubeconfig that are read, each a cluster of its own. Empty: there is one cluster, and no label tells of it.
    /// Not empty only with `kubeconfig_path`.
    pub contexts: Vec<String>,
    /// The annotation whose value names the data keys of a Secret.
    pub annotation_key: String,
    /// `false`: no API server is ever called.
    pub kubernetes: bool,
    /// Follow changes between two polls.
    pub watch: bool,
    /// Only these are read, each by itself. Empty: the whole cluster.
    pub namespaces: Vec<String>,
    /// What is in these namespaces is never read.
    pub exclude_namespaces: Vec<NamespacePattern>,
    /// What is in other namespaces is not read, but for `secrets`.
    pub namespace_selector: Option<LabelSelector>,
    /// Sent to the API server with every list and watch.
    pub field_selector: FieldSelector,
    /// Secrets that are read by their names, each once in each cluster.
    pub secrets: Vec<NamedSecret>,
    /// Nothing is listed: `secrets` are named, and `label_selectors` are not given.
    pub only_named: bool,
    /// Secrets of a cluster that belong to other exporters are not read.
    pub shard: Option<Shard>,
    /// Globs of files that hold tokens, relative to the working directory.
    pub files: Vec<FileGlob>,
    /// How far links may lead in `files` and `manifests`: `follow_links_outside`.
    pub links: Links,
    /// Globs of files that hold Secret manifests, relative to the working directory.
    pub manifests: Vec<FileGlob>,
    /// How tokens are read: `claims`, `max_tokens_per_secret`, `max_series_per_token`, `secret_labels`, `namespace_labels`,
    /// `claim_labels`, `token_series`, and what is dropped and hashed of all that.
    pub reading: Reading,
    /// What `reading` leaves out, by name, for people: `drop_labels`.
    pub dropped: Vec<String>,
    /// What it shows as pseudonyms: `hash_labels`.
    pub hashed: Vec<String>,
    /// Series of one of the reference's families, in all.
    pub max_series: usize,
    /// What tokens are held against; no two have the same name.
    pub logins: Vec<Login>,
    /// Tokens that are renewed before they expire.
    pub renewals: Vec<Renewal>,
    /// Whether there is a page for people at `/`.
    pub status_page: bool,
}

impl Config {
    /// The clusters that are read: `None` for the one that there is without `contexts`.
    pub fn clusters(&self) -> impl Iterator<Item = Option<&str>> {
        let contexts = self.contexts.iter().map(|context| Some(context.as_str()));
        let clusters = contexts.chain(self.contexts.is_empty().then_some(None));
        clusters.take(if self.kubernetes { usize::MAX } else { 0 })
    }

    /// The Secrets that are named in one of the [`clusters`](Self::clusters).
    pub fn secrets_in(&self, cluster: Option<&str>) -> impl Iterator<Item = &NamedSecret> {
        self.secrets.iter().filter(move |named| named.context.as_deref() == cluster)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: ListenAddress { host: ListenHost::Any, port: 8080 },
            label_selectors: vec![LabelSelector::equals("monitor.jwt.io/monitoring", "true")],
            polling_interval: Duration::from_secs(3600),
            kubeconfig_path: None,
            contexts: Vec::new(),
            annotation_key: "jwt-exporter/secret-key".to_owned(),
            kubernetes: true,
            watch: true,
            namespaces: Vec::new(),
            exclude_namespaces: Vec::new(),
            namespace_selector: None,
            field_selector: FieldSelector::default(),
            secrets: Vec::new(),
            only_named: false,
            shard: None,
            files: Vec::new(),
            links: Links::Inside,
            manifests: Vec::new(),
            reading: Reading::new(
                ClaimPaths::default(),
                Bounds { max_tokens_per_secret: 32, max_series_per_token: 100 },
            ),
            dropped: Vec::new(),
            hashed: Vec::new(),
            max_series: 250_000,
            logins: Vec::new(),
            renewals: Vec::new(),
            status_page: true,
        }
    }
}
