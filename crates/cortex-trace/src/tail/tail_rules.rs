use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::Segment;
use crate::Probability;
use crate::sampler::END;

/// Keeps what matters of what the sampler has dropped: decides about a local trace when it is over.
///
/// What the sampler drops is recorded all the same, though callees hear that it is not. When its local root has ended,
/// and a rule matches, all its spans in this process are exported; if none does, it is as the sampler said. Backends
/// count right: `ot=th` says for each kept trace with which probability one like it is kept, so that an error that is
/// always kept counts as one though the sampler keeps one in a hundred.
///
/// Memory and time are bounded. If the bounds come near, less of what the sampler drops is recorded, by a threshold that
/// is published, too. At a bound the decision is made from what is known by then, and later spans follow it. If a trace
/// had to be decided for want of memory, matches do not say what they count until a second has passed without.
///
/// # Performance
///
/// All spans are recorded, which costs what recording costs. Traces that a caller elsewhere has not sampled are left
/// alone, unless [`unsampled_callers`](Self::unsampled_callers) says otherwise.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ParentBased, Probability, Tail, Tracer};
/// use std::time::Duration;
///
/// let tail = Tail::new()
///     .keep_errors()
///     .slower_than(Duration::from_millis(500))
///     .max_spans(10_000);
/// let tracer = Tracer::builder("shop")
///     .sampler(ParentBased::root(Probability::new(0.01)?))
///     .tail(tail)
///     .build()?;
/// let span = tracer.span("restock").start();
/// assert!(span.is_recording());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it is given to a tracer"]
pub struct Tail {
    rules: Vec<Rule>,
    pub(super) limits: Limits,
    pub(super) unsampled_callers: bool,
}

/// How much is held back, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) spans: usize,
    pub(super) bytes: usize,
    pub(super) segment: usize,
    pub(super) age: Duration,
}

enum Rule {
    Errors,
    Slower(Duration),
    If {
        /// The threshold of the share of the matches that is kept.
        threshold: u64,
        matches: Condition,
    },
}

type Condition = Box<dyn Fn(&Segment<'_>) -> bool + Send + Sync>;

impl Tail {
    /// Makes a tail without rules.
    pub fn new() -> Self {
        Self {
            rules: Vec::new(),
            limits: Limits {
                spans: 10_000,
                bytes: 32 << 20,
                segment: 1000,
                age: Duration::from_secs(30),
            },
            unsampled_callers: false,
        }
    }

    /// Keeps local traces in which a span has ended with an error.
    pub fn keep_errors(mut self) -> Self {
        self.rules.push(Rule::Errors);
        self
    }

    /// Keeps local traces whose root takes longer than this.
    pub fn slower_than(mut self, limit: Duration) -> Self {
        self.rules.push(Rule::Slower(limit));
        self
    }

    /// Keeps local traces that match. The rule runs where a root ends: it must not block. What it starts is not
    /// recorded, and if it panics, it does not match.
    pub fn keep_if(self, matches: impl Fn(&Segment<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.rule(0, matches)
    }

    /// Keeps a share of the local traces that match.
    ///
    /// ```
    /// use cortex_trace::{Probability, Tail};
    /// use std::time::Duration;
    ///
    /// let tenth = Probability::new(0.1)?;
    /// let tail = Tail::new().keep_some(tenth, |segment| segment.duration() > Duration::from_millis(100));
    /// # drop(tail);
    /// # Ok::<(), cortex_trace::InvalidProbability>(())
    /// ```
    pub fn keep_some(
        self,
        share: Probability,
        matches: impl Fn(&Segment<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.rule(share.threshold().map_or(END, crate::Threshold::bits), matches)
    }

    /// Sets how many spans are held at most, those that have not ended included; 10 000 without it. At least 1.
    pub fn max_spans(mut self, spans: usize) -> Self {
        self.limits.spans = spans.max(1);
        self
    }

    /// Sets how many bytes the held spans take at most; 32 MiB without it.
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Sets how many spans of one local trace are held at most; 1000 without it. At least 1, and no more than half
    /// of all.
    pub fn max_spans_per_segment(mut self, spans: usize) -> Self {
        self.limits.segment = spans.max(1);
        self
    }

    /// Sets how long a local trace may wait for its end, 30 s without it: for streams and loops that have none.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.limits.age = age;
        self
    }

    /// Looks at traces, too, that a caller elsewhere has not sampled. What is kept of them has no parent in the backend.
    pub const fn unsampled_callers(mut self) -> Self {
        self.unsampled_callers = true;
        self
    }

    fn rule(
        mut self,
        threshold: u64,
        matches: impl Fn(&Segment<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.rules.push(Rule::If {
            threshold,
            matches: Box::new(matches),
        });
        self
    }

    /// Returns the smallest threshold of the rules that match, and how many rules panicked.
    pub(super) fn judge(&self, segment: &Segment<'_>) -> (Option<u64>, u64) {
        let (mut smallest, mut panics) = (None, 0);
        for rule in &self.rules {
            let threshold = match rule {
                Rule::Errors => segment.has_error().then_some(0),
                Rule::Slower(limit) => (segment.duration() > *limit).then_some(0),
                Rule::If { threshold, matches } => {
                    let before = JUDGING.replace(true);
                    // What a panic leaves half done belongs to the rule.
                    let matches = catch_unwind(AssertUnwindSafe(|| matches(segment)));
                    JUDGING.set(before);
                    panics += u64::from(matches.is_err());
                    matches.unwrap_or(false).then_some(*threshold)
                }
            };
            smallest = match (smallest, threshold) {
                (Some(a), Some(b)) => Some(u64::min(a, b)),
                (a, b) => a.or(b),
            };
            if smallest == Some(0) {
                break;
            }
        }
        (smallest, panics)
    }
}

impl Default for Tail {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("rules", &self.rules.len())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

thread_local! {
    static JUDGING: Cell<bool> = const { Cell::new(false) };
}

/// Says whether a user's rule runs on this thread.
pub(crate) fn is_judging() -> bool {
    JUDGING.get()
}
