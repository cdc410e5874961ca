//! A server of bodies of every kind, for programs that read them back: browsers, curl, Python, Node, load generators.
//!
//! `cargo run -p cortex-compress --features brotli,deflate,gzip,zstd --example bodies -- [BYTES]`, where `BYTES` is the
//! memory budget of the encoders. It prints where it listens. Below `/plain` nothing is encoded, below `/gzip`,
//! `/deflate`, `/br` and `/zstd` only by that coding, below `/any` by what the client likes best; `/page` has a browser
//! read them all and compare. `/echo` answers with the decoded body of a request.
#![expect(clippy::print_stdout, reason = "it tells where to ask")]

mod content;

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{BoxError, Router};
use cortex_compress::{Coding, CompressionLayer, Level, RequestDecompressionLayer};
use http_body_util::channel::{Channel, Sender};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut layer = CompressionLayer::new().sse(true);
    if let Some(bytes) = std::env::args().nth(1) {
        layer = layer.memory_budget(bytes.parse::<usize>()?);
    }
    let bodies = bodies();
    let mut app = Router::new()
        .route("/page", get(Html(include_str!("page.html"))))
        .nest("/plain", bodies.clone())
        .nest("/any", bodies.clone().layer(layer.clone()));
    for &coding in Coding::ALL {
        let only = layer.clone().coding(coding, Level::DEFAULT);
        app = app.nest(&format!("/{coding}"), bodies.clone().layer(only));
    }
    let echo = Router::new()
        .route("/echo", post(async |body: Bytes| body))
        .layer(DefaultBodyLimit::disable())
        .layer(RequestDecompressionLayer::new());
    let socket = TcpSocket::new_v4()?;
    // It is felt soon that a client does not read: the system would take megabytes on its own account.
    socket.set_send_buffer_size(64 << 10)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(1024)?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?; // a pipe is not flushed by the end of a line
    axum::serve(listener, app.merge(echo)).await?;
    Ok(())
}

/// Lets the events of `/steps` out.
type Gate = Arc<Semaphore>;

fn bodies() -> Router {
    Router::new()
        .route("/json/{bytes}", get(json))
        .route("/text/{bytes}", get(text))
        .route("/noise/{bytes}", get(noise))
        .route("/empty", get(async || typed("text/plain", Body::empty())))
        .route("/chunks", get(chunks))
        .route("/events", get(events))
        .route("/steps", get(steps))
        .route("/step", post(step))
        .route("/trailers", get(trailers))
        .route("/endless", get(endless))
        .with_state(Gate::new(Semaphore::new(0)))
}

/// The largest body that one can ask for.
const LARGEST: usize = 16 << 20;

async fn json(Path(bytes): Path<usize>) -> Response {
    sized("application/json", bytes, content::json)
}

async fn text(Path(bytes): Path<usize>) -> Response {
    sized("text/plain", bytes, content::text)
}

/// Says that it is text, and cannot be made smaller.
async fn noise(Path(bytes): Path<usize>) -> Response {
    sized("text/plain", bytes, content::noise)
}

fn sized(kind: &'static str, bytes: usize, content: fn(usize) -> Vec<u8>) -> Response {
    if bytes > LARGEST {
        return StatusCode::BAD_REQUEST.into_response();
    }
    typed(kind, Body::from(content(bytes)))
}

fn typed(kind: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// How long a source thinks before each part.
const PAUSE: Duration = Duration::from_millis(5);

/// A body in parts that are not there at once.
async fn chunks() -> Response {
    streamed("text/plain", async |mut sender: Parts| {
        for chunk in content::text(100_000).chunks(5_000) {
            tokio::time::sleep(PAUSE).await;
            sender.send_data(Bytes::copy_from_slice(chunk)).await?;
        }
        Ok(())
    })
}

async fn events() -> Response {
    streamed("text/event-stream", async |mut sender: Parts| {
        for n in 0..20 {
            tokio::time::sleep(PAUSE).await;
            sender.send_data(event(n)).await?;
        }
        Ok(())
    })
}

fn event(n: usize) -> Bytes {
    format!("id: {n}\ndata: {{\"price\":{}}}\n\n", 100 + n * 7 % 13).into()
}

/// Events of which each has to be asked for by `/step`: who holds one back, waits for ever.
async fn steps(State(gate): State<Gate>) -> Response {
    streamed("text/event-stream", async move |mut sender: Parts| {
        for n in 0..20 {
            gate.acquire().await?.forget();
            sender.send_data(event(n)).await?;
        }
        Ok(())
    })
}

async fn step(State(gate): State<Gate>) {
    gate.add_permits(1);
}

async fn trailers() -> Response {
    const CHECKED: HeaderName = HeaderName::from_static("x-checked");
    let mut response = streamed("text/plain", async |mut sender: Parts| {
        sender.send_data(content::text(50_000).into()).await?;
        sender
            .send_trailers(HeaderMap::from_iter([(CHECKED, HeaderValue::from_static("yes"))]))
            .await?;
        Ok(())
    });
    response.headers_mut().insert(header::TRAILER, CHECKED.into());
    response
}

/// As much as somebody reads.
async fn endless() -> Response {
    streamed("text/plain", async |mut sender: Parts| {
        let mut digits = content::Digits::default();
        loop {
            sender.send_data(digits.next(16_000).into()).await?;
        }
    })
}

/// A body that a task of its own sends.
fn streamed<F>(kind: &'static str, source: impl FnOnce(Parts) -> F) -> Response
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let (sender, body) = Channel::new(1);
    tokio::spawn(source(sender)); // fails when the client has left
    typed(kind, Body::new(body))
}

/// Takes the parts of a body.
type Parts = Sender<Bytes, BoxError>;
