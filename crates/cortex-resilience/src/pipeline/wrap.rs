//! The policies around one future.

use super::around::Around;
use super::policy::{Policy, Wrap};
use super::stages::Stages;
use crate::adaptive::{AdaptiveLimit, Limit};
use crate::bulkhead::{self, Bulkhead};
use crate::circuit::{self, Breaker};
use crate::gate;
use crate::load_shed::{LoadShed, ShedPolicy};
use crate::observer::Observer;
use crate::rate_limit::{self, RateLimiter};
use crate::throttle::AdaptiveThrottle;
use crate::timeout::{self, Timeout};
use cortex_core::Clock;

/// Those that judge nothing.
macro_rules! unjudging {
    ($(<$($generic:ident $(: $bound:ident)?),+> $policy:ty, $call:ty;)*) => {$(
        impl<$($generic),+> Policy for $policy {
            type Over<Rest: Stages> = Around<Self, Rest>;

            fn over<Rest: Stages>(self, rest: Rest) -> Around<Self, Rest> {
                Around { policy: self, rest }
            }
        }

        impl<F, $($generic $(: $bound)?),+> Wrap<F> for $policy {
            type Call<'a> = $call where Self: 'a;

            #[inline]
            fn wrap(&self, future: F) -> Self::Call<'_> {
                self.call(future)
            }
        }
    )*};
}

unjudging! {
    <O: Observer, K: Clock> RateLimiter<O, K>, rate_limit::Call<'a, F, O, K>;
    <O: Observer, K: Clock> Bulkhead<O, K>, bulkhead::Call<'a, F, O, K>;
    <O: Observer, K: Clock> Timeout<O, K>, timeout::Call<'a, F, O, K>;
}

impl<F, P: ShedPolicy, O: Observer> Wrap<F> for LoadShed<P, O> {
    type Call<'a>
        = gate::Call<'a, F, Self>
    where
        Self: 'a;

    #[inline]
    fn wrap(&self, future: F) -> Self::Call<'_> {
        self.call(future)
    }
}

impl<P, O> Policy for LoadShed<P, O> {
    type Over<Rest: Stages> = Around<Self, Rest>;

    fn over<Rest: Stages>(self, rest: Rest) -> Around<Self, Rest> {
        Around { policy: self, rest }
    }
}

/// Those that judge results, and so have to look through what is inside.
macro_rules! judging {
    ($($policy:ident [$($before:ident: $bound:ident)?], $call:ty;)*) => {$(
        impl<$($before,)? C, O, K> Policy for $policy<$($before,)? C, O, K> {
            type Over<Rest: Stages> = Around<$policy<$($before,)? Rest::Through<C>, O, K>, Rest>;

            fn over<Rest: Stages>(self, rest: Rest) -> Self::Over<Rest> {
                let policy = self.map_classify(Rest::through);
                Around { policy, rest }
            }
        }

        impl<F, $($before: $bound,)? C, O: Observer, K: Clock> Wrap<F> for $policy<$($before,)? C, O, K> {
            type Call<'a> = $call where Self: 'a;

            #[inline]
            fn wrap(&self, future: F) -> Self::Call<'_> {
                self.call(future)
            }
        }
    )*};
}

judging! {
    Breaker [], circuit::Call<'a, F, C, O, K>;
    AdaptiveLimit [L: Limit], gate::Call<'a, F, Self>;
    AdaptiveThrottle [], gate::Call<'a, F, Self>;
}
