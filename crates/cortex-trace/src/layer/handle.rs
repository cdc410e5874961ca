use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cortex_core::Context;

use crate::{ServerSpan, Value};

/// The span of a request that is being served, for whoever knows more about it than the layer: a router, a handler.
///
/// [`TraceServerLayer`](super::TraceServerLayer) puts it into the extensions of every request that is recorded, and
/// only of those, so that nobody builds attributes for nothing: with axum, extract `Option<Extension<SpanHandle>>`.
/// After the end of the request it does nothing.
///
/// # Examples
///
/// ```
/// use cortex_trace::layer::SpanHandle;
/// use http::{Request, Response};
///
/// async fn show_user(request: Request<()>) -> Response<String> {
///     if let Some(span) = request.extensions().get::<SpanHandle>() {
///         span.set_route("/users/{id}");
///         span.set_attribute("user.kind", "guest");
///     }
///     Response::new("somebody".to_owned())
/// }
/// # drop(show_user(Request::new(())));
/// ```
#[derive(Clone)]
pub struct SpanHandle {
    shared: Arc<Shared>,
}

struct Shared {
    context: Context,
    /// None after the end.
    span: Mutex<Option<ServerSpan>>,
}

impl SpanHandle {
    pub(super) fn new(span: ServerSpan) -> Self {
        Self {
            shared: Arc::new(Shared {
                context: span.context(),
                span: Mutex::new(Some(span)),
            }),
        }
    }

    /// Returns the context that the work for this request runs under.
    pub fn context(&self) -> Context {
        self.shared.context
    }

    /// Says whether the request is still being served: whether setters have an effect.
    pub fn is_recording(&self) -> bool {
        self.with(|span| span.is_some())
    }

    /// Sets the template of the route that matched: `/users/{id}`, never the path.
    pub fn set_route(&self, route: &str) {
        self.with(|span| {
            if let Some(span) = span {
                span.set_route(route);
            }
        });
    }

    /// Sets an attribute, in place of one with the same key. At most 128 are kept, texts up to 4096 bytes.
    pub fn set_attribute(&self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into()); // foreign code, so not under the lock
        self.with(|span| {
            if let Some(span) = span {
                span.set_attribute(key, value);
            }
        });
    }

    pub(super) fn take(&self) -> Option<ServerSpan> {
        self.with(Option::take)
    }

    fn with<R>(&self, work: impl FnOnce(&mut Option<ServerSpan>) -> R) -> R {
        work(&mut self.shared.span.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for SpanHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanHandle")
            .field("context", &self.shared.context)
            .field("is_recording", &self.is_recording())
            .finish_non_exhaustive()
    }
}
