use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use cortex_core::{Clock, Context, Flags, SpanId, SystemClock, TraceId};
use parking_lot::Mutex;

use crate::encode::push_label;
use crate::name::is_label_name;

/// Whose traces a metric keeps as examples.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Buckets, ExemplarFilter, Histogram};
///
/// let builder = Histogram::builder(&Buckets::http_seconds());
/// builder.exemplars(ExemplarFilter::Off).build().observe(0.2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExemplarFilter {
    /// Nobody's.
    Off,
    /// Those that are sampled, because only they can be looked at.
    #[default]
    Sampled,
    /// Everybody's who has a trace id.
    Always,
}

/// One measurement among those that were counted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exemplar {
    /// Rendered like those of series.
    pub(crate) labels: Box<str>,
    pub(crate) value: f64,
    pub(crate) time: Option<SystemTime>,
}

/// The flags that a context must have to be an example, beside a trace: what an observation asks of the current one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted(u8);

impl Wanted {
    /// A bit that is none of the wire, so that no context has it.
    const NOBODY: u8 = 1 << 7;

    pub(crate) const fn by(filter: ExemplarFilter) -> Self {
        match filter {
            ExemplarFilter::Off => Self(Self::NOBODY),
            ExemplarFilter::Sampled => Self(Flags::SAMPLED.to_wire()),
            ExemplarFilter::Always => Self(Flags::NONE.to_wire()),
        }
    }

    #[inline]
    pub(crate) fn is(self, context: &Context) -> bool {
        context.flags().to_wire() & self.0 == self.0
    }
}

/// The most characters that the names and values of an exemplar's labels may have together: `OpenMetrics` 1.0.
pub(crate) const MAX_CHARS: usize = 128;

/// The most slots.
const SLOTS: usize = 128;

/// A place for an exemplar in each bucket of a metric.
///
/// A scrape arms the slots; the first measurement after it that belongs to a trace is kept, and disarms its slot. So an
/// observation costs a load or two while nothing is to be done.
#[derive(Debug)]
pub(crate) struct Exemplars {
    wanted: Wanted,
    armed: [AtomicU64; SLOTS / 64],
    refused: AtomicU64,
    /// Only those that are there: most buckets never have one.
    kept: Mutex<Vec<(usize, Exemplar)>>,
}

impl Exemplars {
    /// Returns nothing if none shall be kept.
    pub(crate) fn new(filter: ExemplarFilter) -> Option<Self> {
        (filter != ExemplarFilter::Off).then(|| Self {
            wanted: Wanted::by(filter),
            armed: std::array::from_fn(|_| AtomicU64::new(u64::MAX)),
            refused: AtomicU64::new(0),
            kept: Mutex::default(),
        })
    }

    /// Keeps a measurement if the current context is of a trace and its slot waits for one.
    #[inline]
    pub(crate) fn offer(&self, slot: usize, value: f64) {
        if self.wanted.is(&Context::current()) {
            self.keep_of(&Context::current(), slot, value);
        }
    }

    /// Keeps a measurement if the context is of a trace and its slot waits for one.
    #[inline]
    pub(crate) fn offer_in(&self, slot: usize, value: f64, context: &Context) {
        if self.wanted.is(context) {
            self.keep_of(context, slot, value);
        }
    }

