use std::fmt;
use std::sync::Arc;

/// The template that a request's path matched, or was made from, such as `/users/{id}`: `http.route` of a server,
/// `url.template` of a client.
///
/// Never the path itself, because it stands in the name of the span, which is of low cardinality.
///
/// # Examples
///
/// ```
/// use cortex_trace::layer::Route;
/// use std::sync::Arc;
///
/// let user = Route::from("/users/{id}");
/// assert_eq!(user, Route::from(Arc::from("/users/{id}")));
/// assert_eq!(user.as_str(), "/users/{id}");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Route(Arc<str>);

impl Route {
    /// Returns the template in the request's extensions: what the layers look for unless they are told otherwise.
    ///
    /// A router, or a caller who knows the template of an address, puts it there.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::layer::Route;
    /// use http::Request;
    ///
    /// let request = Request::get("/users/7").extension(Route::from("/users/{id}"));
    /// let (parts, ()) = request.body(())?.into_parts();
    /// assert_eq!(Route::extension(&parts), Some("/users/{id}"));
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn extension(parts: &http::request::Parts) -> Option<&str> {
        parts.extensions.get().map(Self::as_str)
    }

    /// Returns the template.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Route {
    fn from(template: &str) -> Self {
        Self(template.into())
    }
}

impl From<Arc<str>> for Route {
    fn from(template: Arc<str>) -> Self {
        Self(template)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.as_str()).finish()
    }
}
