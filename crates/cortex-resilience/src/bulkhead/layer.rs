use super::policy::Bulkhead;
use super::priority::Priority;
use super::service::BulkheadService;
use crate::hold::UntilAnswer;
#[cfg(feature = "http")]
use crate::hold::UntilBodyEnd;
use cortex_core::TscClock;
use std::marker::PhantomData;
use tower_layer::Layer;

/// Puts services behind one bulkhead: all of them share it.
///
/// # Examples
///
/// ```
/// use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bulkhead = Bulkhead::builder("search").max_concurrent(1).build()?;
/// let mut search = BulkheadLayer::new(bulkhead.clone()).layer(service_fn(|words: &'static str| async move {
///     Ok::<_, std::fmt::Error>(words.len())
/// }));
/// assert_eq!(search.ready().await?.call("bulkhead").await, Ok(8));
/// let running = bulkhead.try_acquire()?;
/// assert!(search.ready().await?.call("bulkhead").await.unwrap_err().rejected().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BulkheadLayer<H = UntilAnswer, O = (), K = TscClock> {
    bulkhead: Bulkhead<O, K>,
    priority: Priority,
    hold: PhantomData<fn() -> H>,
}

impl<O, K> BulkheadLayer<UntilAnswer, O, K> {
    /// Makes a layer of a bulkhead, which stays the same whoever else has it.
    pub const fn new(bulkhead: Bulkhead<O, K>) -> Self {
        Self {
            bulkhead,
            priority: Priority::Normal,
            hold: PhantomData,
        }
    }

    /// Holds the permits of services that answer with an [`http::Response`] until its body has ended: a response is not done
    /// with its head.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn until_body_end(self) -> BulkheadLayer<UntilBodyEnd, O, K> {
        BulkheadLayer {
            bulkhead: self.bulkhead,
            priority: self.priority,
            hold: PhantomData,
        }
    }
}

impl<H, O, K> BulkheadLayer<H, O, K> {
    /// Sets who comes first where calls wait. Layers of the same bulkhead may have several priorities.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

impl<H, O, K> Clone for BulkheadLayer<H, O, K> {
    fn clone(&self) -> Self {
        Self {
            bulkhead: self.bulkhead.clone(),
            priority: self.priority,
            hold: PhantomData,
        }
    }
}

impl<S, H, O, K> Layer<S> for BulkheadLayer<H, O, K> {
    type Service = BulkheadService<S, H, O, K>;

    fn layer(&self, inner: S) -> Self::Service {
        BulkheadService::new(inner, self.bulkhead.clone(), self.priority)
    }
}
