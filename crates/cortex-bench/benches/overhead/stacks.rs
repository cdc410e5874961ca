use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use axum_prometheus::PrometheusMetricLayer;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;
use tower_http::trace::TraceLayer;

/// What each handler answers.
pub(crate) const BODY: &str = "Hello, World!";

/// What stands around the handler.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stack {
    /// Nothing: `axum::serve` and a router.
    Bare,
    /// What a service adds today: `TraceLayer` (no subscriber), `CompressionLayer`, axum-prometheus.
    Usual,
}

impl Stack {
    /// In the order of measuring; the first is what the others are compared with.
    pub(crate) const ALL: [Self; 2] = [Self::Bare, Self::Usual];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Usual => "usual",
        }
    }

    /// Starts serving on the current runtime, which drives it from then on.
    pub(crate) async fn serve(self) -> io::Result<SocketAddr> {
        match self {
            Self::Bare => serve(bare()).await,
            Self::Usual => serve(usual(PrometheusMetricLayer::pair().0)).await,
        }
    }
}

pub(crate) fn bare() -> Router {
    Router::new().route("/", get(async || BODY))
}

/// With the layer of `pair()` once per process, which installs the recorder, and of `new()` after that.
pub(crate) fn usual(metrics: PrometheusMetricLayer<'static>) -> Router {
    bare()
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(metrics)
}

async fn serve(router: Router) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(address)
}
