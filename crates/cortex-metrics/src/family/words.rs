use std::hash::{BuildHasher, RandomState};

use super::hasher::Hasher;

/// What a label's value is compared by: its length, and its first and last bytes in two numbers.
///
/// Up to [`WHOLE`](Self::WHOLE) bytes that is all of it, so most values are hashed and compared without a look at their
/// text again, nor a call of `memcmp`, which takes longer than everything else here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    first: u64,
    last: u64,
    len: usize,
}

impl Words {
    /// The longest value that they tell apart from every other one.
    const WHOLE: usize = 16;

    #[inline]
    pub(super) fn of(value: &str) -> Self {
        let bytes = value.as_bytes();
        let len = bytes.len();
        let (first, last) = if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk())
        {
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
        } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk()) {
            (
                u64::from(u32::from_le_bytes(*first)),
                u64::from(u32::from_le_bytes(*last)),
            )
        } else if let [first, .., last] = *bytes {
            // Two or three bytes: the one in the middle is the first or the last again, if it is not another.
            (u64::from(first) | u64::from(bytes[len / 2]) << 8, u64::from(last))
        } else {
            (bytes.first().copied().map_or(0, u64::from), 0)
        };
        Self { first, last, len }
    }

    /// Returns how many bytes the value has.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether they are all of every value, and surely so: asked of all lengths at once, it takes those for long that are
    /// just as long as they may be.
    #[inline]
    pub(super) fn are_short(words: &[Self]) -> bool {
        words.iter().fold(0, |lens, words| lens | words.len) < Self::WHOLE
    }

    /// Says whether two values of which these are the words are the same.
    #[inline]
    pub(super) fn are_of_both(&self, one: &[u8], other: &[u8]) -> bool {
        self.are_whole()
            || match (inner(one), inner(other)) {
                (Some(one), Some(other)) => one == other,
                _ => one == other,
            }
    }

    /// Whether they are all of the value.
    #[inline]
    pub(super) const fn are_whole(&self) -> bool {
        self.len <= Self::WHOLE
    }
}

/// Returns the bytes between the words of a value that is up to twice as long as they are, in two numbers that overlap.
#[inline]
fn inner(value: &[u8]) -> Option<[u64; 2]> {
    if value.len() > 2 * Words::WHOLE {
        return None;
    }
    let first = value.get(8..)?.first_chunk()?;
    let last = value.get(..value.len() - 8)?.last_chunk()?;
    Some([u64::from_le_bytes(*first), u64::from_le_bytes(*last)])
}

/// Hashes the values of several labels, each with random keys of its own.
///
/// The first step is that of `wyhash` and `foldhash`, a multiplication of 64 by 64 bits whose halves are folded; the
/// values are mixed side by side and not one after the other, so that the processor need not wait. A length is multiplied
/// by a key: added as it is, some lengths would make up for others, or for other bytes, whatever the keys are.
#[derive(Clone, Debug)]
pub(super) struct Mixer<const N: usize> {
    keys: [Keys; N],
    sum_keys: [u64; 2],
    /// For what is longer than four words.
    long: Hasher,
}

/// The keys of a label.
#[derive(Clone, Debug)]
struct Keys {
    words: [u64; 2],
    len: u64,
    inner: [u64; 2],
}

impl<const N: usize> Mixer<N> {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        let keys = |label| {
            let key = |word: u8| random.hash_one((label, word));
            Keys {
                words: [key(0), key(1)],
                len: key(2) | 1, // times any other length, it is something else
                inner: [key(3), key(4)],
            }
        };
        Self {
            keys: std::array::from_fn(keys),
            sum_keys: [0_u8, 1].map(|half| random.hash_one(half)),
            long: Hasher::new(),
        }
    }

    /// Returns the hash of values that are not longer than the words say.
    #[inline]
    pub(super) fn hash_whole(&self, words: &[Words; N]) -> u64 {
        self.finish(words, 0)
    }

    /// Returns the hash of values of any length, of which these are the words.
    #[inline(never)]
    pub(super) fn hash(&self, values: &[&str; N], words: &[Words; N]) -> u64 {
        let mut between = 0_u64;
        for label in 0..N {
            if !words[label].are_whole() {
                between = between.wrapping_add(self.between(label, values[label]));
            }
        }
        self.finish(words, between)
    }

    /// Hashes what the words of a long value leave out.
    #[inline]
    fn between(&self, label: usize, value: &str) -> u64 {
        let keys = &self.keys[label].inner;
        match inner(value.as_bytes()) {
            Some([first, last]) => fold(first ^ keys[0], last ^ keys[1]),
            None => fold(self.long.hash_one(value) ^ keys[0], keys[1]),
        }
    }

    #[inline]
    fn finish(&self, words: &[Words; N], between: u64) -> u64 {
        let mut sum = between;
        for (words, keys) in words.iter().zip(&self.keys) {
            let len = (words.len as u64).wrapping_mul(keys.len);
            let mixed = fold(words.first ^ keys.words[0], words.last ^ keys.words[1]);
            sum = sum.wrapping_add(mixed).wrapping_add(len);
        }
        fold(sum ^ self.sum_keys[0], self.sum_keys[1])
    }
}

