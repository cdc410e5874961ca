use std::error::Error;
use std::hint::black_box;

use axum::body::Body;
use axum::http::{Request, Response};
use axum_prometheus::PrometheusMetricLayer;
use cortex_bench::{Series, interleave};
use cortex_core::{Clock, SystemClock};
use http_body_util::BodyExt;
use tower_service::Service;

use crate::stacks::{self, BODY, Stack};
use crate::{Effort, Failure, Measured};

/// Measures the nanoseconds of a call: the request is made and the body is read to its end inside the loop.
///
/// The servers must have been started: the recorder that axum-prometheus writes to is theirs.
pub(crate) fn measure(effort: Effort) -> Result<Measured, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut bare = stacks::bare();
        let mut cortex = stacks::cortex()?.service()?;
        let mut sampled = stacks::sampled()?.service()?;
        let mut usual = stacks::usual(PrometheusMetricLayer::new());
        let mut measured: Measured = Stack::ALL.map(|stack| (stack, Series::default())).into();
        // The first pass warms up.
        for (round, n) in interleave(Stack::ALL.len(), effort.passes + 1).enumerate() {
            let nanos = match Stack::ALL[n] {
                Stack::Bare => calls(&mut bare, effort.requests).await?,
                Stack::Usual => calls(&mut usual, effort.requests).await?,
                Stack::Cortex => calls(&mut cortex, effort.requests).await?,
                Stack::Sampled => calls(&mut sampled, effort.requests).await?,
            };
            if round >= Stack::ALL.len() {
                measured[n].1.push(nanos);
            }
        }
        Ok(measured)
    })
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn calls<S, B>(service: &mut S, calls: usize) -> Result<f64, Failure>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Error + Send + Sync + 'static>,
    B: axum::body::HttpBody<Error: Error + Send + Sync + 'static>,
{
    let start = SystemClock.now();
    for _ in 0..calls {
        let request = Request::get("/").body(Body::empty())?;
        std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
        let response = service.call(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        if *black_box(body) != *BODY.as_bytes() {
            return Err("an answer is not the expected one".into());
        }
    }
    let spent = SystemClock.now().saturating_duration_since(start);
    Ok(spent.as_nanos() as f64 / calls as f64)
}
