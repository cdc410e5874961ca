//! What encoding costs: first from measurements of JSON on one machine, then as this machine does it.

use crate::coding::Coding;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest time in nanoseconds that a task encodes before it lets others run.
pub(crate) const BUDGET: u64 = 250_000;

/// Less input than this is encoded at a time only where there is no more: small pieces cost size.
const MIN_SLICE: usize = 4 << 10;
const MAX_SLICE: usize = 256 << 10;

/// What is shorter says more of the cost to begin than of the cost to go on.
pub(crate) const MIN_SAMPLE: usize = 2 << 10;

/// The input that moves the estimate by the eighth of a difference.
const FULL_SAMPLE: u64 = 32 << 10;

/// The costs of one coding at one level.
#[derive(Debug)]
pub(crate) struct Cost {
    /// Of bodies that are there as a whole, at once.
    pub(crate) whole: Rate,
    /// Of the slices of such that would take too long.
    pub(crate) slices: Rate,
    /// Of pieces, as they come.
    pub(crate) stream: Rate,
}

impl Cost {
    pub(crate) const fn new(coding: Coding, level: u8) -> Self {
        let (whole, slices, stream) = seed(coding, level);
        Self {
            whole: Rate::new(whole),
            slices: Rate::new(slices),
            stream: Rate::new(stream),
        }
    }

    /// Learns how long a slice of a whole body took.
    ///
    /// Bodies that are taken to be too long to be encoded at once are encoded in slices. If these did not count for
    /// both rates, nothing would tell when that has changed: an estimate that was raised while the machine was busy
    /// would stay for good.
    pub(crate) fn learn_slice(&self, bytes: usize, nanos: u64) {
        self.slices.learn(bytes, nanos);
        let whole = nanos.saturating_mul(self.whole.seed) / self.slices.seed.max(1);
        self.whole.adjust(bytes, whole);
    }

    /// Returns how many nanoseconds were learned of so far: what encoding took.
    pub(crate) fn spent(&self) -> u64 {
        let rates = [&self.whole, &self.slices, &self.stream];
        let spent = rates.iter().map(|rate| rate.spent.load(Ordering::Relaxed));
        spent.fold(0, u64::wrapping_add)
    }
}

/// A moving average, in picoseconds for a byte.
#[derive(Debug)]
pub(crate) struct Rate {
    now: AtomicU64,
    seed: u64,
    /// All nanoseconds that were learned of.
    spent: AtomicU64,
}

impl Rate {
    const fn new(seed: u64) -> Self {
        Self {
            now: AtomicU64::new(seed),
            seed,
            spent: AtomicU64::new(0),
        }
    }

    /// Returns about how many nanoseconds this many bytes take.
    pub(crate) fn nanos(&self, bytes: usize) -> u64 {
        self.now.load(Ordering::Relaxed).saturating_mul(bytes as u64) / 1000
    }

    /// Returns how much input takes about [`BUDGET`].
    pub(crate) fn slice(&self) -> usize {
        let bytes = BUDGET * 1000 / self.now.load(Ordering::Relaxed).max(1);
        usize::try_from(bytes)
            .unwrap_or(MAX_SLICE)
            .clamp(MIN_SLICE, MAX_SLICE)
    }

    /// Tells whether this many bytes are few by the first estimate, whatever was learned since.
    pub(crate) const fn are_few(&self, bytes: usize) -> bool {
        self.seed.saturating_mul(bytes as u64) / 1000 <= BUDGET
    }

    /// Tells whether the time of a piece of this length is worth to be taken.
    pub(crate) const fn wants(bytes: usize) -> bool {
        bytes >= MIN_SAMPLE
    }

    /// Learns how long a piece took.
    ///
    /// One that took unlikely long was interrupted: it counts as twice what was expected. Threads that learn at the
    /// same time may lose a sample.
    pub(crate) fn learn(&self, bytes: usize, nanos: u64) {
        if Self::wants(bytes) {
            self.spend(nanos);
        }
        self.adjust(bytes, nanos);
    }

