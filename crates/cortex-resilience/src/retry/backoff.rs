use crate::build_error::BuildError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before each retry.
///
/// Whatever is asked for, a delay is never negative and never overflows: what is too long is the [cap](Self::cap), or
/// [`Duration::MAX`] without one.
///
/// # Examples
///
/// ```
/// use cortex_resilience::retry::{Backoff, Jitter, RetryCx};
/// use std::time::Duration;
///
/// let backoff = Backoff::exponential(Duration::from_millis(100)).cap(Duration::from_secs(1));
/// let delays = (1..=5).map(|retry| backoff.delay(&RetryCx::new(retry), 0.0).as_millis());
/// assert!(delays.eq([100, 200, 400, 800, 1000]));
///
/// let spread = backoff.jitter(Jitter::Full);
/// assert_eq!(spread.delay(&RetryCx::new(3), 0.5), Duration::from_millis(200)); // half of the way from 0 to 400 ms
/// ```
#[derive(Clone)]
pub struct Backoff {
    shape: Shape,
    jitter: Jitter,
    cap: Option<Duration>,
    cap_first: bool,
}

#[derive(Clone)]
enum Shape {
    Constant(Duration),
    Linear(Duration),
    Exponential { base: Duration, factor: f64 },
    Decorrelated(Duration),
    Custom(Arc<dyn Fn(&RetryCx) -> Duration + Send + Sync>),
}

/// How delays are spread, so that callers that failed together do not come back together.
///
/// # Examples
///
/// ```
/// use cortex_resilience::retry::{Backoff, Jitter, RetryCx};
/// use std::time::Duration;
///
/// let backoff = Backoff::constant(Duration::from_secs(10)).jitter(Jitter::Proportional(0.2));
/// let [least, most] = [0.0, 0.999].map(|random| backoff.delay(&RetryCx::new(1), random));
/// assert_eq!(least, Duration::from_secs(8));
/// assert!(most < Duration::from_secs(12));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Jitter {
    /// Every delay is as computed.
    #[default]
    None,
    /// A delay is anything within this share of the computed one to either side; 0 to 1.
    Proportional(f64),
    /// A delay is anything from zero to the computed one.
    Full,
}

/// What is known when the delay before a retry is computed.
///
/// # Examples
///
/// ```
/// use cortex_resilience::retry::{Backoff, RetryCx};
/// use std::time::Duration;
///
/// let patient = Backoff::custom(|cx: &RetryCx| Duration::from_secs(if cx.throttling { 30 } else { 1 }));
/// let mut cx = RetryCx::new(1);
/// cx.throttling = true;
/// assert_eq!(patient.delay(&cx, 0.0), Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryCx {
    /// Which retry it is since the backoff began; the first is 1. It begins anew after a delay that the dependency asked for.
    pub retry: u32,
    /// How many attempts were made; at least `retry`.
    pub attempts: u32,
    /// The delay before the last retry; `None` where the backoff begins.
    pub previous: Option<Duration>,
    /// Whether the dependency refused because it has too much to do.
    pub throttling: bool,
}

impl RetryCx {
    /// Tells of the retry with this number, and of nothing else.
    pub const fn new(retry: u32) -> Self {
        Self {
            retry,
            attempts: retry,
            previous: None,
            throttling: false,
        }
    }
}

impl Backoff {
    /// Waits as long before every retry.
    pub const fn constant(delay: Duration) -> Self {
        Self::of(Shape::Constant(delay))
    }

    /// Waits `base` before the first retry, and as much more before each that follows.
    pub const fn linear(base: Duration) -> Self {
        Self::of(Shape::Linear(base))
    }

    /// Waits `base` before the first retry, and twice as long before each that follows.
    pub const fn exponential(base: Duration) -> Self {
        Self::of(Shape::Exponential { base, factor: 2.0 })
    }

    /// Waits anything from `base` to three times the delay before, which is itself the jitter.
    pub const fn decorrelated(base: Duration) -> Self {
        Self::of(Shape::Decorrelated(base))
    }

    /// Waits as long as a function says, which is called once for each retry.
    pub fn custom(delay: impl Fn(&RetryCx) -> Duration + Send + Sync + 'static) -> Self {
        Self::of(Shape::Custom(Arc::new(delay)))
    }

    const fn of(shape: Shape) -> Self {
        Self {
            shape,
            jitter: Jitter::None,
            cap: None,
            cap_first: false,
        }
    }

    /// Sets by how much an exponential backoff grows, a number of at least 0; others do not heed it.
    #[must_use]
    pub fn factor(mut self, by: f64) -> Self {
        if let Shape::Exponential { factor, .. } = &mut self.shape {
            *factor = by;
        }
        self
    }

