use cortex_core::Context;
use tracing::{Dispatch, Event};
#[cfg(feature = "bridge")]
use {crate::TraceLayer, std::sync::OnceLock, tracing::dispatcher::WeakDispatch};

/// Tells a layer which trace an event is part of.
#[derive(Debug, Default)]
pub(crate) struct EventContext {
    #[cfg(feature = "bridge")]
    subscriber: OnceLock<WeakDispatch>,
}

impl EventContext {
    /// Notes the subscriber that the layer is part of.
    #[cfg_attr(
        not(feature = "bridge"),
        expect(unused_variables, clippy::unused_self, reason = "no span has ids then")
    )]
    pub(crate) fn register(&self, subscriber: &Dispatch) {
        // A second one, if the layer was moved into another subscriber, cannot be meant.
        #[cfg(feature = "bridge")]
        let _ = self.subscriber.set(subscriber.downgrade());
    }

    /// Returns the current context, or that of the span that the event names as its parent: the empty one if the
    /// subscriber's [`TraceLayer`] does not know it.
    #[inline]
    pub(crate) fn of(&self, event: &Event<'_>) -> Context {
        self.named(event).unwrap_or_else(Context::current)
    }

    #[cfg(feature = "bridge")]
    #[inline]
    fn named(&self, event: &Event<'_>) -> Option<Context> {
        let parent = event.parent()?;
        let dispatch = self.subscriber.get()?.upgrade()?;
        let layer = dispatch.downcast_ref::<TraceLayer>()?;
        Some(layer.context_near(parent).unwrap_or_default())
    }

    #[cfg(not(feature = "bridge"))]
    #[expect(clippy::unused_self, reason = "no span has ids then")]
    const fn named(&self, _: &Event<'_>) -> Option<Context> {
        None
    }
}

impl Clone for EventContext {
    /// Makes one for a layer in another subscriber.
    fn clone(&self) -> Self {
        Self::default()
    }
}
