use super::registry::Block;
use std::time::Duration;

/// Blocks of one tag that are older than was asked for, and are held for an owner that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leak {
    /// What they are for.
    pub tag: &'static str,
    /// How many there are.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The age of the oldest.
    pub oldest: Duration,
    /// Where some of them are in the memory of their guest: at most [`SAMPLES`](Self::SAMPLES).
    pub samples: Vec<u32>,
}

impl Leak {
    /// How many places are told.
    pub const SAMPLES: usize = 8;

    fn new(tag: &'static str) -> Self {
        Self {
            tag,
            count: 0,
            bytes: 0,
            oldest: Duration::ZERO,
            samples: Vec::new(),
        }
    }

    /// Adds a block of an age in nanoseconds.
    pub(super) fn add(all: &mut Vec<Self>, tag: &'static str, block: &Block, age: u64) {
        let leak = Self::of(all, tag);
        leak.count += 1;
        leak.bytes += u64::from(block.extent.length);
        leak.oldest = leak.oldest.max(Duration::from_nanos(age));
        if leak.samples.len() < Self::SAMPLES {
            leak.samples.push(block.extent.pointer);
        }
    }

    /// Adds those of another instance.
    #[cfg_attr(not(test), expect(dead_code, reason = "used by the statistics"))]
    pub(crate) fn merge(all: &mut Vec<Self>, more: Vec<Self>) {
        for more in more {
            let leak = Self::of(all, more.tag);
            leak.count += more.count;
            leak.bytes += more.bytes;
            leak.oldest = leak.oldest.max(more.oldest);
            let room = Self::SAMPLES - leak.samples.len();
            leak.samples.extend(more.samples.into_iter().take(room));
        }
    }

    fn of<'a>(all: &'a mut Vec<Self>, tag: &'static str) -> &'a mut Self {
        let at = all.iter().position(|leak| leak.tag == tag);
        let at = at.unwrap_or_else(|| {
            all.push(Self::new(tag));
            all.len() - 1
        });
        &mut all[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_instances_add_up_by_tag() {
        let leak = |tag, count: u64, oldest, samples: &[u32]| Leak {
            tag,
            count,
            bytes: count * 100,
            oldest: Duration::from_secs(oldest),
            samples: samples.to_vec(),
        };
        let mut all = vec![leak("session", 7, 3, &[1, 2, 3, 4, 5, 6, 7])];
        Leak::merge(
            &mut all,
            vec![leak("cache", 1, 1, &[9]), leak("session", 2, 5, &[8, 9])],
        );
        let session = leak("session", 9, 5, &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(all, [session, leak("cache", 1, 1, &[9])]);
    }
}
