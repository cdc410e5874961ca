use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use tower_service::Service;

use crate::table::{RouteTable, UNMATCHED};

/// An axum `Router` that remembers its patterns, so that the service outside it can name a request's route.
///
/// axum lists no routes, and asking it from the inside costs every request about 5 % of a small handler. Build the
/// router with this instead: the same calls, the same meaning. A finished `Router` is taken too; its requests are
/// labelled `unmatched` unless [`labelled`](Self::labelled) names the patterns.
///
/// # Examples
///
/// ```
/// use axum::routing::get;
/// use cortex_http::Routes;
///
/// let users = Routes::new().route("/", get(|| async { "all" })).route("/{id}", get(|| async { "one" }));
/// let routes: Routes = Routes::new().route("/", get(|| async { "hello" })).nest("/users", users);
/// assert_eq!(routes.patterns().collect::<Vec<_>>(), ["/", "/users", "/users/{id}"]);
/// ```
#[derive(Clone)]
pub struct Routes<S = ()> {
    router: Router<S>,
    patterns: Vec<Pattern>,
}

/// What a request matches, and the label it gets.
#[derive(Clone, Debug)]
struct Pattern {
    pattern: String,
    label: String,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Makes an empty set of routes.
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            patterns: Vec::new(),
        }
    }

    /// Adds a route, as `Router::route`.
    ///
    /// # Panics
    ///
    /// Where axum does: the path does not begin with `/`, or overlaps another route.
    #[must_use]
    pub fn route(mut self, path: &str, methods: MethodRouter<S>) -> Self {
        self.router = self.router.route(path, methods);
        self.add(path.into(), path.into());
        self
    }

    /// Adds another set of routes under a prefix, as `Router::nest`.
    ///
    /// # Panics
    ///
    /// Where axum does: the prefix is `/` or overlaps another route.
    #[must_use]
    pub fn nest(mut self, prefix: &str, routes: Self) -> Self {
        self.router = self.router.nest(prefix, routes.router);
        for Pattern { pattern, label } in routes.patterns {
            self.add(nested(prefix, &pattern), nested(prefix, &label));
        }
        self
    }

    /// Adds another set of routes, as `Router::merge`.
    ///
    /// # Panics
    ///
    /// Where axum does: routes overlap, or both have a fallback.
    #[must_use]
    pub fn merge(mut self, routes: Self) -> Self {
        self.router = self.router.merge(routes.router);
        self.patterns.extend(routes.patterns);
        self
    }

    /// Adds a service under a prefix, as `Router::nest_service`; its label is `prefix/{*rest}`.
    ///
    /// # Panics
    ///
    /// Where axum does: the prefix is `/` or overlaps another route.
    #[must_use]
    pub fn nest_service<T>(mut self, prefix: &str, service: T) -> Self
    where
        T: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        T::Response: IntoResponse,
        T::Future: Send + 'static,
    {
        self.router = self.router.nest_service(prefix, service);
        let prefix = prefix.trim_end_matches('/');
        let label = format!("{prefix}/{{*rest}}");
        for pattern in [prefix.into(), format!("{prefix}/"), label.clone()] {
            self.add(pattern, label.clone());
        }
        self
    }

    /// Answers requests that match no route, as `Router::fallback`; their label is `unmatched`.
    #[must_use]
    pub fn fallback<H: Handler<T, S>, T: 'static>(mut self, handler: H) -> Self {
        self.router = self.router.fallback(handler);
        self
    }

    /// Changes the router, for what has no method here: layers, extensions. Routes added inside have no label.
    #[must_use]
    pub fn map(mut self, change: impl FnOnce(Router<S>) -> Router<S>) -> Self {
        self.router = change(self.router);
        self
    }

    /// Gives the handlers their state, as `Router::with_state`.
    pub fn with_state<T>(self, state: S) -> Routes<T> {
        Routes {
            router: self.router.with_state(state),
            patterns: self.patterns,
        }
    }

    /// Returns the labels, in the order of registration.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| &*pattern.label)
    }

    fn add(&mut self, pattern: String, label: String) {
        self.patterns.push(Pattern { pattern, label });
    }
}

impl Routes {
    /// Takes a finished router together with the patterns it was built from.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use cortex_http::Routes;
    ///
    /// let router = Router::new().route("/users/{id}", get(|| async { "one" }));
    /// let routes = Routes::labelled(router, ["/users/{id}"]);
    /// assert_eq!(routes.patterns().count(), 1);
    /// ```
    pub fn labelled<'a>(router: Router, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let pattern = |pattern: &str| Pattern {
            pattern: pattern.into(),
            label: pattern.into(),
        };
        Self {
            router,
            patterns: patterns.into_iter().map(pattern).collect(),
        }
    }

    /// Asserts, in a test of the application, that requests to these paths get the label of the route that axum takes.
    ///
    /// It is true of what is built by the methods of this type. What is worth a test are patterns that were given by hand
    /// to [`labelled`](Self::labelled), and routes that were added inside of [`map`](Self::map). No handler is called. Of
    /// a path below a service that was nested into a plain `Router` axum does not tell the route; it is not compared.
    ///
    /// # Panics
    ///
    /// Some do not; it says which, and what axum says. Or one is no path.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use cortex_http::Routes;
    ///
    /// let router = Router::new().route("/users/{id}", get(|| async { "one" })).route("/users", get(|| async { "all" }));
    /// let routes = Routes::labelled(router, ["/users/{id}", "/users"]);
    /// routes.assert_labels(["/users", "/users/7", "/users/a%2Fb", "/nowhere"]);
    /// ```
    #[track_caller]
    pub fn assert_labels<'a>(&self, paths: impl IntoIterator<Item = &'a str>) {
        let (app, table) = self.clone().into_parts();
        let mut app = app.layer(from_fn(tell_matched));
        let mut wrong = Vec::new();
        for path in paths {
            let label = table.label(table.find(path));
            let matched = matched(&mut app, path);
            if !self.agree(label, matched.as_deref()) {
                let matched = matched.as_deref().unwrap_or("no route");
                wrong.push(format!("{path}: the label is {label}, and axum takes {matched}"));
            }
        }
        assert!(wrong.is_empty(), "labels are wrong: {}", wrong.join("; "));
    }

    /// Says whether a label stands for what axum takes.
    fn agree(&self, label: &str, matched: Option<&str>) -> bool {
        let mut patterns = self.patterns.iter().filter(|known| known.label == label);
        match matched {
            Some(matched) => patterns.any(|known| known.pattern == matched),
            // It does not tell of a nested service, which is what has a label that differs.
            None => label == UNMATCHED || patterns.any(|known| known.pattern != label),
        }
    }

    pub(crate) fn into_parts(self) -> (Router, RouteTable) {
        let table = RouteTable::new(self.patterns.iter().map(|p| (&*p.pattern, &*p.label)));
        // Without it axum makes a service of a handler for each request, as its own `serve` does not.
        (self.router.with_state(()), table)
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        Self::labelled(router, [])
    }
}

