//! `token_bound_cidrs`: the addresses that a login may come from.

use super::settings::{Settings, SettingsError};
use core::net::IpAddr;

/// An address or a block of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    address: IpAddr,
    bits: u32,
}

impl Cidr {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all).then_some(Self { address, bits })
    }

    pub(super) fn contains(self, source: IpAddr) -> bool {
        let differ = |a: u128, b: u128, all: u32| self.bits > 0 && (a ^ b) >> (all - self.bits) != 0;
        match (self.address, source) {
            (IpAddr::V4(a), IpAddr::V4(b)) => !differ(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => !differ(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }

    /// `token_bound_cidrs`, or under its old name `bound_cidrs`.
    pub(super) fn list(settings: Settings<'_>) -> Result<Vec<Self>, SettingsError> {
        let mut texts = settings.list("token_bound_cidrs")?;
        if settings.get("token_bound_cidrs").is_none() {
            texts = settings.list("bound_cidrs")?;
        }
        let wrong = SettingsError::WrongType { field: "token_bound_cidrs", expected: "addresses or CIDR blocks" };
        texts.iter().map(|text| Self::parse(text)).collect::<Option<_>>().ok_or(wrong)
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
        ] {
            assert_eq!(Cidr::parse(block).unwrap().contains(source.parse().unwrap()), inside, "{block} {source}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "host", "10.0.0.0/-1", "10.0.0.0/"] {
            assert!(Cidr::parse(text).is_none(), "{text}");
        }
    }
}
