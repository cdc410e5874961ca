use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use cortex::core::FutureExt;
use cortex::metrics::{Counter, Family, RegisterError, Registry, labels};
use cortex::trace::Tracer;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::payments::{Charge, Receipt};

/// A customer waits no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// A receipt is small; an upstream that sends more is broken.
const LARGEST_RECEIPT: usize = 16 << 10;

labels! {
    struct CheckoutLabels {
        result: &'static str,
    }
}

/// Pays orders at the payment service, traced and counted.
#[derive(Clone, Debug)]
pub(crate) struct Checkout {
    client: Client<HttpConnector, Full<Bytes>>,
    charge: Uri,
    tracer: Tracer,
    checkouts: Family<CheckoutLabels, Counter>,
}

/// Why an order was not paid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unpaid {
    Refused,
    TimedOut,
}

impl Unpaid {
    /// The status for a service behind us that fails (RFC 9110, sections 15.6.3 and 15.6.5).
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Refused => StatusCode::BAD_GATEWAY,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

impl Checkout {
    pub(crate) fn new(
        payments: SocketAddr,
        tracer: Tracer,
        registry: &Registry,
    ) -> Result<Self, RegisterError> {
        let checkouts = Family::new(Counter::default);
        registry.register(
            "storefront_checkouts",
            "Orders by how their payment went",
            checkouts.clone(),
        )?;
        let charge = Uri::builder()
            .scheme("http")
            .authority(payments.to_string())
            .path_and_query("/charge");
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            charge: charge.build().expect("invariant: an address is an authority"),
            tracer,
            checkouts,
        })
    }

    /// Pays; the call carries the trace on, and counts by its result.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection; whether the payment was made is then unknown, as with any network.
    pub(crate) async fn pay(&self, cents: u64) -> Result<Receipt, Unpaid> {
        let mut span = self.tracer.client(&Method::POST, &self.charge);
        let mut request = Request::post(&self.charge)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(
                serde_json::to_vec(&Charge { cents }).unwrap_or_default(),
            ))
            .expect("invariant: the parts are valid");
        span.inject(request.headers_mut());
        let call = tokio::time::timeout(PATIENCE, self.call(request)).with_context(span.context());
        let paid = call.await.unwrap_or(Err(Unpaid::TimedOut));
        let result = match &paid {
            Ok(_) => "paid",
            Err(Unpaid::Refused) => "refused",
            Err(Unpaid::TimedOut) => "timed_out",
        };
        if paid.is_err() {
            span.set_error(result);
        }
        self.checkouts.with(&CheckoutLabels { result }, Counter::inc);
        paid
    }

    async fn call(&self, request: Request<Full<Bytes>>) -> Result<Receipt, Unpaid> {
        let response = self.client.request(request).await.map_err(|_| Unpaid::Refused)?;
        if !response.status().is_success() {
            return Err(Unpaid::Refused);
        }
        let body = Limited::new(response.into_body(), LARGEST_RECEIPT)
            .collect()
            .await;
        let body = body.map_err(|_| Unpaid::Refused)?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| Unpaid::Refused)
    }
}
