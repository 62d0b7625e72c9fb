//! Key sets, from the URLs that a mount's config names. A token has no say in where they come from.

use super::fetch::{Ca, Environment, Failure, Server, json, origin};
use crate::jwt::jwk::JwkSet;
use crate::login::{Endpoint, KeySource, Keys};

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Whether there is anything to fetch.
pub(super) fn are_fetched(source: &KeySource) -> bool {
    !matches!(source, KeySource::Static(_) | KeySource::Provider(_))
}

/// Fetches all of them.
///
/// # Errors
/// Why not; one that [is unusable](Failure::is_unusable) would stop the mount's own server too.
pub(super) fn fetch(source: &KeySource, environment: &Environment) -> Result<Keys, Failure> {
    let sets = match source {
        KeySource::Static(_) | KeySource::Provider(_) => return Ok(Keys::Unavailable),
        KeySource::JwksUrl(endpoint) => vec![set(&endpoint.url, &endpoint.ca_pem, environment)?],
        KeySource::JwksPairs(endpoints) => {
            let set = |endpoint: &Endpoint| set(&endpoint.url, &endpoint.ca_pem, environment);
            endpoints.iter().map(set).collect::<Result<_, _>>()?
        }
        KeySource::Discovery(endpoint) => vec![discovered(endpoint, environment)?],
    };
    Ok(Keys::Sets(sets))
}

fn document(url: &str, ca_pem: &str, environment: &Environment) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
    let origin = origin(url).map_err(|error| Failure::unusable(format!("the URL of the keys: {error}")))?;
    Server::new(&origin, &Ca::of_pem(ca_pem), environment)?.get(url)
}

fn set(url: &str, ca_pem: &str, environment: &Environment) -> Result<JwkSet, Failure> {
    let read = JwkSet::parse(&document(url, ca_pem, environment)?);
    read.map_err(|fault| Failure::unusable(format!("the key set at {}: {fault}", shown(url))))
}

fn discovered(endpoint: &Endpoint, environment: &Environment) -> Result<JwkSet, Failure> {
    let url = format!("{}{WELL_KNOWN}", endpoint.url.strip_suffix('/').unwrap_or(&endpoint.url));
    let read = json(&document(&url, &endpoint.ca_pem, environment)?);
    let keys = super::answers::keys_url(read.as_ref(), &endpoint.url)
        .map_err(|fault| Failure::unusable(format!("{}: {fault}", shown(&url))))?;
    set(keys, &endpoint.ca_pem, environment)
}

/// A URL without its query.
fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
