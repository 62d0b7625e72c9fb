//! Refusals: the `Status` object that comes with a bad status code, and what an operator can do about it.
//! Source: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>

use crate::http_client::Response;
use crate::log::escape;
use crate::redacted::Redacted;
use crate::time::UnixSeconds;
use serde::Deserialize;
use std::borrow::Cow;
use std::io::Read;
use std::time::{Duration, Instant};

use super::request::{ApiRequest, Verb};
use super::request_error::{Reason, RequestError};

/// No more of a refusal is read.
const MAX_BYTES: usize = 64 << 10;
/// Nor is a refusal waited for any longer.
const MAX_TIME: Duration = Duration::from_secs(10);
/// No more of the server's words is shown, in characters.
const MAX_MESSAGE: usize = 512;
/// A server may ask for this much patience and no more.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// The members of a `Status` that say something.
#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
    details: Option<Details>,
}

#[derive(Debug, Deserialize)]
struct Details {
    #[serde(rename = "retryAfterSeconds")]
    retry_after_seconds: Option<u64>,
}

/// `list secrets in namespace "a"`, `watch secrets in the whole cluster`.
pub(super) fn what(verb: Verb, resource: &str, path: &str) -> String {
    match namespace(path) {
        Some(namespace) => format!("{verb} {resource} in namespace \"{namespace}\""),
        None => format!("{verb} {resource} in the whole cluster"),
    }
}

/// The namespace that a path is about: `namespaces/NAME` itself, which the API server counts as in it, and what is below.
fn namespace(path: &str) -> Option<&str> {
    let path = path.split('?').next().unwrap_or_default();
    let (_, rest) = path.split_once("/namespaces/")?;
    rest.split('/').next()
}

/// What a response says that is no success. `authorization` is what was sent, should the server's words repeat it.
pub(super) fn refusal(
    request: &ApiRequest<'_>,
    what: &str,
    server: &str,
    response: Response,
    authorization: Option<&Redacted>,
) -> RequestError {
    let code = response.status;
    let reason = Reason::of_status(code);
    let mut retry_after = response.retry_after(UnixSeconds::now());
    let location = response.header("location").map(host_of);
    let mut response = response;
    let body = read_bounded(&mut response.body);
    let status: Status = serde_json::from_slice(&body).unwrap_or_default();
    if retry_after.is_none() {
        retry_after = status.details.and_then(|details| details.retry_after_seconds).map(Duration::from_secs);
    }
    let mut message = format!("{what} at {server}: status {code}");
    if !status.message.is_empty() {
        message.push_str(": ");
        message.push_str(&shown(&without(&status.message, authorization), MAX_MESSAGE));
    }
    if let Some(advice) = advice(reason, request, location.as_deref()) {
        message.push_str("; ");
        message.push_str(&advice);
    }
    RequestError::new(reason, message).with_status(code, retry_after)
}

/// Reads a body that is no more than a remark: bounded in size and, in case it trickles, in time. What cannot be read is left
/// out; the status code says enough.
pub(super) fn read_bounded(body: &mut impl Read) -> Vec<u8> {
    let started = Instant::now();
    let mut read = Vec::new();
    let mut buffer = [0; 4 << 10];
    while read.len() < MAX_BYTES && started.elapsed() < MAX_TIME {
        match body.read(&mut buffer) {
            Ok(length @ 1..) => read.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            _ => break,
        }
    }
    read
}

fn advice(reason: Reason, request: &ApiRequest<'_>, location: Option<&str>) -> Option<String> {
    match reason {
        Reason::Unauthorized => Some(
            "the server does not know our credentials: are they expired, revoked, or those of another cluster?"
                .to_owned(),
        ),
        Reason::Forbidden => {
            let (resource, verb) = (request.resource, request.verb);
            let group = api_group(&request.path);
            let role = match namespace(&request.path) {
                Some(namespace) => format!("a Role in namespace \"{namespace}\", or a ClusterRole,"),
                None => "a ClusterRole".to_owned(),
            };
            Some(format!(
                "{role} bound to us needs the rule {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}"
            ))
        }
        Reason::NotFound if !matches!(request.verb, Verb::Get) => {
            Some("is this the API server, and is its URL complete?".to_owned())
        }
        Reason::Redirect => Some(match location {
            Some(location) => format!(
                "it points to {location}, but no redirects are followed with a token: name the right server in the kubeconfig"
            ),
            None => "no redirects are followed with a token: name the right server in the kubeconfig".to_owned(),
        }),
        _ => None,
    }
}

/// The API group of `/apis/GROUP/…`; the core group of `/api/…` has an empty name.
fn api_group(path: &str) -> &str {
    path.split_once("/apis/").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default()
}

/// Scheme and host of a `Location`: what follows may hold anything.
fn host_of(location: &str) -> String {
    let end = match location.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}")
        }
        None => "another path of the same server".to_owned(),
    };
    shown(&end, MAX_MESSAGE)
}

/// The server's words without our credentials: some servers and proxies repeat the request that they refuse.
fn without<'a>(words: &'a str, authorization: Option<&Redacted>) -> Cow<'a, str> {
    // `Bearer TOKEN`, `Basic BASE64`
    let credentials = authorization.map_or("", |header| header.expose());
    let credentials = credentials.split_once(' ').map_or(credentials, |(_, credentials)| credentials);
    if credentials.is_empty() || !words.contains(credentials) {
        return Cow::Borrowed(words);
    }
    Cow::Owned(words.replace(credentials, "…"))
}

/// Somebody else's words for people: the first `most` characters, in one line and harmless.
pub(super) fn shown(words: &str, most: usize) -> String {
    match words.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", escape(words.get(..end).unwrap_or_default())),
        None => escape(words).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for() {
        assert_eq!(what(Verb::List, "secrets", "/api/v1/secrets?limit=1"), "list secrets in the whole cluster");
        let one = what(Verb::Get, "secrets", "/api/v1/namespaces/a/secrets/b");
        assert_eq!(one, "get secrets in namespace \"a\"");
        let namespace = what(Verb::Get, "namespaces", "/api/v1/namespaces/a");
        assert_eq!(namespace, "get namespaces in namespace \"a\"");
        assert_eq!(what(Verb::List, "namespaces", "/api/v1/namespaces?x=/y/"), "list namespaces in the whole cluster");
        assert_eq!(api_group("/apis/authentication.k8s.io/v1/tokenreviews"), "authentication.k8s.io");
        assert_eq!(api_group("/api/v1/secrets"), "");
    }

    #[test]
    fn a_location_is_named_by_its_host_alone() {
        assert_eq!(host_of("https://user:pw@sso.example/login?token=x"), "https://sso.example");
        assert_eq!(host_of("/login"), "another path of the same server");
    }

    #[test]
    fn our_credentials_are_taken_out_of_the_servers_words() {
        let bearer = Redacted::new("Bearer abc.def".into());
        assert_eq!(without("no Bearer abc.def, no abc.def", Some(&bearer)), "no Bearer …, no …");
        assert_eq!(without("nothing", Some(&bearer)), "nothing");
        assert_eq!(without("nothing", None), "nothing");
        assert_eq!(without("a b", Some(&Redacted::new("Bearer ".into()))), "a b");
    }

    #[test]
    fn words_of_the_server_are_bounded_and_plain() {
        assert_eq!(shown("a\nb\u{202e}\x1b[31m", 9), "a\\nb\\u{202e}\\x1b[31m");
        assert_eq!(shown("é\u{200f}\u{61c}é", 3), "é\\u{200f}\\u{61c}…");
    }
}
