//! Which of several exporters a Secret belongs to: a hash of its namespace and name says so, and nothing else.
//!
//! The algorithm is fixed for ever, so that every version agrees: FNV-1a with 64 bits over `namespace/name` (Fowler, Noll,
//! Vo; draft-eastlake-fnv), then jump consistent hashing (Lamping, Veach, "A Fast, Minimal Memory, Consistent Hash
//! Algorithm", 2014). With one shard more, one in so many Secrets moves, and only to the new one.

use std::fmt;

/// One of several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// The shard with this number, from 0, of so many; `None` if there is no such.
    #[must_use]
    pub fn new(index: u32, count: u32) -> Option<Self> {
        (index < count).then_some(Self { index, count })
    }

    /// Whether this Secret is one of this shard's. It is of exactly one shard.
    #[must_use]
    pub fn owns(self, namespace: &str, name: &str) -> bool {
        // Neither has a slash in it.
        let place = || namespace.bytes().chain([b'/']).chain(name.bytes());
        self.count == 1 || jump(fnv_1a(place()), self.count) == self.index
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

fn fnv_1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The bucket of a key, as the paper has it.
fn jump(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0, 0_u64);
    while next < u64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // Both are below 2^53: nothing is rounded but the quotient, the same everywhere (IEEE 754).
        next = ((bucket + 1) as f64 * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    u32::try_from(bucket).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owner(namespace: &str, name: &str, count: u32) -> u32 {
        let owners: Vec<u32> =
            (0..count).filter(|index| Shard::new(*index, count).unwrap().owns(namespace, name)).collect();
        assert_eq!(owners.len(), 1, "{namespace}/{name} of {count}: {owners:?}");
        owners[0]
    }

    #[test]
    fn the_algorithm_is_the_published_one() {
        // Test vectors of the FNV draft, and those of Guava's `consistentHash`, which is the same.
        let hashes = ["", "a", "foobar"].map(|text| fnv_1a(text.bytes()));
        assert_eq!(hashes, [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8]);
        assert_eq!([jump(10_863_919_174_838_991, 11), jump(2_016_238_256_797_177_309, 11)], [6, 3]);
        assert_eq!([jump(1_673_758_223_894_951_030, 11), jump(2, 100_001)], [5, 80_343]);
        assert_eq!([jump(2201, 100_001), jump(2202, 100_001)], [22_152, 15_018]);
    }

    #[test]
    fn secrets_stay_where_they_have_always_been() {
        let owners: Vec<u32> = (0..12).map(|n| owner("billing", &format!("token-{n}"), 3)).collect();
        assert_eq!(owners, [1, 1, 2, 0, 1, 1, 0, 1, 0, 0, 2, 2]);
    }

    #[test]
    fn no_shard_has_much_more_than_its_part() {
        for count in [2, 3, 5, 10] {
            let mut sizes = vec![0_u32; count as usize];
            for n in 0..20_000 {
                sizes[owner(&format!("team-{}", n % 50), &format!("token-{n}"), count) as usize] += 1;
            }
            let fair = 20_000 / count;
            assert!(sizes.iter().all(|size| size.abs_diff(fair) < fair / 10), "{sizes:?}");
        }
    }

    #[test]
    fn there_is_no_such_shard() {
        assert_eq!((Shard::new(0, 0), Shard::new(3, 3)), (None, None));
        assert_eq!(Shard::new(2, 3).unwrap().to_string(), "2/3");
    }

    proptest! {
        #[test]
        fn every_secret_is_in_one_shard_and_moves_to_a_new_one_alone(
            namespace in "[a-z0-9-]{1,20}", name in "[a-z0-9.-]{1,40}", count in 1_u32..40,
        ) {
            let (before, after) = (owner(&namespace, &name, count), owner(&namespace, &name, count + 1));
            prop_assert!(after == before || after == count, "from {} to {}", before, after);
        }
    }
}