    /// Sets how delays are spread; by default they are not.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the longest delay, jitter included; by default there is none.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = Some(cap);
        self
    }

    /// Applies the cap before the jitter, as gRPC and AWS do: proportional jitter may go over it then.
    #[must_use]
    pub const fn cap_before_jitter(mut self) -> Self {
        self.cap_first = true;
        self
    }

    /// Returns the delay before a retry, for a random number of `0.0..1.0`.
    pub fn delay(&self, cx: &RetryCx, random: f64) -> Duration {
        let cap = self.cap.unwrap_or(Duration::MAX);
        let plain = self.plain(cx, random);
        if self.cap_first {
            self.spread(plain.min(cap), random)
        } else {
            self.spread(plain, random).min(cap)
        }
    }

    fn plain(&self, cx: &RetryCx, random: f64) -> Duration {
        let retry = cx.retry.max(1);
        match &self.shape {
            Shape::Constant(delay) => *delay,
            Shape::Linear(base) => base.saturating_mul(retry),
            Shape::Exponential { base, factor } => {
                scaled(*base, factor.powi(i32::try_from(retry - 1).unwrap_or(i32::MAX)))
            }
            Shape::Decorrelated(base) => {
                let most = cx.previous.unwrap_or(*base).saturating_mul(3).max(*base);
                base.saturating_add(scaled(most.saturating_sub(*base), random))
            }
            Shape::Custom(delay) => delay(cx),
        }
    }

    fn spread(&self, delay: Duration, random: f64) -> Duration {
        match self.jitter {
            Jitter::None => delay,
            // Without a multiplication where none of it is left, so that the ends are exact.
            Jitter::Proportional(share) => {
                let part = scaled(delay, share);
                let least = delay.saturating_sub(part);
                least.saturating_add(scaled(part, 2.0 * random))
            }
            Jitter::Full => scaled(delay, random),
        }
    }

    pub(super) fn check(&self, field: &'static str) -> Result<(), BuildError> {
        let wrong = |value: String, allowed| Err(BuildError::new(field, value, allowed));
        match self.shape {
            Shape::Exponential { factor, .. } if !(factor.is_finite() && factor >= 0.0) => {
                return wrong(format!("factor({factor})"), "a factor of 0 or more");
            }
            _ => {}
        }
        match self.jitter {
            Jitter::Proportional(share) if !(0.0..=1.0).contains(&share) => {
                wrong(format!("Proportional({share})"), "a share of 0 to 1")
            }
            _ => Ok(()),
        }
    }
}

