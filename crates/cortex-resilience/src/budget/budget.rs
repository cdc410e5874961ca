use super::bucket::{Bucket, Costs};
use super::in_flight::InFlight;
use super::spend::{Cost, Handle, Running, Withdrawal};
use super::throttle::{ONE, Throttle};
use super::windowed::{UNIT, Windowed, WindowedBuilder};
use crate::build_error::BuildError;
use std::sync::Arc;

/// Bounds the attempts beyond the first, of all the policies that share it; clones are the same budget.
///
/// Policies ask it by themselves. To ask it by hand, [`begin`](Self::begin) a first attempt, and
/// [withdraw](Self::try_withdraw) for one that follows.
///
/// # Examples
///
/// ```
/// use cortex_resilience::budget::{Budget, Cost};
///
/// let budget = Budget::throttle(4, 0.1)?;
/// for _ in 0..2 {
///     budget.begin().failed(); // two of four tokens are left: not more than half
/// }
/// assert!(budget.try_withdraw(Cost::Retry).is_none());
/// budget.begin().succeeded();
/// assert!(budget.try_withdraw(Cost::Retry).is_some());
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    kind: Arc<Kind>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for a dependency, and it is behind an `Arc`"
)]
pub(super) enum Kind {
    Throttle(Throttle),
    Bucket(Bucket),
    Windowed(Windowed),
    InFlight(InFlight),
}

impl Budget {
    /// Makes the throttle of gRPC (proposal A6): there are at most `max_tokens`, 1 to 1000. A failure takes one, a success
    /// gives `token_ratio` back, 0.001 to 1000. Attempts beyond the first are let through while there are more than half.
    ///
    /// # Errors
    ///
    /// A number is out of its range; the error names it.
    pub fn throttle(max_tokens: u32, token_ratio: f64) -> Result<Self, BuildError> {
        Ok(Self::of(Kind::Throttle(Throttle::new(max_tokens, token_ratio)?)))
    }

    /// Makes a bucket of tokens, which begins full. Each attempt beyond the first takes its cost, and puts it back if it
    /// succeeds. A success of a first attempt puts one back.
    ///
    /// # Errors
    ///
    /// A cost is zero, or more than the capacity; the error names it.
    pub fn bucket(capacity: u32, costs: Costs) -> Result<Self, BuildError> {
        Ok(Self::of(Kind::Bucket(Bucket::new(capacity, costs)?)))
    }

    /// Makes the bucket of AWS's standard retries as of version 2.1: 500 tokens; a retry costs 14, after throttling 5.
    pub fn aws() -> Self {
        Self::aws_costs(14, 5, 14)
    }

    /// Makes the bucket of AWS's standard retries as of version 2.0: 500 tokens; a retry costs 5, after a timeout 10.
    pub fn aws_2_0() -> Self {
        Self::aws_costs(5, 5, 10)
    }

    fn aws_costs(retry: u32, throttling: u32, timeout: u32) -> Self {
        Self::of(Kind::Bucket(Bucket::unchecked(
            500,
            Costs {
                retry,
                throttling,
                timeout,
            },
        )))
    }

    /// Sets up a budget of the last seconds: each first attempt pays for `ratio` attempts beyond the first, and there is a
    /// reserve for times of little traffic. With a ratio of 0 there is only the reserve.
    pub fn windowed(ratio: f64) -> WindowedBuilder {
        WindowedBuilder::new(ratio)
    }

    /// Makes a budget of what runs right now: an attempt beyond the first is let through if fewer than `floor` such run, or
    /// they are at most this share of all, 0 to 1. Waiting for a retry counts for nothing.
    ///
    /// # Errors
    ///
    /// The share is none.
    pub fn in_flight(max_share: f64, floor: u32) -> Result<Self, BuildError> {
        Ok(Self::of(Kind::InFlight(InFlight::new(max_share, floor)?)))
    }

    fn of(kind: Kind) -> Self {
        Self { kind: Arc::new(kind) }
    }

    pub(super) fn of_window(windowed: Windowed) -> Self {
        Self::of(Kind::Windowed(windowed))
    }

    /// Takes note of a first attempt, which is never refused.
    #[inline]
    pub fn begin(&self) -> Running<'_> {
        Running::first(Handle::Borrowed(&self.kind))
    }

    /// Takes note of a first attempt that outlives this handle.
    #[inline]
    pub fn begin_owned(&self) -> Running<'static> {
        Running::first(Handle::Owned(Arc::clone(&self.kind)))
    }

    /// Takes out what an attempt beyond the first costs, or refuses it.
    #[must_use = "if dropped it is put back"]
    pub fn try_withdraw(&self, cost: Cost) -> Option<Withdrawal<'_>> {
        Withdrawal::take(Handle::Borrowed(&self.kind), cost)
    }

    /// Takes out what an attempt costs that outlives this handle, or refuses it.
    #[must_use = "if dropped it is put back"]
    pub fn try_withdraw_owned(&self, cost: Cost) -> Option<Withdrawal<'static>> {
        Withdrawal::take(Handle::Owned(Arc::clone(&self.kind)), cost)
    }

    /// Says whether an attempt beyond the first would be let through now.
    pub fn allows(&self) -> bool {
        match &*self.kind {
            Kind::Throttle(throttle) => throttle.allows(),
            Kind::Bucket(bucket) => bucket.allows(),
            Kind::Windowed(windowed) => windowed.level() >= UNIT,
            Kind::InFlight(in_flight) => in_flight.allows(),
        }
    }

    /// Returns how full it is: the tokens of a throttle or a bucket, the attempts that a windowed budget pays for, or how many
    /// attempts beyond the first run.
    #[expect(clippy::cast_precision_loss, reason = "for eyes")]
    pub fn level(&self) -> f64 {
        match &*self.kind {
            Kind::Throttle(throttle) => throttle.tokens() as f64 / ONE as f64,
            Kind::Bucket(bucket) => bucket.tokens() as f64,
            Kind::Windowed(windowed) => windowed.level() as f64 / UNIT as f64,
            Kind::InFlight(in_flight) => f64::from(in_flight.beyond_first()),
        }
    }
}
