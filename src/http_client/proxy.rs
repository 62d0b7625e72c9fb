//! Proxies: `CONNECT` over HTTP or HTTPS (RFC 9110, section 9.3.6), SOCKS 5 (RFC 1928, RFC 1929).
//!
//! Every target is reached through a tunnel, those without TLS too. The proxy looks the target's name up.

use crate::redacted::Redacted;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::IpAddr;

use super::base_url::{host_and_port, split_host_port};
use super::error::HttpError;

/// Longest answer to `CONNECT` that is read, head only.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// A proxy, and what it wants to know of us. Its `Display` has no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    pub(super) kind: ProxyKind,
    pub(super) host: String,
    pub(super) port: u16,
    credentials: Option<(String, Redacted)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyKind {
    Http,
    Https,
    Socks5,
}

/// What is wrong with the URL of a proxy. It does not quote it, since a password may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyUrlError {
    /// A scheme that is not supported.
    Scheme,
    /// No host, or a wrong port.
    Authority,
    /// User name or password is not percent-encoded UTF-8, or longer than 255 bytes.
    Credentials,
}

impl fmt::Display for ProxyUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the proxy's URL must begin with http://, https://, socks5:// or socks5h://",
            Self::Authority => "the proxy's URL has no host, or its port is no number between 1 and 65535",
            Self::Credentials => {
                "user name and password in the proxy's URL must be percent-encoded UTF-8 of at most 255 bytes"
            }
        })
    }
}

impl std::error::Error for ProxyUrlError {}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Https => "https",
            ProxyKind::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}", host_and_port(&self.host, self.port))
    }
}

