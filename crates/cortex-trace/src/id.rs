//! Where trace and span ids come from.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use cortex_core::{SpanId, TraceId};

thread_local! {
    // Without a destructor, so that a span started in another thread-local's destructor still gets an id.
    // Word by word, as it is read.
    static GENERATOR: [Cell<u64>; 4] = const { [const { Cell::new(0) }; 4] };
}

/// Makes a trace id whose 128 bits are random, and the id of a span.
//= https://www.w3.org/TR/trace-context-2/#trace-id
//# Implementers SHOULD use a trace-id generation method which randomly (or pseudo-randomly) generates at least the right-most 7 bytes of the ID.
#[inline]
pub(crate) fn trace_and_span_id() -> (TraceId, SpanId) {
    with_generator(|generator| {
        loop {
            let (high, low) = (generator.next(), generator.next());
            let trace_id = TraceId::new(u128::from(high) << 64 | u128::from(low));
            if let Some(ids) = trace_id.zip(SpanId::new(generator.next())) {
                return ids;
            }
        }
    })
}

/// Makes a random span id.
#[inline]
pub(crate) fn span_id() -> SpanId {
    with_generator(|generator| {
        loop {
            if let Some(id) = SpanId::new(generator.next()) {
                return id;
            }
        }
    })
}

/// Makes a random number from 0 up to but not 1, for what need not be secret.
#[cfg(feature = "otlp")]
pub(crate) fn fraction() -> f64 {
    const BITS: u32 = 53; // as many as a double has
    #[expect(clippy::cast_precision_loss, reason = "they fit")]
    with_generator(|generator| (generator.next() >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64)
}

/// Has this thread seed anew before it draws again.
///
/// A process that was forked has the state of its parent's thread, and draws what the parent and its other children do.
/// To ask for the process with every id is a system call, measured at 140 ns, where a whole span has 40. So this is
/// done where a tracer is built.
pub(crate) fn reseed() {
    GENERATOR.with(|words| words.iter().for_each(|word| word.set(0)));
}

#[inline]
fn with_generator<R>(draw: impl FnOnce(&mut Generator) -> R) -> R {
    let mut generator = Generator(GENERATOR.with(|[a, b, c, d]| [a.get(), b.get(), c.get(), d.get()]));
    if generator.is_unseeded() {
        generator = Generator::from_system();
    }
    let drawn = draw(&mut generator);
    let [a, b, c, d] = generator.0;
    GENERATOR.with(|words| {
        words[0].set(a);
        words[1].set(b);
        words[2].set(c);
        words[3].set(d);
    });
    drawn
}

/// xoshiro256++ of Blackman and Vigna: 256 bits of state, so that the streams of many threads and processes do not
/// meet, and every output bit is good, so that the low 56 bits decide sampling without bias.
struct Generator([u64; 4]);

impl Generator {
    /// All zero is the one state that it cannot leave.
    const fn is_unseeded(&self) -> bool {
        matches!(self.0, [0, 0, 0, 0])
    }

    /// Seeds from the keys that the operating system's random source gives to each `RandomState`.
    #[cold]
    fn from_system() -> Self {
        Self::seeded(&RandomState::new(), std::process::id())
    }

    /// The keys are a thread's, and so those of the parent in a process that was forked.
    fn seeded(keys: &RandomState, process: u32) -> Self {
        let mut state: [u64; 4] = std::array::from_fn(|word| keys.hash_one((word, process)));
        state[0] |= 1; // never unseeded
        Self(state)
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let drawn = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn follows_the_published_sequence() {
        // The first outputs of the authors' reference implementation for the state 1, 2, 3, 4.
        let mut generator = Generator([1, 2, 3, 4]);
        let drawn: [u64; 4] = std::array::from_fn(|_| generator.next());
        assert_eq!(
            drawn,
            [
                41_943_041,
                58_720_359,
                3_588_806_011_781_223,
                3_591_011_842_654_386
            ]
        );
    }

    #[test]
    fn threads_and_draws_differ() {
        let draw = || (0..1000).map(|_| trace_and_span_id()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let mut seen: HashSet<_> = draw().into_iter().collect();
        for thread in threads {
            seen.extend(thread.join().unwrap());
        }
        assert_eq!(seen.len(), 5000);
    }

    #[test]
    fn processes_that_were_forked_differ_once_they_have_seeded_anew() {
        let set = |state: [u64; 4]| {
            GENERATOR.with(|words| {
                for (word, part) in words.iter().zip(state) {
                    word.set(part);
                }
            });
        };
        let before_the_fork = [1, 2, 3, 4];
        let [parent, child, built_anew] = [false, false, true].map(|builds| {
            set(before_the_fork);
            if builds {
                drop(crate::Tracer::propagate_only());
            }
            span_id()
        });
        assert_eq!(parent, child);
        assert_ne!(parent, built_anew);
        // The keys come from the parent, too.
        let keys = RandomState::new();
        let [one, other] = [1, 2].map(|process| Generator::seeded(&keys, process).0);
        assert!(one.iter().zip(&other).filter(|(one, other)| one == other).count() < 2);
        assert_eq!(one, Generator::seeded(&keys, 1).0);
    }

    //= https://www.w3.org/TR/trace-context-2/#trace-id
    //= type=test
    //# Implementers SHOULD use a trace-id generation method which randomly (or pseudo-randomly) generates at least the right-most 7 bytes of the ID.
    #[test]
    fn the_bits_that_decide_sampling_are_balanced() {
        let mut ones = [0_u32; 56];
        for _ in 0..4096 {
            let id = trace_and_span_id().0.get();
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += u32::from(id >> bit & 1 == 1);
            }
        }
        // Standard deviation 32: eight of them is beyond any chance.
        assert!(ones.iter().all(|count| count.abs_diff(2048) < 256), "{ones:?}");
    }
}
