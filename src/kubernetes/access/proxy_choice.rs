//! Which proxy the environment asks for, if any.

use crate::http_client::{BaseUrl, Proxy, ProxyUrlError};
use std::fmt;

/// A proxy variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyChoiceError {
    /// The variable.
    pub variable: String,
    /// What is wrong with its value.
    pub error: ProxyUrlError,
}

impl fmt::Display for ProxyChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "environment variable {}: {}", self.variable, self.error)
    }
}

impl std::error::Error for ProxyChoiceError {}

/// The proxy for a server; `None` for a direct connection.
///
/// # Errors
/// If the variable that counts holds no URL of a proxy.
pub fn choose(
    _server: &BaseUrl,
    _environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, ProxyChoiceError> {
    Ok(None)
}
