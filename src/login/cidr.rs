//! `token_bound_cidrs`: the addresses that a login may come from.

use super::settings::{Settings, SettingsError, refused};
use core::net::{IpAddr, SocketAddr};

/// What a login may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cidr {
    /// An address or a block of them.
    Block {
        /// Any of them.
        address: IpAddr,
        /// How many of its bits count.
        bits: u32,
    },
    /// What the servers take for the path of a Unix socket: anything else with a slash in it. No login comes from there.
    Socket,
}

impl Cidr {
    /// As `go-sockaddr` reads it: a block, an address with a port, an address, a path.
    fn parse(text: &str) -> Option<Self> {
        Self::block(text).or_else(|| {
            let is_path = text.len() > 1 && (text.starts_with('.') || text.contains('/'));
            is_path.then_some(Self::Socket)
        })
    }

    fn block(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => {
                let digits = bits.bytes().all(|byte| byte.is_ascii_digit());
                (address.parse().ok()?, Some(bits.parse().ok().filter(|_| digits)?))
            }
            None => {
                let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
                let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
                (text.parse().ok().or_else(with_port).or_else(in_brackets)?, None)
            }
        };
        let (address, all): (IpAddr, u32) = match address {
            IpAddr::V4(_) => (address, 32),
            IpAddr::V6(_) => (address, 128),
        };
        let bits = bits.unwrap_or(all);
        if bits > all {
            return None;
        }
        // An IPv4 address that is written as an IPv6 one is one of IPv4.
        match address {
            IpAddr::V6(long) => match (long.to_ipv4_mapped(), bits.checked_sub(96)) {
                (Some(short), Some(bits)) => Some(Self::Block { address: short.into(), bits }),
                _ => Some(Self::Block { address, bits }),
            },
            IpAddr::V4(_) => Some(Self::Block { address, bits }),
        }
    }

    pub(super) fn contains(self, source: IpAddr) -> bool {
        let Self::Block { address, bits } = self else { return false };
        let differ = |a: u128, b: u128, all: u32| bits > 0 && (a ^ b) >> (all - bits) != 0;
        match (address, source.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => !differ(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => !differ(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }

    /// `token_bound_cidrs`, or under its old name `bound_cidrs`.
    pub(super) fn list(settings: Settings<'_>) -> Result<Vec<Self>, SettingsError> {
        let new = settings.names("token_bound_cidrs");
        let field = if new { "token_bound_cidrs" } else { "bound_cidrs" };
        let texts = settings.list(field)?;
        let mut cidrs = Vec::new();
        for text in texts {
            match Self::parse(&text) {
                Some(cidr) => cidrs.push(cidr),
                None => {
                    let reason = format!("Unable to convert {text:?} to an IPv4 or IPv6 address, or a UNIX Socket");
                    return refused(field, format!("error parsing address {text:?}: {reason}"));
                }
            }
        }
        Ok(cidrs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_contain_addresses() {
        for (block, source, inside) in [
            ("127.0.0.0/8", "127.0.0.1", true),
            ("10.1.0.0/16", "127.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("::/0", "8.8.8.8", false),
            ("fd00::/8", "fd12::1", true),
            ("10.1.2.3/24", "10.1.2.200", true),
            ("10.1.2.3:80", "10.1.2.3", true),
            ("[fd00::1]:80", "fd00::1", true),
            ("[fd00::1]", "fd00::1", true),
            ("::ffff:10.1.0.0/112", "10.1.2.3", true),
            ("::ffff:10.1.2.3", "10.1.2.3", true),
            ("10.0.0.0/255.0.0.0", "10.0.0.1", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("/run/agent", "10.0.0.0", false),
        ] {
            assert_eq!(Cidr::parse(block).unwrap().contains(source.parse().unwrap()), inside, "{block} {source}");
        }
        for text in ["", "/", "host", "10.0.0", "10.0.0.256", "[10.0.0.1]", "[fd00::1", "10.0.0.1:x", "."] {
            assert!(Cidr::parse(text).is_none(), "{text}");
        }
    }
}
