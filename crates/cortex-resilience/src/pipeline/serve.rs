//! The policies around services.

use super::around::Around;
use super::policy::WrapService;
use super::repeat::Repeat;
use super::stages::Serve;
use crate::adaptive::AdaptiveLimit;
use crate::bulkhead::{Bulkhead, BulkheadLayer, UntilAnswer};
use crate::chaos::{Chaos, ChaosLayer};
use crate::circuit::{Breaker, BreakerLayer};
use crate::fallback::{Fallback, FallbackLayer};
use crate::gate::GateLayer;
use crate::hedge::{Hedge, HedgeLayer, HedgeService};
use crate::load_shed::LoadShed;
use crate::rate_limit::{RateLimitLayer, RateLimiter};
use crate::retry::{Retry, RetryLayer, RetryService};
use crate::throttle::AdaptiveThrottle;
use crate::timeout::{Timeout, TimeoutLayer};
use tower_layer::Layer;

impl<I, P, Q, Rest> Serve<I, Q> for Around<P, Rest>
where
    Rest: Serve<I, Q>,
    P: WrapService<Rest::Service>,
{
    type Service = P::Service;

    fn serve(&self, service: I, requests: &Q) -> P::Service {
        self.policy.wrap_service(self.rest.serve(service, requests))
    }
}

impl<I, Q: Clone, C: Clone, O, K, Rest> Serve<I, Q> for Repeat<Retry<C, O, K>, Rest>
where
    Rest: Serve<I, Q>,
{
    type Service = RetryService<Rest::Service, Q, C, O, K>;

    fn serve(&self, service: I, requests: &Q) -> Self::Service {
        RetryLayer::new(self.policy.clone())
            .requests(requests.clone())
            .layer(self.rest.serve(service, requests))
    }
}

impl<I, Q: Clone, C: Clone, O, K, Rest> Serve<I, Q> for Repeat<Hedge<C, O, K>, Rest>
where
    Rest: Serve<I, Q>,
{
    type Service = HedgeService<Rest::Service, Q, C, O, K>;

    fn serve(&self, service: I, requests: &Q) -> Self::Service {
        HedgeLayer::new(self.policy.clone())
            .requests(requests.clone())
            .layer(self.rest.serve(service, requests))
    }
}

/// By the layers of the policies.
macro_rules! layers {
    ($([$($generic:ident $(: $bound:ident)?),*] $policy:ty, $layer:ident<$($parameter:ty),*>;)*) => {$(
        impl<S, $($generic $(: $bound)?),*> WrapService<S> for $policy
        where
            $layer<$($parameter),*>: Layer<S>,
        {
            type Service = <$layer<$($parameter),*> as Layer<S>>::Service;

            fn wrap_service(&self, service: S) -> Self::Service {
                <$layer<$($parameter),*>>::new(self.clone()).layer(service)
            }
        }
    )*};
}

layers! {
    [C: Clone, O, K] Breaker<C, O, K>, BreakerLayer<C, O, K>;
    [O, K] RateLimiter<O, K>, RateLimitLayer<O, K>;
    [O, K] Bulkhead<O, K>, BulkheadLayer<UntilAnswer, O, K>;
    [O, K] Timeout<O, K>, TimeoutLayer<O, K>;
    [L, C: Clone, O, K] AdaptiveLimit<L, C, O, K>, GateLayer<Self>;
    [C: Clone, O, K] AdaptiveThrottle<C, O, K>, GateLayer<Self>;
    [P, O] LoadShed<P, O>, GateLayer<Self>;
    [H, C, O] Fallback<H, C, O>, FallbackLayer<H, C, O>;
    [E, A, W, O] Chaos<E, A, W, O>, ChaosLayer<E, A, W, O>;
}
