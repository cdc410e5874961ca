use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use cortex::http::Routes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

/// The upstream that the checkout depends on: it takes its time and fails as often as it is told to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payments {
    pub(crate) failures: f64,
    pub(crate) latency: Duration,
}

/// An order to pay.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Charge {
    pub(crate) cents: u64,
}

/// A payment that was made.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Receipt {
    pub(crate) receipt: String,
    pub(crate) cents: u64,
}

impl Payments {
    pub(crate) fn routes(self) -> Routes {
        Routes::new()
            .route("/", get(|| async { "payments\n" }))
            .route("/charge", post(charge))
            .with_state(self)
    }
}

async fn charge(State(payments): State<Payments>, Json(Charge { cents }): Json<Charge>) -> Answer {
    if !payments.latency.is_zero() {
        tokio::time::sleep(payments.latency).await;
    }
    if fastrand::f64() < payments.failures {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let receipt = format!("R-{:012x}", fastrand::u64(..1 << 48));
    Ok(Json(Receipt { receipt, cents }))
}

type Answer = Result<Json<Receipt>, StatusCode>;