    /// Counts time from which nothing is learned: that of a body that did not get smaller, or failed.
    pub(crate) fn spend(&self, nanos: u64) {
        self.spent.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Learns, and does not count the time: for that of another rate, which has counted it.
    fn adjust(&self, bytes: usize, nanos: u64) {
        if !Self::wants(bytes) || nanos == 0 {
            return;
        }
        let bytes = bytes as u64;
        let now = self.now.load(Ordering::Relaxed);
        let sample = (nanos.saturating_mul(1000) / bytes).clamp(now / 2, now * 2);
        let weight = bytes.min(FULL_SAMPLE);
        let whole = FULL_SAMPLE * 8;
        let next = (now * (whole - weight) + sample * weight) / whole;
        self.now
            .store(next.clamp(self.seed / 16, self.seed * 16), Ordering::Relaxed);
    }
}

/// How much input an encoder collects before it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grain {
    /// It works on what it gets, and is given no less at a time than tells what it costs.
    Fine,
    /// It works on what it gets, and does better with this much at once.
    #[cfg_attr(not(feature = "brotli"), expect(dead_code, reason = "brotli's"))]
    Gulp(usize),
    /// It works once it has this much.
    #[cfg_attr(not(feature = "zstd"), expect(dead_code, reason = "zstd's"))]
    Block(usize),
    /// It looks for matches in each block as it comes, and writes what it has found when it is flushed: after this much
    /// the two would take too long together.
    #[cfg_attr(not(feature = "brotli"), expect(dead_code, reason = "brotli's"))]
    Parted { block: usize, cut: usize },
    /// It would collect more than may be worked on at a time: it has to be flushed after this much.
    #[cfg_attr(
        not(any(feature = "brotli", feature = "zstd")),
        expect(dead_code, reason = "theirs")
    )]
    Cut(usize),
}

impl Grain {
    /// Returns what work is worth, in bytes of input: to begin with so many, and to bring so many out.
    pub(crate) const fn load(self, begun: usize, ended: usize) -> usize {
        match self {
            // To write what was found takes half of the time that it takes to find it.
            Self::Parted { .. } => (begun * 2 + ended) / 3,
            _ => begun,
        }
    }
}

#[cfg(feature = "zstd")]
const BLOCK: usize = 1 << super::zstd::STREAM_WINDOW_LOG;

/// Returns how a streaming encoder works, if at most `slice` bytes may be worked on at a time.
pub(crate) fn grain(coding: Coding, level: u8, dictionary: bool, slice: usize) -> Grain {
    let _ = dictionary;
    // Less than a slice: what else is done at the same time counts, too.
    let most = slice - slice / 8;
    match (coding, level, most) {
        // Its window, and with it its blocks, are larger with a dictionary.
        #[cfg(feature = "zstd")]
        (Coding::Zstd, ..) if BLOCK <= most && !dictionary => Grain::Block(BLOCK),
        #[cfg(feature = "zstd")]
        (Coding::Zstd, ..) => Grain::Cut(most),
        #[cfg(feature = "brotli")]
        (Coding::Br, ..=1, _) if !dictionary => Grain::Gulp(most.min(64 << 10)),
        // Its own blocks are of 64 KiB and more. As long as these are, they cost 1 % of size.
        #[cfg(feature = "brotli")]
        (Coding::Br, ..) if !dictionary => {
            let block = super::brotli::BLOCK;
            let cut = slice * 3 / block * block;
            Grain::Parted {
                block,
                cut: cut.clamp(block, super::brotli::MAX_CUT),
            }
        }
        #[cfg(feature = "brotli")]
        (Coding::Br, ..) => Grain::Cut(most.min(16 << 10)),
        #[cfg(feature = "gzip")]
        (Coding::Gzip, ..) => Grain::Fine,
        #[cfg(feature = "deflate")]
        (Coding::Deflate, ..) => Grain::Fine,
    }
}

/// Returns what a byte costs in picoseconds: whole, in slices, and as a stream.
const fn seed(coding: Coding, level: u8) -> (u64, u64, u64) {
    match (coding, level) {
        #[cfg(feature = "zstd")]
        (Coding::Zstd, level) => in_slices_as_streams(match level {
            ..=1 => (2200, 3400),
            2 => (2500, 3500),
            3 | 4 => (3400, 3800),
            5 | 6 => (12_000, 12_000),
            7 | 8 => (17_000, 17_000),
            9 | 10 => (25_000, 22_000),
            11 | 12 => (60_000, 35_000),
            13..=15 => (90_000, 60_000),
            _ => (500_000, 500_000),
        }),
        #[cfg(feature = "brotli")]
        (Coding::Br, level) => in_slices_as_streams(match level {
            0 | 1 => (6200, 6200),
            2 => (10_000, 10_000),
            3 => (12_000, 12_000),
            4 => (22_000, 22_000),
            5 => (40_000, 40_000),
            6 => (50_000, 50_000),
            // Streams are encoded at 6.
            7 | 8 => (90_000, 50_000),
            9 => (130_000, 50_000),
            _ => (1_500_000, 1_500_000),
        }),
        #[cfg(feature = "gzip")]
        (Coding::Gzip, level) => zlib_seed(level),
        #[cfg(feature = "deflate")]
        (Coding::Deflate, level) => zlib_seed(level),
    }
}