impl<S> fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("patterns", &self.patterns)
            .finish_non_exhaustive()
    }
}

/// Answers with the pattern that axum has found, in place of whoever serves it.
async fn tell_matched(request: Request, _: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(matched);
    response
}

/// Returns the pattern that a router with [`tell_matched`] around all it has finds for a path.
fn matched(app: &mut Router, path: &str) -> Option<String> {
    let request = Request::get(path)
        .body(Body::empty())
        .expect("a path, as /users/7");
    let answer = pin!(app.call(request));
    let Poll::Ready(Ok(response)) = answer.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("invariant: nothing that is called waits");
    };
    let matched = response.extensions().get::<Option<MatchedPath>>();
    let matched = matched.expect("invariant: whoever serves it is asked for nothing");
    matched.as_ref().map(|matched| matched.as_str().to_owned())
}

/// Joins a prefix and a path as `Router::nest` does: `/` under a prefix is the prefix itself.
fn nested(prefix: &str, path: &str) -> String {
    match (prefix.strip_suffix('/'), path) {
        (None, "/") => prefix.into(),
        (None, path) => format!("{prefix}{path}"),
        (Some(prefix), path) => format!("{prefix}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{any, get, post};
    use std::panic::AssertUnwindSafe;

    async fn uncalled() -> &'static str {
        panic!("nobody is asked for an answer")
    }

    /// What axum itself says from the inside is the truth that the table must tell from the outside.
    #[test]
    fn labels_are_those_that_axum_matches() {
        let inner = || {
            Routes::new()
                .route("/", get(|| async {}))
                .route("/me", get(|| async {}))
                .route("/{id}", get(|| async {}))
                .route("/{id}/posts/{post}", get(|| async {}))
        };
        let routes = Routes::new()
            .route("/", get(|| async {}))
            .route("/only-post", post(uncalled))
            .nest("/api", inner())
            .nest("/slash/", inner())
            .merge(Routes::new().route("/merged/{*rest}", any(|| async {})))
            .nest_service("/static", Router::new())
            .nest("/below", Routes::new().nest_service("/deep", Router::new()))
            .fallback(uncalled);
        routes.assert_labels([
            "/",
            "/only-post",
            "/api",
            "/api/",
            "/api/me",
            "/api/7",
            "/api/7/posts/1",
            "/slash/",
            "/slash/me",
            "/slash/x%2Fy",
            "/merged/a/b",
            "/merged/",
            "/static",
            "/static/",
            "/static/a/b.css",
            "/below/deep",
            "/below/deep/er",
            "/nowhere",
            "/api/7/posts",
            "//",
        ]);
    }

    #[test]
    fn labels_that_are_wrong_are_told() {
        let inner = Router::new().route("/{id}", get(|| async {}));
        let app = Router::new().nest("/users", inner).route("/", get(|| async {}));
        let told = |patterns: &[&str], path: &'static str| {
            let routes = Routes::labelled(app.clone(), patterns.iter().copied());
            let assert = AssertUnwindSafe(|| routes.assert_labels(["/", path]));
            let asserted = std::panic::catch_unwind(assert);
            asserted.map_err(|payload| *payload.downcast::<String>().expect("a message"))
        };
        assert_eq!(told(&["/", "/users/{id}"], "/users/7"), Ok(()));
        assert_eq!(told(&["/", "/users/{id}"], "/other"), Ok(()));
        for (patterns, path, label, axum) in [
            (&["/", "/{id}"] as &[_], "/users/7", "unmatched", "/users/{id}"),
            (
                &["/", "/users/{name}"],
                "/users/7",
                "/users/{name}",
                "/users/{id}",
            ),
            (&["/", "/{*rest}"], "/other", "/{*rest}", "no route"),
        ] {
            let expected = format!("labels are wrong: {path}: the label is {label}, and axum takes {axum}");
            assert_eq!(told(patterns, path), Err(expected));
        }
    }

    #[test]
    fn a_nested_service_has_one_label() {
        let (_, table) = Routes::new().nest_service("/static", Router::new()).into_parts();
        for path in ["/static", "/static/", "/static/a/b.css"] {
            assert_eq!(&**table.label(table.find(path)), "/static/{*rest}");
        }
        assert!(format!("{:?}", Routes::from(Router::new())).starts_with("Routes"));
    }
}
