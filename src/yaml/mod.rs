//! The one door to the YAML crate.
//!
//! `serde_yaml` reads the operator's own files (configuration, kubeconfig, manifests) and kubeconfigs in Secrets. Behind this module it can be
//! replaced by a maintained fork with one line of Cargo.toml.
//!
//! - [`parse`]: one document as a type that derives `Deserialize`;
//! - [`documents`]: the documents of a stream, each with the line where it begins;
//! - [`seeded`]: one document of any shape;
//! - [`Node`] and [`locate`]: one document as a tree, and where in the text a part of it stands.
//!
//! All of them bound what they build: 128 levels, and aliases that unfold to ten times the text. [`seeded`] bounds the work
//! too, for documents that are not the operator's own. The length of the text is for the caller to bound.

mod documents;
mod node;
mod unfold;

pub use documents::{Document, documents};
pub use node::{MAX_NODES, Node, Step, locate};

use serde::de::{DeserializeOwned, DeserializeSeed};
use std::fmt;

/// Why a text is not the YAML that was asked for. `message` may quote scalars of the text: whoever reads a file that holds
/// credentials shows [`line`](Self::line) alone.
#[derive(Debug)]
pub struct YamlError {
    /// 1-based; `None` where the parser cannot tell.
    pub line: Option<usize>,
    /// 1-based; `None` where the parser cannot tell.
    pub column: Option<usize>,
    /// The parser's words, its position included.
    pub message: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for YamlError {}

impl From<serde_yaml::Error> for YamlError {
    fn from(error: serde_yaml::Error) -> Self {
        let at = error.location();
        Self {
            line: at.as_ref().map(serde_yaml::Location::line),
            column: at.as_ref().map(serde_yaml::Location::column),
            message: error.to_string(),
        }
    }
}

/// Reads one document. More than one is an error.
///
/// # Errors
/// What the text lacks to be a `T`.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    unfold::check(text)?;
    serde_yaml::from_str(text).map_err(YamlError::from)
}

/// Reads one document of any shape through `seed`. The text may be by strangers: one that would take long to read is refused
/// unread.
///
/// # Errors
/// As [`parse`], and where there are too many brackets for the length.
pub fn seeded<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Result<S::Value, YamlError> {
    unfold::check_work(text)?;
    seeded_by_operator(text, seed)
}

fn seeded_by_operator<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Result<S::Value, YamlError> {
    unfold::check(text)?;
    seed.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(YamlError::from)
}
