//! The address of a server: scheme, host, port and a path in front of every request's own.

use std::fmt;
use std::net::IpAddr;

/// `https://host:port/prefix`, checked. The prefix is empty or begins with a slash and does not end with one: Rancher and
/// other gateways serve an API server below a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    https: bool,
    host: String,
    port: u16,
    prefix: String,
}

/// What is wrong with the text of a URL. It never quotes the text: a URL may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseUrlError {
    /// Not a URL at all.
    Syntax,
    /// Neither `http` nor `https`.
    Scheme,
    /// User name or password in the URL: credentials have their own keys.
    UserInfo,
    /// No host.
    Host,
    /// The port is no number between 1 and 65535.
    Port,
    /// `?query` or `#fragment`.
    Query,
}

impl fmt::Display for BaseUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not a URL such as https://10.0.0.1:6443",
            Self::Scheme => "the URL must begin with https:// or http://",
            Self::UserInfo => "the URL must not hold a user name or password",
            Self::Host => "the URL has no host",
            Self::Port => "the URL's port is no number between 1 and 65535",
            Self::Query => "the URL must not have a query or a fragment",
        })
    }
}

impl std::error::Error for BaseUrlError {}

impl BaseUrl {
    /// An `https` server at the root of `host`; an IPv6 address may stand in brackets or without.
    #[must_use]
    pub fn https(host: &str, port: u16) -> Self {
        Self { https: true, host: without_brackets(host).to_owned(), port, prefix: String::new() }
    }

    /// Reads a URL. A text without a scheme is taken as `http://`, as kubectl takes it.
    ///
    /// # Errors
    /// What keeps it from being the address of a server.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let text = text.trim();
        if text.contains(['?', '#']) {
            return Err(BaseUrlError::Query);
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(BaseUrlError::Scheme),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(BaseUrlError::UserInfo);
        }
        let (host, port) = split_host_port(authority).ok_or(BaseUrlError::Port)?;
        let port = port.unwrap_or(if https { 443 } else { 80 });
        if host.is_empty() {
            return Err(BaseUrlError::Host);
        }
        let prefix = path.trim_end_matches('/').to_owned();
        let url = Self { https, host: host.to_owned(), port, prefix };
        url.join("/").parse::<ureq::http::Uri>().map_err(|_| BaseUrlError::Syntax)?;
        Ok(url)
    }

    /// The URL of a path, which begins with a slash and may carry an encoded query.
    #[must_use]
    pub fn join(&self, path_and_query: &str) -> String {
        format!("{}://{}{}{path_and_query}", self.scheme(), self.authority(), self.prefix)
    }

    /// `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Whether requests go over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host; an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn authority(&self) -> String {
        host_and_port(&self.host, self.port)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.prefix)
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// An IPv6 address as it stands in a URL, without its brackets.
pub(super) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; `None` if the port or the brackets are wrong.
pub(super) fn split_host_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(nonzero(port)?))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    match authority.rsplit_once(':') {
        // Several colons without brackets: an IPv6 address that nobody bracketed, or nonsense.
        Some((host, _)) if host.contains(':') => authority.parse::<IpAddr>().ok().map(|_| (authority, None)),
        Some((host, port)) => Some((host, Some(nonzero(port)?))),
        None => Some((authority, None)),
    }
}

fn nonzero(port: &str) -> Option<u16> {
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    port.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers() {
        for (text, shown) in [
            ("https://10.0.0.1:6443", "https://10.0.0.1:6443"),
            ("https://[fd00::1]:6443/", "https://[fd00::1]:6443"),
            ("https://[::1]", "https://[::1]:443"),
            ("HTTPS://rancher.example/k8s/clusters/c-1/", "https://rancher.example:443/k8s/clusters/c-1"),
            ("localhost:8080", "http://localhost:8080"),
            (" http://h ", "http://h:80"),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(BaseUrl::https("fd00::1", 443).join("/api?x=y"), "https://[fd00::1]:443/api?x=y");
        assert_eq!(BaseUrl::https("[fd00::1]", 443).host(), "fd00::1");
    }

    #[test]
    fn what_is_no_url_of_a_server() {
        for (text, error) in [
            ("", BaseUrlError::Host),
            ("https://", BaseUrlError::Host),
            ("ftp://x", BaseUrlError::Scheme),
            ("https://u:p@h", BaseUrlError::UserInfo),
            ("https://h:0", BaseUrlError::Port),
            ("https://h:99999", BaseUrlError::Port),
            ("https://h:+1", BaseUrlError::Port),
            ("https://[::1", BaseUrlError::Port),
            ("https://h/?a", BaseUrlError::Query),
            ("https://h h", BaseUrlError::Syntax),
            ("https://h/a b", BaseUrlError::Syntax),
        ] {
            assert_eq!(BaseUrl::parse(text), Err(error), "{text}");
        }
    }
}
