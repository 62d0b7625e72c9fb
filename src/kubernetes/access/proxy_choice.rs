//! Which proxy the environment asks for, if any.
//!
//! `HTTPS_PROXY` for `https` servers, `HTTP_PROXY` for `http` ones, `ALL_PROXY` where they are not set; in capitals or not,
//! capitals first. `NO_PROXY` lists what is reached directly, with the rules of Go's programs
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy>), between commas or white space:
//!
//! | entry | spares |
//! | --- | --- |
//! | `*` | everything |
//! | `10.0.0.1`, `fd00::1`, `[fd00::1]` | the address |
//! | `10.0.0.0/8`, `fd00::/8` | the addresses of the network |
//! | `example.com` | the name and every name below it |
//! | `.example.com`, `*.example.com` | every name below it |
//! | any of the others but a network, and `:port` | the same at that port |
//!
//! `localhost` and loopback addresses are always reached directly.

use crate::http_client::{BaseUrl, Proxy, ProxyUrlError};
use std::fmt;
use std::net::IpAddr;

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
    server: &BaseUrl,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, ProxyChoiceError> {
    let variables = if server.is_https() {
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    } else {
        ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
    };
    let filled = |variable: &str| environment(variable).filter(|value| !value.trim().is_empty());
    let Some((variable, url)) = variables.iter().find_map(|variable| Some((*variable, filled(variable)?))) else {
        return Ok(None);
    };
    let no_proxy = filled("NO_PROXY").or_else(|| filled("no_proxy")).unwrap_or_default();
    if is_loopback(server.host()) || is_spared(&no_proxy, server.host(), server.port()) {
        return Ok(None);
    }
    Proxy::parse(&url).map(Some).map_err(|error| ProxyChoiceError { variable: variable.to_owned(), error })
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|address| address.is_loopback())
}

fn is_spared(no_proxy: &str, host: &str, port: u16) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = address(&host);
    no_proxy
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .any(|entry| spares(&entry.to_ascii_lowercase(), &host, address, port))
}

fn spares(entry: &str, host: &str, host_address: Option<IpAddr>, host_port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return match (address(network), bits.parse(), host_address) {
            (Some(network), Ok(bits), Some(host)) => is_in_network(host, network, bits),
            _ => false,
        };
    }
    let (name, port) = split_port(entry);
    if port.is_some_and(|port| port != host_port.to_string()) {
        return false;
    }
    if let Some(entry) = address(name) {
        return host_address == Some(entry);
    }
    if host_address.is_some() {
        return false;
    }
    let name = name.trim_end_matches('.');
    match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(parent) => is_below(host, parent),
        None => host == name || is_below(host, name),
    }
}

/// Whether `host` is a name below `parent`, at a dot.
fn is_below(host: &str, parent: &str) -> bool {
    !parent.is_empty() && host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// An address, in brackets or without; one of IPv4 written as IPv6 is the IPv4 address.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Splits `:port` off; the colons of a bare IPv6 address are its own.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if address(entry).is_some() {
        return (entry, None);
    }
    match entry.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (entry, None),
    }
}

fn is_in_network(host: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => {
            bits <= 32 && (u32::from(host) ^ u32::from(network)).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(host), IpAddr::V6(network)) => {
            bits <= 128 && (u128::from(host) ^ u128::from(network)).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(server: &str, variables: &[(&str, &str)]) -> Option<String> {
        let environment =
            |name: &str| variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
        choose(&BaseUrl::parse(server).unwrap(), &environment).unwrap().map(|proxy| proxy.to_string())
    }

    #[test]
    fn each_scheme_has_its_variable() {
        let all = [
            ("HTTPS_PROXY", "http://secure:1"),
            ("HTTP_PROXY", "http://plain:1"),
            ("ALL_PROXY", "socks5://all:1"),
            ("https_proxy", "http://small:1"),
        ];
        assert_eq!(chosen("https://k8s.example", &all).unwrap(), "http://secure:1");
        assert_eq!(chosen("http://k8s.example", &all).unwrap(), "http://plain:1");
        assert_eq!(chosen("https://k8s.example", &[("HTTPS_PROXY", ""), all[3]]).unwrap(), "http://small:1");
        assert_eq!(chosen("https://k8s.example", &all[1..3]).unwrap(), "socks5://all:1");
        assert_eq!(chosen("https://k8s.example", &[]), None);
    }

    #[test]
    fn loopback_needs_no_proxy() {
        for server in ["https://localhost:6443", "https://127.0.0.1", "https://[::1]:6443"] {
            assert_eq!(chosen(server, &[("HTTPS_PROXY", "http://p")]), None, "{server}");
        }
    }

    #[test]
    fn a_wrong_url_names_its_variable_and_not_its_value() {
        let environment = |name: &str| (name == "https_proxy").then(|| "gopher://u:secret@p".to_owned());
        let error = choose(&BaseUrl::https("k8s.example", 443), &environment).unwrap_err().to_string();
        assert!(error.starts_with("environment variable https_proxy: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn no_proxy_spares() {
        for (no_proxy, server) in [
            ("*", "https://anything"),
            ("a, b ,k8s.example", "https://k8s.example"),
            ("a b\tK8S.example", "https://k8s.EXAMPLE"),
            ("example", "https://k8s.example"),
            (".example", "https://k8s.example"),
            ("*.example", "https://api.k8s.example"),
            ("example.", "https://k8s.example"),
            ("k8s.example:6443", "https://k8s.example:6443"),
            (".example:6443", "https://k8s.example:6443"),
            ("10.0.0.1", "https://10.0.0.1:6443"),
            ("10.0.0.1:6443", "https://10.0.0.1:6443"),
            ("10.0.0.0/8", "https://10.200.3.4"),
            ("0.0.0.0/0", "https://10.200.3.4"),
            ("10.1.2.3/32", "https://10.1.2.3"),
            ("fd00::/8", "https://[fd12::1]:6443"),
            ("fd00::1", "https://[fd00::1]:6443"),
            ("[fd00::1]", "https://[fd00::1]:6443"),
            ("[fd00::1]:6443", "https://[fd00:0::1]:6443"),
            ("::ffff:10.0.0.1", "https://10.0.0.1"),
        ] {
            let variables = [("HTTPS_PROXY", "http://p"), ("NO_PROXY", no_proxy)];
            assert_eq!(chosen(server, &variables), None, "{no_proxy} {server}");
        }
    }

    #[test]
    fn no_proxy_does_not_spare() {
        for (no_proxy, server) in [
            (",", "https://k8s.example"),
            ("s.example", "https://k8s.example"),
            (".k8s.example", "https://k8s.example"),
            ("*.k8s.example", "https://k8s.example"),
            ("k8s.example:443", "https://k8s.example:6443"),
            ("k8s.example:", "https://k8s.example:6443"),
            (".", "https://k8s.example"),
            ("*.", "https://k8s.example"),
            ("10.0.0.0/33", "https://10.0.0.1"),
            ("10.0.0.0/x", "https://10.0.0.1"),
            ("10.0.0.0/16", "https://10.1.0.1"),
            ("fd00::/16", "https://[fd01::1]"),
            ("10.0.0.0/8", "https://[fd01::1]"),
            ("0.0.0.1", "https://10.0.0.1"),
            ("1", "https://10.0.0.1"),
            ("k8s.*", "https://k8s.example"),
        ] {
            let variables = [("HTTPS_PROXY", "http://p"), ("no_proxy", no_proxy)];
            assert!(chosen(server, &variables).is_some(), "{no_proxy} {server}");
        }
    }
}
