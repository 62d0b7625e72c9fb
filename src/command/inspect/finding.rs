//! Where in an input its tokens are: it is one, or carries some in lines, in a JSON document, a kubeconfig or Secret manifests.

use crate::jwt::{DecodeError, OpenedJwt, looks_like_jwt, without_decoration};
use crate::observation::{DocumentFault, search_document};
use crate::source::manifests::each_secret;
use std::ops::ControlFlow;

/// More tokens of one input are not shown.
const MOST: usize = 10_000;

/// A token, or what is in the place of one.
pub(super) struct Found {
    /// The file, and where in it: `file`, `file line 7`, `file /users/0/user/token`.
    pub(super) place: String,
    pub(super) result: Result<OpenedJwt, Unreadable>,
}

/// Why there is nothing to show.
#[derive(Debug)]
pub(super) enum Unreadable {
    Token(DecodeError),
    /// A text for people; no piece of the input is in it.
    Input(String),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(error) => error.fmt(f),
            Self::Input(reason) => f.write_str(reason),
        }
    }
}

impl Found {
    /// Both parts that can be read were.
    pub(super) fn is_decoded(&self) -> bool {
        self.result.as_ref().is_ok_and(|token| !matches!(token.claims, Some(Err(_))))
    }

    fn token(place: String, value: &[u8]) -> Self {
        Self { place, result: OpenedJwt::open(value).map_err(Unreadable::Token) }
    }
}

/// Everything that is in an input, at least one thing.
pub(super) fn find(name: &str, input: &[u8]) -> Vec<Found> {
    let value = without_decoration(input);
    let nothing = |reason: String| vec![Found { place: name.to_owned(), result: Err(Unreadable::Input(reason)) }];
    if value.is_empty() {
        return nothing("nothing is in it".to_owned());
    }
    if looks_like_jwt(value) {
        return vec![Found::token(name.to_owned(), value)];
    }
    let mut found = Vec::new();
    let text = std::str::from_utf8(value).ok();
    if let Some(text) = text {
        in_manifests(name, text, &mut found);
    }
    let mut fault = None;
    if found.is_empty() {
        fault = in_document(name, value, &mut found).err();
    }
    if found.is_empty()
        && let Some(text) = text
        && fault.is_some()
    {
        in_lines(name, text, &mut found);
    }
    found.truncate(MOST);
    if !found.is_empty() {
        return found;
    }
    match (fault, text) {
        (_, None) => nothing("it is binary, not text".to_owned()),
        (Some(fault @ (DocumentFault::Json { .. } | DocumentFault::Yaml { .. })), _) => nothing(fault.to_string()),
        // One word alone was meant to be a token.
        (_, Some(text)) if !text.contains(char::is_whitespace) && !text.starts_with(['{', '[']) => {
            vec![Found::token(name.to_owned(), value)]
        }
        _ => nothing("no token is in it".to_owned()),
    }
}

/// Manifests of Secrets: every value is decoded and searched.
fn in_manifests(name: &str, text: &str, found: &mut Vec<Found>) {
    if !text.contains("Secret") {
        return;
    }
    each_secret(text, &mut |secret| {
        let place = format!("{name} {}/{}", secret.namespace, secret.name);
        for (key, value) in secret.into_data() {
            let Some(bytes) = value.to_vec().map(zeroize::Zeroizing::new) else { continue };
            let (bare, place) = (without_decoration(&bytes), format!("{place}:{key}"));
            if looks_like_jwt(bare) {
                found.push(Found::token(place, bare));
            } else {
                // What is no document holds no token either.
                let _ = in_document_at(bare, found, |pointer| format!("{place}{pointer}"));
            }
        }
    });
}

fn in_document(name: &str, value: &[u8], found: &mut Vec<Found>) -> Result<(), DocumentFault> {
    in_document_at(value, found, |pointer| format!("{name} {pointer}"))
}

fn in_document_at(value: &[u8], found: &mut Vec<Found>, place: impl Fn(&str) -> String) -> Result<(), DocumentFault> {
    search_document(value, &mut |pointer, value| {
        found.push(Found::token(place(pointer), value));
        if found.len() > MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

/// The words of each line that begin as a token does, damaged or not.
fn in_lines(name: &str, text: &str, found: &mut Vec<Found>) {
    /// Shorter words, such as a name, are no tokens.
    const LEAST: usize = 12;
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '/');
    let one_line = text.lines().nth(1).is_none();
    for (number, line) in (1..).zip(text.lines()) {
        for word in line.split(|c: char| !is_of_token(c)) {
            let is_token = looks_like_jwt(word.as_bytes());
            if is_token || (word.starts_with("eyJ") && word.contains('.') && word.len() >= LEAST) {
                let place = if one_line { name.to_owned() } else { format!("{name} line {number}") };
                found.push(Found::token(place, word.as_bytes()));
            }
        }
        if found.len() > MOST {
            return;
        }
    }
}