    /// Keeps a measurement with labels of its own if its slot waits for one; counts labels that cannot be shown.
    pub(crate) fn offer_labels(&self, slot: usize, value: f64, labels: &[(&str, &str)]) {
        let chars = |(name, value): &(&str, &str)| name.chars().count() + value.chars().count();
        let fit = labels.iter().map(chars).sum::<usize>() <= MAX_CHARS
            && labels.iter().enumerate().all(|(at, (name, _))| {
                let repeats = labels[..at].iter().any(|(before, _)| before == name);
                !repeats && is_label_name(name)
            });
        if !fit {
            self.refused.fetch_add(1, Ordering::Relaxed);
        } else if self.is_armed(slot) {
            let mut rendered = String::new();
            for (name, value) in labels {
                push_label(&mut rendered, name, value);
            }
            self.keep(slot, value, rendered);
        }
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    #[inline]
    fn is_armed(&self, slot: usize) -> bool {
        let slot = slot % SLOTS;
        self.armed[slot / 64].load(Ordering::Relaxed) >> (slot % 64) & 1 == 1
    }

    #[inline(never)]
    fn keep_of(&self, context: &Context, slot: usize, value: f64) {
        if self.is_armed(slot)
            && let (Some(trace), Some(span)) = (context.trace_id(), context.span_id())
        {
            self.keep(slot, value, render(trace, span));
        }
    }

    #[cold]
    fn keep(&self, slot: usize, value: f64, labels: String) {
        let slot = slot % SLOTS;
        let bit = 1 << (slot % 64);
        if self.armed[slot / 64].fetch_and(!bit, Ordering::Relaxed) & bit == 0 {
            return; // somebody else was first
        }
        let exemplar = Exemplar {
            labels: labels.into(),
            value,
            time: Some(SystemClock.wall()),
        };
        let mut kept = self.kept.lock();
        match kept.iter_mut().find(|(at, _)| *at == slot) {
            Some((_, old)) => *old = exemplar,
            None => kept.push((slot, exemplar)),
        }
    }

    /// Returns what was kept, each with its slot, and arms all slots.
    pub(crate) fn take(&self) -> Vec<(usize, Exemplar)> {
        let kept = self.kept.lock().clone();
        for armed in &self.armed {
            armed.store(u64::MAX, Ordering::Relaxed);
        }
        kept
    }
}

fn render(trace: TraceId, span: SpanId) -> String {
    let mut labels = String::with_capacity(80);
    for (name, id) in [("trace_id", &trace.to_hex()[..]), ("span_id", &span.to_hex()[..])] {
        push_label(
            &mut labels,
            name,
            str::from_utf8(id).expect("invariant: hex is ASCII"),
        );
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(flags: Flags) -> Context {
        let (trace, span) = (TraceId::new(0xa1).unwrap(), SpanId::new(0xb2).unwrap());
        Context::new().with_span(trace, span, flags)
    }

    const LABELS: &str = "trace_id=\"000000000000000000000000000000a1\",span_id=\"00000000000000b2\"";

    fn values(exemplars: &Exemplars) -> Vec<(usize, u64)> {
        let bits = |(slot, exemplar): (usize, Exemplar)| (slot, exemplar.value.to_bits());
        exemplars.take().into_iter().map(bits).collect()
    }

    #[test]
    fn the_first_of_each_scrape_is_kept() {
        let exemplars = Exemplars::new(ExemplarFilter::Sampled).unwrap();
        exemplars.offer(3, 0.0); // of no trace
        let _guard = context(Flags::SAMPLED).attach();
        for value in [1.0, 2.0] {
            exemplars.offer(3, value);
            exemplars.offer(127, value);
        }
        let kept = exemplars.take();
        assert_eq!(kept[0].1.labels.as_ref(), LABELS);
        assert!(kept[0].1.time.is_some());
        let one = 1.0_f64.to_bits();
        assert_eq!(values(&exemplars), [(3, one), (127, one)]); // still there: nothing came since
        exemplars.offer(3, 4.0);
        assert_eq!(values(&exemplars), [(3, 4.0_f64.to_bits()), (127, one)]);
    }

    #[test]
    fn filters() {
        assert!(Exemplars::new(ExemplarFilter::Off).is_none());
        let _guard = context(Flags::NONE).attach();
        for (filter, count) in [(ExemplarFilter::Sampled, 0), (ExemplarFilter::Always, 1)] {
            let exemplars = Exemplars::new(filter).unwrap();
            exemplars.offer(0, 1.0);
            assert_eq!(exemplars.take().len(), count, "{filter:?}");
        }
    }

    #[test]
    fn labels_of_its_own_have_a_bound() {
        let exemplars = Exemplars::new(ExemplarFilter::Sampled).unwrap();
        let long = "7".repeat(124);
        for labels in [
            &[("order", &*long)][..],
            &[("__order", "7")],
            &[("order", "7"), ("order", "8")],
        ] {
            exemplars.offer_labels(0, 1.0, labels);
        }
        assert_eq!((exemplars.take().len(), exemplars.refused()), (0, 3));
        exemplars.offer_labels(0, 1.0, &[("order", &"\u{e9}".repeat(123))]);
        exemplars.offer_labels(0, 2.0, &[("order", "8")]);
        assert_eq!(exemplars.refused(), 3);
        assert_eq!(values(&exemplars), [(0, 1.0_f64.to_bits())]);
    }
}