/// What is encoded in slices costs what a stream does.
#[cfg(any(feature = "brotli", feature = "zstd"))]
const fn in_slices_as_streams((whole, stream): (u64, u64)) -> (u64, u64, u64) {
    (whole, stream, stream)
}

#[cfg(any(feature = "deflate", feature = "gzip"))]
const fn zlib_seed(level: u8) -> (u64, u64, u64) {
    let stream = match level {
        1 => 4200,
        2 => 6500,
        3 => 9000,
        4 => 11_500,
        5 => 13_000,
        6 => 15_000,
        7 => 22_000,
        _ => 40_000,
    };
    // Up to the default, whole bodies have levels of their own.
    let slices = if level <= 4 { 6500 } else { stream };
    let whole = match level {
        ..=4 if cfg!(feature = "libdeflate") => 6000,
        _ if cfg!(feature = "libdeflate") => stream * 3 / 4,
        _ => slices,
    };
    (whole, slices, stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_follows_what_it_learns_and_no_single_sample() {
        let rate = Rate::new(10_000);
        assert_eq!((rate.nanos(1000), rate.slice()), (10_000, 25_000));
        rate.learn(MIN_SAMPLE - 1, 1);
        rate.learn(32 << 10, 0);
        assert_eq!(rate.nanos(1000), 10_000, "too short, or no clock");
        rate.learn(32 << 10, u64::MAX);
        assert_eq!(rate.nanos(1000), 11_250, "an eighth of the way to twice as much");
        for _ in 0..200 {
            rate.learn(32 << 10, (32 << 10) * 4);
        }
        assert!((3900..4100).contains(&rate.nanos(1000)), "{rate:?}");
        for _ in 0..500 {
            rate.learn(1 << 20, 1);
        }
        assert_eq!(rate.nanos(1000), 625, "not without end");
        assert_eq!(rate.slice(), MAX_SLICE);
    }

    #[test]
    fn an_estimate_for_whole_bodies_comes_down_by_their_slices() {
        for &coding in Coding::ALL {
            let cost = Cost::new(coding, *coding.levels().start());
            let length = 16 << 10;
            let (whole, slice) = (cost.whole.nanos(length), cost.slices.nanos(length));
            for _ in 0..20 {
                cost.whole.learn(length, u64::MAX); // the machine is busy
            }
            assert!(cost.whole.nanos(length) > whole * 2);
            for _ in 0..200 {
                cost.learn_slice(length, slice);
            }
            assert!(
                cost.whole.nanos(length).abs_diff(whole) <= whole / 50,
                "{coding}: {cost:?}"
            );
            assert!(cost.slices.nanos(length).abs_diff(slice) <= slice / 50);
        }
    }

    #[test]
    fn no_grain_is_larger_than_a_slice() {
        for &coding in Coding::ALL {
            for (level, dictionary) in coding.levels().flat_map(|level| [(level, false), (level, true)]) {
                let Cost { slices, stream, .. } = Cost::new(coding, level);
                for slice in [slices.slice(), stream.slice()] {
                    let grain = grain(coding, level, dictionary, slice);
                    match grain {
                        Grain::Fine => {}
                        Grain::Parted { block, cut } => {
                            assert!(cut >= block && cut % block == 0);
                            let (block, cut) = (block.min(slice), cut.max(block));
                            assert!(
                                grain.load(block, 0) < slice,
                                "{coding} {level}: {block} of {slice}"
                            );
                            assert!(grain.load(0, cut) <= slice, "{coding} {level}: {cut} of {slice}");
                        }
                        Grain::Gulp(bytes) | Grain::Block(bytes) | Grain::Cut(bytes) => {
                            assert!(
                                (1..slice).contains(&bytes),
                                "{coding} {level}: {bytes} of {slice}"
                            );
                        }
                    }
                }
            }
        }
    }
}
