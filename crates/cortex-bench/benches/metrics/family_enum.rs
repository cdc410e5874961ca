use std::hint::black_box;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;

use cortex_metrics::{DenseFamily, LabelEnum, dense_labels, label_enum};
use foundations_metrics::{LowCardinalityFamily, LowCardinalityLabel, ThreadLocalCounter};
use measured::label::StaticLabelSet;
use measured::{FixedCardinalityLabel, LabelGroup};

use crate::bench::Bench;

label_enum! {
    enum Ours {
        Ok = "ok",
        Cached = "cached",
        Refused = "refused",
        Invalid = "invalid",
        TimedOut = "timed_out",
        Cancelled = "cancelled",
        Failed = "failed",
        Panicked = "panicked",
    }
}

dense_labels! {
    struct OurLabels {
        outcome: Ours,
    }
}

/// The same for peers whose macros want an enum of their own.
#[derive(Clone, Copy, PartialEq, FixedCardinalityLabel)]
enum Theirs {
    Ok,
    Cached,
    Refused,
    Invalid,
    TimedOut,
    Cancelled,
    Failed,
    Panicked,
}

impl From<Ours> for Theirs {
    fn from(outcome: Ours) -> Self {
        match outcome {
            Ours::Ok => Self::Ok,
            Ours::Cached => Self::Cached,
            Ours::Refused => Self::Refused,
            Ours::Invalid => Self::Invalid,
            Ours::TimedOut => Self::TimedOut,
            Ours::Cancelled => Self::Cancelled,
            Ours::Failed => Self::Failed,
            Ours::Panicked => Self::Panicked,
        }
    }
}

impl LowCardinalityLabel for Theirs {
    const CARDINALITY: NonZeroUsize = NonZeroUsize::new(8).expect("invariant: eight are some");

    fn index(&self) -> usize {
        *self as usize
    }
}

#[derive(LabelGroup)]
#[label(set = TheirLabelSet)]
struct TheirLabels {
    outcome: Theirs,
}

/// Counts with one label that is an enum of eight.
pub(crate) fn measure(bench: &mut Bench<'_>) -> io::Result<()> {
    const ALL: [Ours; 8] = [
        Ours::Ok,
        Ours::Cached,
        Ours::Refused,
        Ours::Invalid,
        Ours::TimedOut,
        Ours::Cancelled,
        Ours::Failed,
        Ours::Panicked,
    ];
    assert_eq!(ALL.map(Ours::index), [0, 1, 2, 3, 4, 5, 6, 7]);
    // 53 and 128 have no common factor; the low bits of the squares keep neighbours from following each other.
    let outcomes: Vec<Ours> = (0..128_usize).map(|n| ALL[(n * 53 + n * n / 16) % 8]).collect();
    let theirs: Vec<Theirs> = outcomes.iter().copied().map(Theirs::from).collect();

    let family = DenseFamily::<OurLabels, _>::new(cortex_metrics::Counter::default);
    let inc = |set: &Ours| {
        let labels = OurLabels { outcome: *set };
        black_box(&family).with(labels, cortex_metrics::Counter::inc);
    };
    let sum = || {
        let counts = ALL.map(|outcome| family.handle(OurLabels { outcome }).get());
        counts.iter().sum()
    };
    bench.of("cortex", &outcomes, inc, sum)?;

    let family = LowCardinalityFamily::<Theirs, ThreadLocalCounter>::default();
    let inc = |set: &Theirs| black_box(&family).get_or_create(set).inc();
    let sum = || {
        let counts = ALL.map(|outcome| family.get_or_create(&outcome.into()).get());
        counts.iter().sum()
    };
    bench.of("foundations", &theirs, inc, sum)?;

    let set = TheirLabelSet {
        outcome: StaticLabelSet::new(),
    };
    let family = measured::CounterVec::dense_with_label_set(set);
    let inc = |set: &Theirs| black_box(&family).inc(TheirLabels { outcome: *set });
    let sum = || {
        let count = |outcome: Ours| {
            let id = family.with_labels(TheirLabels {
                outcome: outcome.into(),
            });
            family.get_metric(id).count.load(Ordering::Relaxed)
        };
        ALL.map(count).iter().sum()
    };
    bench.of("measured", &theirs, inc, sum)
}
