use std::net::SocketAddr;
use std::time::Duration;

use cortex::http::Client;
use cortex::http::client::{ClientMetrics, Error};
use cortex::metrics::{Counter, Family, Registry, labels};
use cortex::resilience::ErrIsFailure;
use cortex::resilience::circuit::{Breaker, Window};
use cortex::resilience::metrics::Metrics;
use cortex::resilience::trace::Log;
use cortex::trace::Tracer;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode, Uri};

use crate::payments::{Charge, Receipt};

/// A customer waits no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// A receipt is small; an upstream that sends more is broken.
const LARGEST_RECEIPT: u64 = 16 << 10;

labels! {
    struct CheckoutLabels {
        result: &'static str,
    }
}

/// Pays orders at the payment service, traced and counted.
#[derive(Clone, Debug)]
pub(crate) struct Checkout {
    client: Client,
    charge: Uri,
    breaker: Breaker<ErrIsFailure, (Metrics, Log)>,
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
    ) -> Result<Self, Box<dyn std::error::Error>> {
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
        let client = Client::builder()
            .tracer(tracer)
            .metrics(ClientMetrics::new(registry)?)
            .timeout(PATIENCE)
            .body_bytes(LARGEST_RECEIPT);
        // No retry: whether a payment was made is unknown when its answer is lost.
        let metrics = Metrics::register(registry)?;
        let breaker = Breaker::builder("payments")
            .window(Window::time(Duration::from_secs(10)))
            .min_calls(50)
            .failure_rate(0.9)
            .break_for(Duration::from_secs(5))
            .observe((metrics.clone(), Log::new()))
            .build()?;
        metrics.watch(&breaker);
        Ok(Self {
            breaker,
            client: client.build()?,
            charge: charge.build()?,
            checkouts,
        })
    }

    /// Pays, and counts by the result.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection; whether the payment was made is then unknown, as with any network.
    pub(crate) async fn pay(&self, cents: u64) -> Result<Receipt, Unpaid> {
        let paid = match self.breaker.call(self.call(cents)).await {
            Ok(receipt) => Ok(receipt),
            Err(error) => Err(error.into_inner().unwrap_or(Unpaid::Refused)), // nobody was asked: they refused all others
        };
        let result = match &paid {
            Ok(_) => "paid",
            Err(Unpaid::Refused) => "refused",
            Err(Unpaid::TimedOut) => "timed_out",
        };
        self.checkouts.with(&CheckoutLabels { result }, Counter::inc);
        paid
    }

    async fn call(&self, cents: u64) -> Result<Receipt, Unpaid> {
        let request = Request::post(&self.charge)
            .header(CONTENT_TYPE, "application/json")
            .body(serde_json::to_string(&Charge { cents }).unwrap_or_default())
            .expect("invariant: the parts are valid");
        let response = self.client.send(request).await?;
        if !response.status().is_success() {
            return Err(Unpaid::Refused);
        }
        let body = response.into_body().bytes().await?;
        serde_json::from_slice(&body).map_err(|_| Unpaid::Refused)
    }
}

impl From<Error> for Unpaid {
    fn from(error: Error) -> Self {
        if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Refused
        }
    }
}
