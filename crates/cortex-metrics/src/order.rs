//! Keeps two numbers that are written one after the other in this order for who reads both.

use std::sync::atomic::Ordering;

#[cfg(cortex_loom)]
use loom::sync::atomic::fence;
#[cfg(not(cortex_loom))]
use std::sync::atomic::fence;

/// Writes to one number, then to another.
///
/// The fences only keep the compiler from changing the order where processors do not, as those of `x86_64`.
#[inline]
pub(crate) fn write(first: impl FnOnce(), second: impl FnOnce()) {
    first();
    fence(Ordering::Release);
    second();
}

/// Reads the numbers the other way round: whatever of the second one is seen, of the first one as much is.
#[inline]
pub(crate) fn read<A, B>(second: impl FnOnce() -> B, first: impl FnOnce() -> A) -> (B, A) {
    let second = second();
    fence(Ordering::Acquire);
    (second, first())
}

/// `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-metrics --lib --release model`
#[cfg(all(cortex_loom, test))]
mod model {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;

    use super::*;

    #[test]
    fn model_of_the_first_number_as_much_is_seen_as_of_the_second() {
        loom::model(|| {
            let numbers = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
            let writer = {
                let numbers = Arc::clone(&numbers);
                thread::spawn(move || {
                    for n in 1..=2 {
                        let store = |at: usize| numbers[at].store(n, Ordering::Relaxed);
                        write(|| store(0), || store(1));
                    }
                })
            };
            let load = |at: usize| numbers[at].load(Ordering::Relaxed);
            let (second, first) = read(|| load(1), || load(0));
            assert!(second <= first, "{second} > {first}");
            writer.join().unwrap();
        });
    }
}
