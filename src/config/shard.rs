//! `shard`: which of several exporters this one is.

use super::{Expected, Lookup};
use crate::source::secrets::Shard;

/// What the key takes.
pub(super) const EXPECTED: &str = "a shard such as 0/3, or ordinal/3 in a StatefulSet";

/// More exporters have nothing left to share.
const MOST: u32 = 1_000;

/// `0/3`, or `ordinal/3`: then the number is the one that the host's name ends in, as a StatefulSet numbers its pods. Empty:
/// all Secrets belong to this exporter.
pub(super) fn parse(text: &str, lookup: Lookup<'_>) -> Result<Option<Shard>, Expected> {
    if text.is_empty() {
        return Ok(None);
    }
    let (index, count) = text.split_once('/').ok_or_else(|| Expected::new(EXPECTED))?;
    let count = number(count)
        .filter(|count| (1..=MOST).contains(count))
        .ok_or_else(|| Expected::new(format!("{EXPECTED}, with 1 to {MOST} shards behind the '/'")))?;
    if index != "ordinal" {
        let index = number(index).ok_or_else(|| Expected::new(EXPECTED))?;
        return Shard::new(index, count)
            .map(Some)
            .ok_or_else(|| Expected::new(format!("a shard from 0/{count} to {}/{count}", count - 1)));
    }
    let host = lookup("HOSTNAME").and_then(|name| name.into_string().ok()).unwrap_or_default();
    let ordinal = host.rsplit_once('-').and_then(|(_, ordinal)| number(ordinal)).ok_or_else(|| {
        Expected::new(format!("a host name that ends in a number, as those of a StatefulSet do, and not \"{host}\""))
    })?;
    Shard::new(ordinal, count)
        .map(Some)
        .ok_or_else(|| Expected::new(format!("more shards than the number of this pod, whose host name is \"{host}\"")))
}

/// Digits alone.
fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, host: Option<&str>) -> Result<String, String> {
        let lookup = |name: &str| host.filter(|_| name == "HOSTNAME").map(Into::into);
        let shard = parse(text, &lookup).map_err(|expected| expected.to_string())?;
        Ok(shard.map(|shard| shard.to_string()).unwrap_or_default())
    }

    #[test]
    fn a_number_or_that_of_the_pod() {
        for (text, host, shard) in [
            ("", None, ""),
            ("0/3", None, "0/3"),
            ("999/1000", None, "999/1000"),
            ("ordinal/3", Some("jwt-exporter-2"), "2/3"),
            ("ordinal/11", Some("a-b-10"), "10/11"),
        ] {
            assert_eq!(read(text, host).as_deref(), Ok(shard), "{text}");
        }
    }

    #[test]
    fn no_such_shard() {
        for (text, host, says) in [
            ("3/3", None, "from 0/3 to 2/3"),
            ("0/0", None, "1 to 1000"),
            ("0/1001", None, "1 to 1000"),
            ("0", None, EXPECTED),
            ("-1/3", None, EXPECTED),
            ("+1/3", None, EXPECTED),
            ("/3", None, EXPECTED),
            ("0/3/3", None, "1 to 1000"),
            ("ordinal/3", None, "ends in a number"),
            ("ordinal/3", Some("jwt-exporter-5d9c7b6f4-x2x7q"), "ends in a number"),
            ("ordinal/3", Some("exporter3"), "ends in a number"),
            ("ordinal/3", Some("jwt-exporter-3"), "number of this pod"),
        ] {
            let error = read(text, host).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
