use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use cortex_compress::{Coding, Level};
use http_body::Frame;
use tokio::sync::oneshot;
use tower_http::CompressionLevel;

use crate::{Failure, bodies, listen, tell, wait_for_end};

/// A middleware, with all codings at one level or at its defaults.
#[derive(Clone, Copy)]
pub(crate) enum Stack {
    Bare,
    Cortex(Option<u8>),
    TowerHttp(Option<u8>),
}

/// Serves on one thread, by axum.
pub(crate) fn serve(stack: Stack) -> Result<(), Failure> {
    let mut app = Router::new();
    for (path, body) in bodies() {
        let body = Bytes::from(body);
        let answer = async move || ([(CONTENT_TYPE, "application/json")], body.clone());
        app = app.route(path, get(answer));
    }
    app = app.route("/endless", get(endless));
    let app = match stack {
        Stack::Bare => app,
        Stack::Cortex(level) => app.layer(cortex(level)),
        Stack::TowerHttp(level) => app.layer(tower_http(level)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = listen()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tell(listener.local_addr()?)?;
        let (ended, end) = oneshot::channel::<()>();
        thread::spawn(move || {
            wait_for_end();
            drop(ended);
        });
        tokio::select! {
            served = async { axum::serve(listener, app).await } => served?,
            _ = end => {}
        }
        Ok(())
    })
}

fn cortex(level: Option<u8>) -> cortex_compress::CompressionLayer {
    let layer = cortex_compress::CompressionLayer::new();
    let Some(level) = level else { return layer };
    Coding::ALL
        .iter()
        .fold(layer, |layer, &coding| layer.coding(coding, Level::new(level)))
}

fn tower_http(level: Option<u8>) -> tower_http::compression::CompressionLayer {
    let layer = tower_http::compression::CompressionLayer::new();
    match level {
        Some(level) => layer.quality(CompressionLevel::Precise(level.into())),
        None => layer,
    }
}

async fn endless() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain")],
        Body::new(Digits(0x2545_f491_4f6c_dd1d)),
    )
}

/// Digits without an end, of which two fit into a byte: no window is large enough to find them again.
struct Digits(u64);

impl HttpBody for Digits {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut digits = Vec::with_capacity(16_000);
        while digits.len() < 16_000 {
            // xorshift64*.
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
            digits.extend(number.map(|byte| b"0123456789abcdef"[usize::from(byte >> 4)]));
        }
        Poll::Ready(Some(Ok(Frame::data(digits.into()))))
    }
}
