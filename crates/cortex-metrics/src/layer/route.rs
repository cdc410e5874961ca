use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The template that a request's path matched, such as `/users/{id}`: what metrics may be split by.
///
/// Never the path itself: everybody who can send a request can invent paths, each of which would be a series.
///
/// # Examples
///
/// ```
/// use cortex_metrics::layer::Route;
/// use std::sync::Arc;
///
/// let user = Route::from("/users/{id}");
/// assert_eq!(user, Route::from(Arc::from("/users/{id}")));
/// assert_eq!(user.as_str(), "/users/{id}");
/// ```
#[derive(Clone)]
pub struct Route(Repr);

/// Whatever there is already: to name a route allocates nothing.
#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared(Arc<str>),
    #[cfg(feature = "axum")]
    Matched(axum::extract::MatchedPath),
}

impl Route {
    /// Stands for all requests that no route is known of.
    pub(super) const UNMATCHED: Self = Self(Repr::Static("unmatched"));

    /// Returns the route in the request's extensions: the default of [`MetricsLayerBuilder::route`].
    ///
    /// A router that is not axum's, or a caller who knows the template of an address, puts it there.
    ///
    /// [`MetricsLayerBuilder::route`]: super::MetricsLayerBuilder::route
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::layer::Route;
    /// use http::Request;
    ///
    /// let request = Request::get("/users/7").extension(Route::from("/users/{id}"));
    /// let (parts, ()) = request.body(())?.into_parts();
    /// assert_eq!(Route::extension(&parts), Some(Route::from("/users/{id}")));
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn extension(parts: &http::request::Parts) -> Option<Self> {
        parts.extensions.get::<Self>().cloned()
    }

    /// Returns the route that axum's router matched, nested routers included.
    ///
    /// It is known inside the router only: give the layer to `Router::layer` or `Router::route_layer`. Requests that
    /// end in a fallback, or in a service that is nested without a router, have none.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use cortex_metrics::layer::{MetricsLayer, Route};
    ///
    /// let registry = cortex_metrics::Registry::default();
    /// let metrics = MetricsLayer::builder().route(Route::matched_path).server(&registry)?;
    /// let app: Router = Router::new()
    ///     .route("/users/{id}", get(async || "somebody"))
    ///     .layer(metrics);
    /// # assert!(app.has_routes());
    /// # Ok::<(), cortex_metrics::RegisterError>(())
    /// ```
    #[cfg(feature = "axum")]
    pub fn matched_path(parts: &http::request::Parts) -> Option<Self> {
        let matched = parts.extensions.get::<axum::extract::MatchedPath>()?;
        Some(Self(Repr::Matched(matched.clone())))
    }

    /// Returns the template.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(template) => template,
            Repr::Shared(template) => template,
            #[cfg(feature = "axum")]
            Repr::Matched(matched) => matched.as_str(),
        }
    }
}

impl From<&'static str> for Route {
    fn from(template: &'static str) -> Self {
        Self(Repr::Static(template))
    }
}

impl From<Arc<str>> for Route {
    fn from(template: Arc<str>) -> Self {
        Self(Repr::Shared(template))
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.as_str()).finish()
    }
}
