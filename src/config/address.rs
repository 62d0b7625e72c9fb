//! Where to listen, in the forms that Go's `net.Listen` knows.

use super::Expected;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A host and a port that a socket can be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The interfaces.
    pub host: ListenHost,
    /// 0: the system chooses one.
    pub port: u16,
}

/// Which interfaces to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenHost {
    /// `:8080`: every interface, IPv6 and IPv4 on one socket where the system has both.
    Any,
    /// `127.0.0.1:9100`, `[::1]:9100`.
    Ip(IpAddr),
    /// `localhost:9100`: resolved when the socket is bound. An IPv6 address with a zone (`fe80::1%eth0`) is one too.
    Name(String),
}

const FORMS: &str = "a host and a port such as :8080, 127.0.0.1:9100, [::1]:9100 or localhost:9100";

impl ListenAddress {
    /// Reads an address. Ports are numbers: the names that Go would look up (`:http`) are refused.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        if text.contains("://") {
            return Err(Expected::new(format!("{FORMS}, without a scheme")));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                Expected::new(format!("{FORMS} (a port alone is written :{text})"))
            } else {
                Expected::new(FORMS)
            });
        };
        let host = host_of(host)?;
        // `u16::from_str` would take a sign.
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Expected::new(format!("{FORMS}, the port a number from 0 to 65535")));
        }
        let port = port.parse().map_err(|_| Expected::new("a port from 0 to 65535 after the last colon"))?;
        Ok(Self { host, port })
    }
}

fn host_of(text: &str) -> Result<ListenHost, Expected> {
    if text.is_empty() {
        return Ok(ListenHost::Any);
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return in_brackets(inner);
    }
    if text.contains(':') {
        return Err(Expected::new(format!("{FORMS}, an IPv6 address in brackets")));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ListenHost::Ip(ip));
    }
    let digits_and_dots = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if digits_and_dots || name.len() > 253 || !name.split('.').all(label) {
        return Err(Expected::new(FORMS));
    }
    Ok(ListenHost::Name(text.to_owned()))
}

fn in_brackets(inner: &str) -> Result<ListenHost, Expected> {
    let expected = || Expected::new(format!("{FORMS}, with an IPv6 address between the brackets"));
    if let Some((ip, zone)) = inner.split_once('%') {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
        if ip.parse::<Ipv6Addr>().is_err() || zone.is_empty() || !zone.bytes().all(plain) {
            return Err(expected());
        }
        return Ok(ListenHost::Name(inner.to_owned()));
    }
    inner.parse::<Ipv6Addr>().map(|ip| ListenHost::Ip(ip.into())).map_err(|_| expected())
}

/// As it can be written in the configuration.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            ListenHost::Any => write!(f, ":{}", self.port),
            ListenHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            ListenHost::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            ListenHost::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            ListenHost::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str, port: u16) -> ListenAddress {
        ListenAddress { host: ListenHost::Ip(text.parse().unwrap()), port }
    }

    fn name(text: &str, port: u16) -> ListenAddress {
        ListenAddress { host: ListenHost::Name(text.to_owned()), port }
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        for (text, address) in [
            (":8080", ListenAddress { host: ListenHost::Any, port: 8080 }),
            (":0", ListenAddress { host: ListenHost::Any, port: 0 }),
            ("127.0.0.1:9100", ip("127.0.0.1", 9100)),
            ("0.0.0.0:65535", ip("0.0.0.0", 65535)),
            ("[::1]:9100", ip("::1", 9100)),
            ("[::]:9100", ip("::", 9100)),
            ("[fe80::1%eth0]:9100", name("fe80::1%eth0", 9100)),
            ("localhost:9100", name("localhost", 9100)),
            ("metrics.example.:80", name("metrics.example.", 80)),
            ("my_pod-0:80", name("my_pod-0", 80)),
        ] {
            assert_eq!(ListenAddress::parse(text), Ok(address.clone()), "{text}");
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address() {
        for text in [
            "",
            ":",
            "8080",
            "localhost",
            ":http",
            ":65536",
            ":+80",
            ":-1",
            ": 80",
            "::1:9100",
            "[::1]",
            "[::1]9100",
            "[127.0.0.1]:80",
            "[]:80",
            "[::1%]:80",
            "[::1%a b]:80",
            "256.0.0.1:80",
            "1.2.3:80",
            "http://localhost:80",
            "*:80",
            "a..b:80",
            "-a:80",
            "a b:80",
            "ä:80",
            ".:80",
        ] {
            assert!(ListenAddress::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_so_that_it_reads_the_same(text in "\\PC{0,20}|[a-z\\[\\]:.%0-9]{0,20}") {
            if let Ok(address) = ListenAddress::parse(&text) {
                prop_assert_eq!(ListenAddress::parse(&address.to_string()), Ok(address));
            }
        }
    }
}