impl Proxy {
    /// Reads `scheme://[user[:password]@]host[:port]`; without a scheme it is an HTTP proxy, as everywhere.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, ProxyUrlError> {
        let (scheme, rest) = url.trim().split_once("://").unwrap_or(("http", url.trim()));
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            _ => return Err(ProxyUrlError::Scheme),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user_info, authority) = match authority.rsplit_once('@') {
            Some((user_info, authority)) => (Some(user_info), authority),
            None => (None, authority),
        };
        let (host, port) = split_host_port(authority).ok_or(ProxyUrlError::Authority)?;
        if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
            return Err(ProxyUrlError::Authority);
        }
        let credentials = user_info
            .map(|user_info| {
                let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
                let decoded = |text| percent_decoded(text).filter(|text| text.len() <= 255);
                Some((decoded(user)?, Redacted::new(decoded(password)?)))
            })
            .map(|credentials| credentials.ok_or(ProxyUrlError::Credentials))
            .transpose()?;
        Ok(Self { kind, host: host.to_owned(), port: port.unwrap_or(default_port), credentials })
    }

    /// Whether the proxy itself is reached over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.kind == ProxyKind::Https
    }

    /// Asks the proxy at the other end of `stream` for a tunnel to `host:port`. When this returns, `stream` is the tunnel.
    pub(super) fn open_tunnel(&self, stream: &mut (impl Read + Write), host: &str, port: u16) -> Result<(), HttpError> {
        match self.kind {
            ProxyKind::Http | ProxyKind::Https => self.connect_http(stream, host, port),
            ProxyKind::Socks5 => self.connect_socks(stream, host, port),
        }
    }

    fn connect_http(&self, stream: &mut (impl Read + Write), host: &str, port: u16) -> Result<(), HttpError> {
        let target = host_and_port(host, port);
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some((user, password)) = &self.credentials {
            let encoded = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
            head.push_str(&format!("Proxy-Authorization: Basic {encoded}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).map_err(|error| self.io(error))?;
        stream.flush().map_err(|error| self.io(error))?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") && !answer.ends_with(b"\n\n") {
            if answer.len() == MAX_ANSWER_BYTES {
                return Err(self.failed("its answer to CONNECT does not end".to_owned()));
            }
            answer.push(self.read::<1>(stream)?[0]);
        }
        let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_ascii_whitespace();
        let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !version.starts_with("HTTP/1.") {
            return Err(self.failed("its answer to CONNECT is not HTTP; is it an HTTP proxy?".to_owned()));
        }
        match status {
            status if status.starts_with('2') => Ok(()),
            "407" if self.credentials.is_some() => {
                Err(self
                    .failed("it refuses our user name and password (407); correct them in the proxy's URL".to_owned()))
            }
            "407" => {
                Err(self.failed("it wants a user name and password (407); put them into the proxy's URL".to_owned()))
            }
            status => {
                let status: String = status.chars().filter(char::is_ascii_digit).take(3).collect();
                Err(self
                    .failed(format!("it refuses a tunnel to {target} (status {status}); is the target allowed there?")))
            }
        }
    }

    fn connect_socks(&self, stream: &mut (impl Read + Write), host: &str, port: u16) -> Result<(), HttpError> {
        const NO_LOGIN: u8 = 0;
        const PASSWORD: u8 = 2;
        let greeting: &[u8] = if self.credentials.is_some() { &[5, 2, NO_LOGIN, PASSWORD] } else { &[5, 1, NO_LOGIN] };
        self.send(stream, greeting)?;
        let [version, method] = self.read::<2>(stream)?;
        if version != 5 {
            return Err(self.failed("it does not speak SOCKS 5".to_owned()));
        }
        match (method, &self.credentials) {
            (NO_LOGIN, _) => {}
            (PASSWORD, Some((user, password))) => {
                let mut login = vec![1];
                for text in [user.as_str(), password.expose()] {
                    login.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                    login.extend_from_slice(text.as_bytes());
                }
                self.send(stream, &login)?;
                if self.read::<2>(stream)?[1] != 0 {
                    return Err(self.failed("it refuses our user name and password".to_owned()));
                }
            }
            _ => return Err(self.failed("it wants a user name and password; put them into the proxy's URL".to_owned())),
        }
        let mut request = vec![5, 1, 0];
        match host.parse() {
            Ok(IpAddr::V4(address)) => {
                request.push(1);
                request.extend(address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                request.push(4);
                request.extend(address.octets());
            }
            Err(_) => {
                let length =
                    u8::try_from(host.len()).map_err(|_| self.failed("the host's name is too long".to_owned()))?;
                request.extend([3, length]);
                request.extend(host.as_bytes());
            }
        }
        request.extend(port.to_be_bytes());
        self.send(stream, &request)?;
        let [_, reply, _, kind] = self.read::<4>(stream)?;
        if reply != 0 {
            let words = match reply {
                2 => "its rules do not allow it",
                3 => "the network cannot be reached",
                4 => "the host cannot be reached",
                5 => "the connection is refused",
                _ => "it failed",
            };
            return Err(self.failed(format!("no tunnel to {}: {words} (reply {reply})", host_and_port(host, port))));
        }
        // The address that the proxy uses for us; nobody needs it.
        let length = match kind {
            1 => 4,
            4 => 16,
            3 => usize::from(self.read::<1>(stream)?[0]),
            _ => return Err(self.failed("it does not speak SOCKS 5".to_owned())),
        };
        for _ in 0..length + 2 {
            self.read::<1>(stream)?;
        }
        Ok(())
    }

    fn send(&self, stream: &mut impl Write, bytes: &[u8]) -> Result<(), HttpError> {
        stream.write_all(bytes).and_then(|()| stream.flush()).map_err(|error| self.io(error))
    }

    fn read<const N: usize>(&self, stream: &mut impl Read) -> Result<[u8; N], HttpError> {
        let mut bytes = [0; N];
        stream.read_exact(&mut bytes).map_err(|error| self.io(error))?;
        Ok(bytes)
    }

    fn io(&self, error: io::Error) -> HttpError {
        match HttpError::from_io(error) {
            HttpError::CutOff => self.failed("it closed the connection".to_owned()),
            HttpError::BadAnswer { cause } => self.failed(cause),
            other => other,
        }
    }

    pub(super) fn failed(&self, cause: String) -> HttpError {
        HttpError::Proxy { proxy: self.to_string(), cause }
    }
}

/// `None` if a percent sign is not followed by two hex digits, or the result is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies() {
        for (url, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("proxy:8080/", "http://proxy:8080"),
            ("https://u:p%40ss@proxy", "https://proxy:443"),
            ("socks5h://[::1]:9050", "socks5://[::1]:9050"),
            ("socks5://10.0.0.1", "socks5://10.0.0.1:1080"),
        ] {
            assert_eq!(Proxy::parse(url).unwrap().to_string(), shown, "{url}");
        }
        let proxy = Proxy::parse("http://us%20er:p%40ss%3a@proxy").unwrap();
        assert_eq!(proxy.credentials, Some(("us er".into(), Redacted::new("p@ss:".into()))));
        assert!(!format!("{proxy:?}").contains("p@ss"));
    }

    #[test]
    fn what_is_no_url_of_a_proxy() {
        for (url, error) in [
            ("socks4://p", ProxyUrlError::Scheme),
            ("ftp://p", ProxyUrlError::Scheme),
            ("", ProxyUrlError::Authority),
            ("http://:3128", ProxyUrlError::Authority),
            ("http://p:0", ProxyUrlError::Authority),
            ("http://a b", ProxyUrlError::Authority),
            ("http://u:%zz@p", ProxyUrlError::Credentials),
        ] {
            assert_eq!(Proxy::parse(url), Err(error), "{url}");
        }
    }

    /// The other side, as it was rehearsed.
    struct Scripted<'a> {
        says: &'a [u8],
        heard: Vec<u8>,
    }

    impl Read for Scripted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.says.read(buffer)
        }
    }

    impl Write for Scripted<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.heard.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn tunnel(proxy: &str, says: &[u8], host: &str) -> (Result<(), String>, Vec<u8>) {
        let mut stream = Scripted { says, heard: Vec::new() };
        let result = Proxy::parse(proxy).unwrap().open_tunnel(&mut stream, host, 443);
        let left = stream.says.len();
        let result = result.map(|()| assert_eq!(left, 0, "what follows the answer is the tunnel's")).map_err(|error| {
            let HttpError::Proxy { cause, .. } = error else { panic!("{error:?}") };
            cause
        });
        (result, stream.heard)
    }

    #[test]
    fn socks_sends_addresses_as_addresses_and_names_as_names() {
        let greeting: &[u8] = &[5, 1, 0];
        for (host, request) in [
            ("10.0.0.1", &[5, 1, 0, 1, 10, 0, 0, 1, 1, 187][..]),
            ("::1", &[5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 187]),
            ("k8s", b"\x05\x01\x00\x03\x03k8s\x01\xbb"),
        ] {
            for bound in [&[1, 0, 0, 0, 0, 0, 0][..], &[4; 19], b"\x03\x02ab\x00\x00"] {
                let says = [&[5, 0, 5, 0, 0], bound].concat();
                let (result, heard) = tunnel("socks5://p", &says, host);
                assert_eq!((result, heard), (Ok(()), [greeting, request].concat()), "{host}");
            }
        }
    }

    #[test]
    fn what_a_socks_proxy_refuses_is_named() {
        let long = "x".repeat(256);
        for (proxy, says, host, words) in [
            ("socks5://p", &[4, 0][..], "h", "it does not speak SOCKS 5"),
            ("socks5://p", &[5, 255], "h", "it wants a user name and password"),
            ("socks5://p", &[5, 2], "h", "it wants a user name and password"),
            ("socks5://u:p@p", &[5, 2, 1, 1], "h", "it refuses our user name and password"),
            ("socks5://p", &[5, 0, 5, 2, 0, 1], "h", "no tunnel to h:443: its rules do not allow it (reply 2)"),
            ("socks5://p", &[5, 0, 5, 0, 0, 9], "h", "it does not speak SOCKS 5"),
            ("socks5://p", &[5, 0, 5], "h", "it closed the connection"),
            ("socks5://p", &[5, 0], long.as_str(), "the host's name is too long"),
            ("http://p", &[b'x'; 20_000], "h", "its answer to CONNECT does not end"),
        ] {
            let cause = tunnel(proxy, says, host).0.unwrap_err();
            assert!(cause.starts_with(words), "{cause}");
        }
    }
}