#[inline]
const fn fold(one: u64, other: u64) -> u64 {
    let product = one as u128 * other as u128;
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    fn hash<const N: usize>(mixer: &Mixer<N>, values: &[&str; N]) -> u64 {
        let words = values.map(Words::of);
        let hash = mixer.hash(values, &words);
        if words.iter().all(Words::are_whole) {
            assert_eq!(mixer.hash_whole(&words), hash);
        }
        hash
    }

    #[test]
    fn short_values_differ_in_their_words() {
        // Every text of up to five of three letters, and long ones that differ in one place.
        let mut texts = vec![String::new()];
        for at in 0.. {
            if texts[at].len() == 5 {
                break;
            }
            for letter in ["a", "b", "\0"] {
                texts.push(format!("{}{letter}", texts[at]));
            }
        }
        for len in 1..=16 {
            for at in 0..len {
                let mut text = "x".repeat(len);
                text.replace_range(at..=at, "y");
                texts.push(text);
            }
        }
        let mut seen = HashMap::new();
        for text in &texts {
            let words = Words::of(text);
            assert!(words.are_whole());
            let words = (words.first, words.last, words.len);
            assert_eq!(seen.insert(words, text), None, "{text:?}");
        }
        assert!(!Words::of(&"x".repeat(17)).are_whole());
    }

    #[test]
    fn where_values_end_and_stand_makes_a_difference() {
        let mixer = Mixer::new();
        let long = "0123456789abcdefg";
        let all = [
            ["", "", ""],
            ["a", "", ""],
            ["", "a", ""],
            ["", "", "a"],
            ["aa", "", ""],
            ["ab", "c", ""],
            ["a", "bc", ""],
            ["", "abc", ""],
            [long, "", ""],
            ["", long, ""],
            [&long[1..], "", ""],
        ];
        let hashes: HashSet<_> = all.iter().map(|values| hash(&mixer, values)).collect();
        assert_eq!(hashes.len(), all.len());
        assert_ne!(hash(&mixer, &all[5]), hash(&Mixer::new(), &all[5]));
    }

    #[test]
    fn every_byte_counts() {
        let mixer = Mixer::new();
        for len in 1..=40 {
            let text = "x".repeat(len);
            for at in 0..len {
                let mut other = text.clone();
                other.replace_range(at..=at, "y");
                assert_ne!(hash(&mixer, &[&text]), hash(&mixer, &[&other]), "{len} at {at}");
            }
        }
        // The halves of a value are hashed with keys of their own.
        let (one, other) = ("abcdefghijklmnop", "qrstuvwxyz012345");
        let swapped = [[one, other], [other, one]].map(|[outer, inner]| {
            let (first, last) = outer.split_at(8);
            hash(&mixer, &[&[first, inner, last].concat()])
        });
        assert_ne!(swapped[0], swapped[1]);
    }

    /// Values of which the words are the same but for the lengths, in every combination that keeps the sum of each two.
    #[test]
    fn lengths_do_not_make_up_for_each_other() {
        let mixer = Mixer::new();
        for letter in ["\0", "a"] {
            let mut hashes = HashSet::new();
            let len = |n: usize| 8 + n % 9;
            for n in 0..9 * 9 * 9 {
                let lens = [len(n), len(n / 9), len(n / 81)];
                let all = [0, 1, 2, 3, 4, 5].map(|label: usize| match lens.get(label) {
                    Some(len) => letter.repeat(*len),
                    None => letter.repeat(24 - lens[label - 3]),
                });
                let is_new = hashes.insert(hash(&mixer, &all.each_ref().map(String::as_str)));
                assert!(is_new, "{letter:?} {lens:?}");
            }
        }
    }

    #[test]
    fn numbered_values_spread_over_all_bits() {
        let mixer = Mixer::new();
        let texts: Vec<_> = (0..4096).map(|n| format!("/products/{n}")).collect();
        let hashes: Vec<_> = texts.iter().map(|text| hash(&mixer, &["GET", text])).collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), texts.len());
        for bit in 0..64 {
            let ones = hashes.iter().filter(|hash| *hash >> bit & 1 == 1).count();
            // Eight standard deviations of 4096 coins.
            assert!((1792..=2304).contains(&ones), "bit {bit}: {ones}");
        }
    }
}
