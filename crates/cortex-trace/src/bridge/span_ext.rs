use std::borrow::Cow;

use cortex_core::Context;
use tracing::Span;

use super::{SetParentError, TraceLayer};
use crate::propagation::Remote;
use crate::{Link, Status, Value};

/// Lets a span of the `tracing` crate do what a [`TraceLayer`] adds to it.
///
/// On a span that is disabled, filtered out or not recorded, setters do nothing. They find the layer through the
/// subscriber, which a layer inside a `tracing_subscriber::reload::Layer` hides: reload its filter instead.
///
/// # Examples
///
/// ```
/// use cortex_trace::{SpanExt, Tracer};
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let tracer = Tracer::builder("shop").build()?;
/// tracing::subscriber::with_default(tracing_subscriber::registry().with(tracer.layer()), || {
///     let span = tracing::info_span!("restock");
///     span.set_attribute("shop.shelf", 7); // a key that no field of the macro could have: it need not be declared
///     assert!(span.context().trace_id().is_some());
/// });
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
pub trait SpanExt: private::Sealed {
    /// Returns the context that work in this span runs under; the empty one if no [`TraceLayer`] knows it.
    fn context(&self) -> Context;

    /// Sets an attribute, in place of one with the same key. At most 128 are kept, texts up to 4096 bytes.
    fn set_attribute(&self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>);

    /// Sets how the work ended. [`Status::Ok`] is final: it stays, whatever is logged, recorded or set later.
    fn set_status(&self, status: Status);

    /// Says that a span elsewhere has to do with this one. At most 128 are kept.
    fn add_link(&self, link: Link);

    /// Makes a span in another process the parent: asks the sampler again, and this span changes its trace. Its
    /// deadline stays.
    ///
    /// The name and the kind stay, and the sampler is told the route, too. Other fields that the span was made with are
    /// recorded only if it would have been recorded without that parent.
    /// [`with_remote_parent`](crate::with_remote_parent) decides first, and costs less.
    ///
    /// # Errors
    ///
    /// The span is not traced, or it was entered, had a child or was asked for its context before, so that its ids are
    /// known already.
    fn set_remote_parent(&self, parent: Remote) -> Result<(), SetParentError>;
}

impl SpanExt for Span {
    fn context(&self) -> Context {
        with_layer(self, TraceLayer::context_of)
            .flatten()
            .unwrap_or_default()
    }

    fn set_attribute(&self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        with_layer(self, |layer, id| {
            // Both conversions are foreign code: not under the lock, and not for nothing.
            if layer.is_recording(id) {
                let (key, value) = (key.into(), value.into());
                layer.record(id, |recording| recording.set_attribute(key, value));
            }
        });
    }

    fn set_status(&self, status: Status) {
        with_layer(self, |layer, id| {
            layer.record(id, |recording| recording.set_status(status));
        });
    }

    fn add_link(&self, link: Link) {
        with_layer(self, |layer, id| {
            layer.record(id, |recording| recording.add_link(link));
        });
    }

    fn set_remote_parent(&self, parent: Remote) -> Result<(), SetParentError> {
        let name = self.metadata().ok_or(SetParentError::NotTraced)?.name();
        with_layer(self, |layer, id| layer.set_remote_parent(id, name, parent))
            .unwrap_or(Err(SetParentError::NotTraced))
    }
}

fn with_layer<R>(span: &Span, work: impl FnOnce(&TraceLayer, u64) -> R) -> Option<R> {
    span.with_subscriber(|(id, dispatch)| {
        let layer = dispatch.downcast_ref::<TraceLayer>()?;
        Some(work(layer, id.into_u64()))
    })
    .flatten()
}

mod private {
    #[expect(
        unnameable_types,
        reason = "nobody else implements the trait, so that it can grow"
    )]
    pub trait Sealed {}
    impl Sealed for tracing::Span {}
}
