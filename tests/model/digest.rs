//! Two hashes of 64 bits stand for a world, or a part of one: two of a million are alike with a
//! probability of one in 10^26.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

pub type Digest = (u64, u64);

pub fn digest(of: &impl Hash) -> Digest {
    static HASHERS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    let mut bytes = Bytes(Vec::with_capacity(1024));
    of.hash(&mut bytes);
    let [one, other] = &*HASHERS;
    (one.hash_one(&bytes.0), other.hash_one(&bytes.0))
}

/// What is hashed. As a whole that is faster.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("it only collects")
    }
}
