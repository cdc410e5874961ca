use cortex_core::Clock;
use cortex_resilience::Observer;
use cortex_resilience::adaptive::{AdaptiveLimit, Limit};
use cortex_resilience::bulkhead::Bulkhead;
use cortex_resilience::chaos::Chaos;
use cortex_resilience::circuit::Breaker;
use cortex_resilience::fallback::Fallback;
use cortex_resilience::hedge::Hedge;
use cortex_resilience::load_shed::{LoadShed, ShedPolicy};
use cortex_resilience::pipeline::Pipeline;
use cortex_resilience::pipeline::parts::{Around, Operation, Repeat};
use cortex_resilience::rate_limit::RateLimiter;
use cortex_resilience::retry::Retry;
use cortex_resilience::throttle::AdaptiveThrottle;
use cortex_resilience::timeout::Timeout;

use crate::admin::controls::{ControlError, Controllable, Controls};

/// A policy whose clones are the same one, as a part of a pipeline that operators see.
///
/// Implement it for policies of your own that are in pipelines.
///
/// # Examples
///
/// ```
/// use cortex_http::ControllablePolicy;
/// use cortex_resilience::circuit::Breaker;
///
/// fn kind<P: ControllablePolicy>(_: &P) -> &'static str {
///     P::KIND
/// }
/// assert_eq!(kind(&Breaker::builder("payments").build()?), "breaker");
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub trait ControllablePolicy: Controllable + Clone + 'static {
    /// What it is, of letters, digits, `_` and `-`.
    const KIND: &'static str;
}

/// The policies of a [`Pipeline`] that are all [controllable](ControllablePolicy), as those of this workspace are.
///
/// It is implemented for what pipelines are made of, and by nothing else.
pub trait ControllableStages {
    /// Hands out the policies, the outermost first.
    fn each(&self, visit: &mut Visit<'_>);
}

/// Takes the kind of a policy, and the policy.
type Visit<'a> = dyn FnMut(&'static str, Box<dyn Controllable>) + 'a;

impl ControllableStages for Operation {
    fn each(&self, _: &mut Visit<'_>) {}
}

impl<P: ControllablePolicy, Rest: ControllableStages> ControllableStages for Around<P, Rest> {
    fn each(&self, visit: &mut Visit<'_>) {
        visit(P::KIND, Box::new(self.policy().clone()));
        self.rest().each(visit);
    }
}

impl<P: ControllablePolicy, Rest: ControllableStages> ControllableStages for Repeat<P, Rest> {
    fn each(&self, visit: &mut Visit<'_>) {
        visit(P::KIND, Box::new(self.policy().clone()));
        self.rest().each(visit);
    }
}

impl Controls {
    /// Adds the policies of a pipeline: parts of the kind `pipeline`, named by the pipeline, the place, from 1 for the outermost,
    /// and the policy, such as `payments.3-breaker`.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register). Then none of them was added.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::Controls;
    /// use cortex_resilience::pipeline::Pipeline;
    ///
    /// let payments = Pipeline::standard("payments").build()?;
    /// let controls = Controls::new();
    /// controls.register_pipeline("payments", &payments)?;
    /// let parts = r#"["pipeline/payments.1-timeout", "pipeline/payments.2-retry", "#;
    /// assert!(format!("{controls:?}").starts_with(parts));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn register_pipeline<S: ControllableStages>(
        &self,
        name: &str,
        pipeline: &Pipeline<S>,
    ) -> Result<(), ControlError> {
        let mut parts = Vec::new();
        pipeline.stages().each(&mut |kind, part| {
            parts.push((format!("{name}.{}-{kind}", parts.len() + 1), part));
        });
        let mut added: Vec<String> = Vec::new();
        for (name, part) in parts {
            if let Err(error) = self.register("pipeline", &name, part) {
                for name in added {
                    self.remove("pipeline", &name);
                }
                return Err(error);
            }
            added.push(name);
        }
        Ok(())
    }
}

/// Policies and what they are called.
macro_rules! kinds {
    ($($kind:literal: [$($generic:ident: $bound:path),*] $policy:ty;)*) => {$(
        impl<$($generic),*> ControllablePolicy for $policy
        where
            Self: Controllable + Clone + 'static,
            $($generic: $bound),*
        {
            const KIND: &'static str = $kind;
        }
    )*};
}

kinds! {
    "adaptive_limit": [L: Limit, C: Clone, O: Observer, K: Clock] AdaptiveLimit<L, C, O, K>;
    "breaker": [C: Clone, O: Observer, K: Clock] Breaker<C, O, K>;
    "bulkhead": [O: Observer, K: Clock] Bulkhead<O, K>;
    "chaos": [E: Send, A: Send, W: Send, O: Observer] Chaos<E, A, W, O>;
    "fallback": [H: Send, C: Send, O: Observer] Fallback<H, C, O>;
    "hedge": [C: Clone, O: Observer, K: Clock] Hedge<C, O, K>;
    "load_shed": [P: ShedPolicy, O: Observer] LoadShed<P, O>;
    "rate_limit": [O: Observer, K: Clock] RateLimiter<O, K>;
    "retry": [C: Clone, O: Observer, K: Clock] Retry<C, O, K>;
    "throttle": [C: Clone, O: Observer, K: Clock] AdaptiveThrottle<C, O, K>;
    "timeout": [O: Observer, K: Clock] Timeout<O, K>;
}
