use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use axum_prometheus::PrometheusMetricLayer;
use cortex_http::{Admin, Routes, Running, Server};
use cortex_metrics::Registry;
use cortex_trace::{AlwaysOff, BuildError, ParentBased, Tracer};
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;
use tower_http::trace::TraceLayer;

use crate::Failure;

/// What each handler answers.
pub(crate) const BODY: &str = "Hello, World!";

/// What stands around the handler.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stack {
    /// Nothing: `axum::serve` and a router.
    Bare,
    /// What a service adds today: `TraceLayer` (no subscriber), `CompressionLayer`, axum-prometheus.
    Usual,
    /// Ours: `Server` with metrics, a tracer that samples nothing, compression, limits and an admin port.
    Cortex,
}

/// A stack that serves, to be [ended](Self::end).
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    cortex: Option<Running>,
}

impl Stack {
    /// In the order of measuring; the first is what the others are compared with.
    pub(crate) const ALL: [Self; 3] = [Self::Bare, Self::Usual, Self::Cortex];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Usual => "usual",
            Self::Cortex => "cortex",
        }
    }

    /// Starts serving on the current runtime, which drives it from then on.
    pub(crate) async fn serve(self) -> Result<Serving, Failure> {
        let router = match self {
            Self::Bare => bare(),
            Self::Usual => usual(PrometheusMetricLayer::pair().0),
            Self::Cortex => {
                let running = cortex()?.start("127.0.0.1:0").await?;
                let address = running.local_addr();
                let cortex = Some(running);
                return Ok(Serving { address, cortex });
            }
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(Serving {
            address,
            cortex: None,
        })
    }
}

impl Serving {
    /// Drains what can be drained.
    pub(crate) async fn end(self) {
        if let Some(running) = self.cortex {
            running.shutdown();
            running.join().await;
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

pub(crate) fn cortex() -> Result<Server, BuildError> {
    let tracer = Tracer::builder("bench")
        .sampler(ParentBased::root(AlwaysOff))
        .build()?;
    Ok(Server::new(Routes::new().route("/", get(async || BODY)))
        .metrics(&Registry::default())
        .tracer(tracer)
        .compression(cortex_compress::CompressionLayer::new())
        .admin(Admin::bind("127.0.0.1:0")))
}
