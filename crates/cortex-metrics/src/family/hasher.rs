use std::hash::{BuildHasher, Hash, Hasher as _, RandomState};

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// Hashes what series are found by, with keys of its own.
///
/// They come from the system's randomness, by way of the standard library: labels may come from somebody who wants them
/// to meet in one place, and foldhash's own keys are made of addresses and the time.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    seed: u64,
    /// Here, and not shared with other families as it may be, because here it is found without another pointer.
    seeds: SharedSeed,
}

impl Hasher {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self {
            seed: random.hash_one("seed"),
            seeds: SharedSeed::from_u64(random.hash_one("seeds")),
        }
    }

    #[inline]
    pub(super) fn hash_one(&self, value: impl Hash) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.seeds);
        value.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_hasher_has_keys_of_its_own() {
        let all: Vec<_> = (0..100).map(|_| Hasher::new()).collect();
        for value in ["", "a", "0123456789abcdef0123456789abcdef"] {
            let hashes: HashSet<_> = all.iter().map(|hasher| hasher.hash_one(value)).collect();
            assert_eq!(hashes.len(), all.len());
            assert_eq!(all[0].hash_one(value), all[0].clone().hash_one(value));
        }
        // In other threads, too.
        let elsewhere = std::thread::spawn(|| Hasher::new().hash_one("a")).join().unwrap();
        assert!(all.iter().all(|hasher| hasher.hash_one("a") != elsewhere));
    }
}
