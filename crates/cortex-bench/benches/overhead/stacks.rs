use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use axum_prometheus::PrometheusMetricLayer;
use cortex_http::{Admin, Routes, Running, Server};
use cortex_metrics::Registry;
use cortex_trace::{
    AlwaysOff, BuildError, ExportError, Exporter, ParentBased, Probability, SpanData, Tracer,
};
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
    /// Ours with one request in a hundred sampled, whose spans go nowhere.
    Sampled,
}

/// An exporter of nothing: what happens to spans on their way out is not what is measured here.
struct Nowhere;

impl Exporter for Nowhere {
    fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
        Ok(())
    }
}

/// A stack that serves, to be [ended](Self::end).
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    cortex: Option<Running>,
}

impl Stack {
    /// In the order of measuring; the first is what the others are compared with.
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::Usual, Self::Cortex, Self::Sampled];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Usual => "usual",
            Self::Cortex => "cortex",
            Self::Sampled => "cortex-sampled",
        }
    }

    /// Starts serving on the current runtime, which drives it from then on.
    pub(crate) async fn serve(self) -> Result<Serving, Failure> {
        let router = match self {
            Self::Bare => bare(),
            Self::Usual => usual(PrometheusMetricLayer::pair().0),
            Self::Cortex | Self::Sampled => {
                let server = if matches!(self, Self::Cortex) {
                    cortex()?
                } else {
                    sampled()?
                };
                let running = server.start("127.0.0.1:0").await?;
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
    Router::new().route("/", get(async || BODY)).with_state(()) // as `axum::serve` does
}

/// With the layer of `pair()` once per process, which installs the recorder, and of `new()` after that.
pub(crate) fn usual(metrics: PrometheusMetricLayer<'static>) -> Router {
    bare()
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(metrics)
}

pub(crate) fn cortex() -> Result<Server, BuildError> {
    Ok(of(Tracer::builder("bench")
        .sampler(ParentBased::root(AlwaysOff))
        .build()?))
}

pub(crate) fn sampled() -> Result<Server, BuildError> {
    let one_in_a_hundred = Probability::new(0.01).expect("invariant: between 0 and 1");
    let tracer = Tracer::builder("bench")
        .sampler(ParentBased::root(one_in_a_hundred))
        .export(Nowhere);
    Ok(of(tracer.build()?))
}

fn of(tracer: Tracer) -> Server {
    Server::new(Routes::new().route("/", get(async || BODY)))
        .metrics(&Registry::default())
        .tracer(tracer)
        .compression(cortex_compress::CompressionLayer::new())
        .admin(Admin::bind("127.0.0.1:0"))
}
