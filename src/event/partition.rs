//! Which partition a key belongs to. Part of the contract with what is already in a topic: it must never change.

use std::num::NonZeroU16;

/// A topic's number of partitions, as pinned in our state. Never what the broker says at the moment: partitions added behind our
/// back would let a key's new events overtake its old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Partitions(NonZeroU16);

impl Partitions {
    /// `None` unless 1 to 65,535.
    pub fn new(count: i32) -> Option<Self> {
        u16::try_from(count).ok().and_then(NonZeroU16::new).map(Self)
    }

    pub fn count(self) -> i32 {
        i32::from(self.0.get())
    }

    /// All partitions: where a TRUNCATE and a reset go.
    pub fn all(self) -> std::ops::Range<i32> {
        0..self.count()
    }

    /// As Apache Kafka's Java producer does by default (`toPositive(murmur2(key)) % count`), so that other producers agree; no key
    /// is partition 0.
    pub fn of(self, key: Option<&[u8]>) -> i32 {
        key.map_or(0, |key| (murmur2(key) & 0x7FFF_FFFF) as i32 % self.count())
    }
}

/// MurmurHash2, 32 bits, with the seed of `org.apache.kafka.common.utils.Utils`.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5BD1_E995;
    let mut hash = 0x9747_B28C ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_kafkas_own_tests_say() {
        // org.apache.kafka.common.utils.UtilsTest.testMurmur2
        let cases: [(&str, i32); 7] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
        ];
        for (text, hash) in cases {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn every_key_has_a_partition() {
        let three = Partitions::new(3).unwrap();
        assert_eq!(three.of(None), 0);
        assert!((0..1000).all(|i: i32| three.all().contains(&three.of(Some(&i.to_be_bytes())))));
        assert_eq!([0, -1, 65_536].map(Partitions::new), [None; 3]);
    }
}