/// Multiplies; what is no number, or too much of one, is as long as can be.
fn scaled(duration: Duration, by: f64) -> Duration {
    if duration.is_zero() || by <= 0.0 {
        return Duration::ZERO; // also zero times infinity
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * by).unwrap_or(Duration::MAX)
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("shape", &self.shape)
            .field("jitter", &self.jitter)
            .field("cap", &self.cap)
            .field("cap_before_jitter", &self.cap_first)
            .finish()
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(delay) => write!(f, "Constant({delay:?})"),
            Self::Linear(base) => write!(f, "Linear({base:?})"),
            Self::Exponential { base, factor } => write!(f, "Exponential({base:?}, {factor})"),
            Self::Decorrelated(base) => write!(f, "Decorrelated({base:?})"),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn delays(backoff: &Backoff, random: f64) -> Vec<u128> {
        (1..=4)
            .map(|retry| backoff.delay(&RetryCx::new(retry), random).as_millis())
            .collect()
    }

    #[test]
    fn each_shape_has_its_formula() {
        assert_eq!(delays(&Backoff::constant(millis(7)), 0.3), [7, 7, 7, 7]);
        assert_eq!(delays(&Backoff::linear(millis(7)), 0.3), [7, 14, 21, 28]);
        let exponential = Backoff::exponential(millis(10));
        assert_eq!(delays(&exponential, 0.3), [10, 20, 40, 80]);
        assert_eq!(delays(&exponential.clone().factor(1.5), 0.3), [10, 15, 22, 33]);
        assert_eq!(delays(&exponential.clone().factor(0.0), 0.3), [10, 0, 0, 0]);
        assert_eq!(delays(&exponential.jitter(Jitter::Full), 0.25), [2, 5, 10, 20]);
    }

    #[test]
    fn decorrelated_grows_from_the_delay_before() {
        let backoff = Backoff::decorrelated(millis(10)).cap(millis(500));
        let mut cx = RetryCx::new(1);
        assert_eq!(backoff.delay(&cx, 0.5), millis(20)); // 10 to 30
        cx.previous = Some(millis(20));
        assert_eq!(backoff.delay(&cx, 0.0), millis(10));
        assert_eq!(backoff.delay(&cx, 0.5), millis(35)); // 10 to 60
        cx.previous = Some(millis(400));
        assert_eq!(backoff.delay(&cx, 0.9), millis(500));
    }

    #[test]
    fn the_cap_comes_after_the_jitter_unless_it_is_told_otherwise() {
        let backoff = Backoff::exponential(millis(1000))
            .jitter(Jitter::Proportional(0.2))
            .cap(millis(2000));
        let third = RetryCx::new(3); // 4 s
        assert_eq!(backoff.delay(&third, 0.999), millis(2000));
        assert_eq!(backoff.delay(&third, 0.0), millis(2000));
        let first = backoff.cap_before_jitter();
        assert_eq!(first.delay(&third, 0.0), millis(1600));
        assert_eq!(first.delay(&third, 0.5), millis(2000));
        assert_eq!(first.delay(&third, 0.75), millis(2200));
    }

    #[test]
    fn a_base_of_zero_stays_zero() {
        for backoff in [
            Backoff::constant(Duration::ZERO),
            Backoff::linear(Duration::ZERO),
            Backoff::exponential(Duration::ZERO).factor(f64::MAX),
            Backoff::decorrelated(Duration::ZERO),
        ] {
            for retry in [1, 2, 1000, u32::MAX] {
                assert_eq!(
                    backoff.delay(&RetryCx::new(retry), 0.9),
                    Duration::ZERO,
                    "{backoff:?}"
                );
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let wrong = Backoff::exponential(millis(1)).factor(f64::NAN);
        assert_eq!(wrong.check("backoff").unwrap_err().value(), "factor(NaN)");
        let wrong = Backoff::constant(millis(1)).jitter(Jitter::Proportional(-0.1));
        assert_eq!(wrong.check("backoff").unwrap_err().allowed(), "a share of 0 to 1");
        assert_eq!(Backoff::constant(millis(1)).factor(-1.0).check("backoff"), Ok(()));
    }

    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::MAX),
            (any::<u64>(), 0_u32..1_000_000_000).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
            (0_u64..100_000_000_000).prop_map(Duration::from_nanos),
        ]
    }

    fn any_backoff() -> impl Strategy<Value = Backoff> {
        let shape = prop_oneof![
            any_duration().prop_map(Shape::Constant),
            any_duration().prop_map(Shape::Linear),
            (any_duration(), prop_oneof![0.0..4.0, any::<f64>()])
                .prop_map(|(base, factor)| Shape::Exponential { base, factor }),
            any_duration().prop_map(Shape::Decorrelated),
        ];
        let jitter = prop_oneof![
            Just(Jitter::None),
            Just(Jitter::Full),
            prop_oneof![0.0..=1.0, any::<f64>()].prop_map(Jitter::Proportional),
        ];
        (shape, jitter, proptest::option::of(any_duration()), any::<bool>()).prop_map(
            |(shape, jitter, cap, cap_first)| Backoff {
                shape,
                jitter,
                cap,
                cap_first,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Nothing panics, whatever the settings, the attempt and the random number are, and the cap holds.
        #[test]
        fn every_delay_is_one(
            backoff in any_backoff(),
            retry in prop_oneof![0_u32..100, any::<u32>()],
            previous in proptest::option::of(any_duration()),
            random in prop_oneof![0.0..1.0, any::<f64>()],
        ) {
            let mut cx = RetryCx::new(retry);
            cx.previous = previous;
            let delay = backoff.delay(&cx, random);
            if let (Some(cap), false) = (backoff.cap, backoff.cap_first) {
                prop_assert!(delay <= cap);
            }
        }

        /// Against integers: an exponential backoff is a sum of doublings, within what a float of that size can tell.
        #[test]
        fn exponential_is_doubling(base in 1_u64..10_000_000_000, retry in 1_u32..60) {
            let mut nanos = u128::from(base);
            for _ in 1..retry {
                nanos *= 2;
            }
            let cap = Duration::from_hours(24);
            let backoff = Backoff::exponential(Duration::from_nanos(base)).cap(cap);
            let delay = backoff.delay(&RetryCx::new(retry), 0.0).as_nanos();
            prop_assert!(delay.abs_diff(nanos.min(cap.as_nanos())) <= 1 + nanos.min(cap.as_nanos()) / (1 << 50));
        }

        /// Jitter stays where it belongs.
        #[test]
        fn jitter_is_within_its_share(base in 1_u64..1_000_000_000, share in 0.0..=1.0, random in 0.0..1.0) {
            let base = Duration::from_nanos(base);
            let cx = RetryCx::new(1);
            let delay = Backoff::constant(base).jitter(Jitter::Proportional(share)).delay(&cx, random);
            let (least, most) = (base.as_secs_f64() * (1.0 - share), base.as_secs_f64() * (1.0 + share));
            prop_assert!((least - 3e-9..=most + 3e-9).contains(&delay.as_secs_f64()));
            prop_assert!(Backoff::constant(base).jitter(Jitter::Full).delay(&cx, random) <= base);
        }
    }
}
