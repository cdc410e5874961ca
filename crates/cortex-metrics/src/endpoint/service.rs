use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response};
use tokio::time::Instant;
use tower_service::Service;

use super::answer;
use super::coding::Coding;
use super::compress::{Encoded, compress};
use super::flight::{Flights, Key, Lost};
use super::limit::Limit;
use super::observe::{Observation, ScrapeMetrics};
use super::timeout::timeout;
use super::{ResponseFuture, ScrapeBody};
use crate::encode::acceptable;
use crate::{ContentType, Format, RegisterError, Registry};

const MAX_IN_FLIGHT: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(10);
const MIN_RATE: u32 = 64 << 10;

/// As long as the clock can be sure to go: what is set or computed beyond does not matter any more.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// Answers scrapes: a tower service for `GET` and `HEAD`, in the format and with the escaping of names that
/// [`negotiate`](crate::negotiate) finds, compressed if the features `gzip` and `zstd` are on and the scraper asks for
/// it.
///
/// Made for a metrics port that anybody may reach and collectors that anybody may have written:
///
/// - **Scrapes at the same time share one exposition**, encoded and compressed once, on a thread for blocking work. It
///   goes on when the one who asked first leaves. Nothing is kept of it, unless [`min_interval`](Self::min_interval)
///   says so.
/// - **Few are in flight**: 8, unless [`max_in_flight`](Self::max_in_flight) says otherwise. One counts until its last
///   byte is written, so that slow readers count, too; who comes on top gets 503 and `Retry-After: 1`.
/// - **None reads for hours**: who takes longer than [`min_rate`](Self::min_rate) allows is cut off.
/// - **None waits for long**: after [`timeout`](Self::timeout), or half a second before the scraper would leave, it
///   gets 503. What is slow is not started again: later scrapes wait for the same exposition.
/// - **A panic** in the encoder is 500 for all who waited for it, and the next scrape starts afresh.
///
/// Clones share all of that. Who is cut off loses the connection, too, if the server speaks HTTP/1.1 and writes chunks
/// where they are ("vectored", as TCP sockets do); see [`ScrapeBody`] for what that asks of those in between. Of the
/// last 16 KiB of an answer, and of a stream of HTTP/2 whose window the client leaves closed, only the server can get
/// rid: limit how long a write may stall there.
///
/// A scrape that never ends, such as that of a collector that waits for a lock for ever, holds a thread of the runtime:
/// when the runtime is dropped, it waits for it; `Runtime::shutdown_timeout` does not.
///
/// # Panics
///
/// When it is called outside a tokio runtime or in one without timers.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, Registry, ScrapeService};
/// use http::{Request, StatusCode, header::CONTENT_LENGTH};
/// use std::time::Duration;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cortex_metrics::RegisterError> {
/// let registry = Registry::default();
/// registry.register("jobs", "Jobs done.", Counter::default())?;
/// let service = ScrapeService::new(&registry)
///     .max_in_flight(4)
///     .timeout(Duration::from_secs(5))
///     .observe(&registry)?;
///
/// let Ok(response) = service.oneshot(Request::new(())).await;
/// assert_eq!(response.status(), StatusCode::OK);
/// assert!(response.headers().contains_key(CONTENT_LENGTH));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScrapeService {
    registry: Registry,
    settings: Settings,
    limit: Limit,
    flights: Arc<Flights>,
    metrics: Option<ScrapeMetrics>,
    /// The encoder, which tests replace by one that panics.
    render: fn(&Registry, ContentType) -> Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    timeout: Duration,
    min_interval: Duration,
    /// In bytes a second.
    min_rate: u32,
    compress: bool,
    strict: bool,
}

impl Settings {
    /// Returns how long so many bytes may take on their way, beside the time for what is always there.
    fn sending(&self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let millis = bytes.saturating_mul(1000) / u64::from(self.min_rate.max(1));
        Duration::from_millis(millis).min(LONGEST)
    }
}

impl ScrapeService {
    /// Returns a service for what a registry has at each scrape.
    pub fn new(registry: &Registry) -> Self {
        Self {
            registry: registry.clone(),
            settings: Settings {
                timeout: TIMEOUT,
                min_interval: Duration::ZERO,
                min_rate: MIN_RATE,
                compress: true,
                strict: false,
            },
            limit: Limit::new(MAX_IN_FLIGHT),
            flights: Arc::default(),
            metrics: None,
            render,
        }
    }

    /// Sets how many scrapes may be in flight, at least one; 8 unless set. Clones made before keep their own count.
    #[must_use]
    pub fn max_in_flight(mut self, max: usize) -> Self {
        self.limit = Limit::new(max);
        self
    }

    /// Sets how long a scrape may wait for its exposition; 10 s unless set.
    ///
    /// A scraper that says in `X-Prometheus-Scrape-Timeout-Seconds` how long it waits gets its answer half a second
    /// before that, or after half the time if that is later.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout.min(LONGEST);
        self
    }

    /// Sets how many bytes a second a scraper has to read at least; 64 KiB unless set, and at least 1.
    ///
    /// From the moment its answer is there, it has the [`timeout`](Self::timeout), or what it said of its own, and the
    /// time that the bytes take at this rate, compressed if they are. Then the scrape is not in flight any more, and
    /// the body ends with a [`ScrapeBodyError`](crate::ScrapeBodyError), for which a server closes the connection. So
    /// readers that take a byte a second do not keep others out for hours.
    #[must_use]
    pub fn min_rate(mut self, bytes_per_second: u32) -> Self {
        self.settings.min_rate = bytes_per_second;
        self
    }

    /// Sets the time between the starts of two encodes of the same exposition in the same coding; none unless set.
    ///
    /// Scrapes in between get the last exposition, which is kept for that: against scrapers that ask more often than
    /// the numbers are worth. It has to be shorter than the interval of the scrapes that matter.
    #[must_use]
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.settings.min_interval = interval;
        self
    }

    /// Sets whether to compress for those who ask for it, with the codings whose features are on; so it is unless set.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.settings.compress = compress;
        self
    }

    /// Sets whether to answer 406 to those who accept none of the formats, instead of text; off unless set.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.settings.strict = strict;
        self
    }

    /// Exposes the endpoint itself: `cortex_metrics_scrapes_total`, `cortex_metrics_scrape_duration_seconds`,
    /// `cortex_metrics_scrape_bytes_total` and `cortex_metrics_scrapes_in_flight`.
    ///
    /// # Errors
    ///
    /// One of these names is taken, such as by another service; those before it stay registered.
    pub fn observe(mut self, registry: &Registry) -> Result<Self, RegisterError> {
        self.metrics = Some(ScrapeMetrics::register(registry)?);
        Ok(self)
    }

    fn answer(&self, method: &Method, headers: &HeaderMap) -> ResponseFuture {
        let is_head = *method == Method::HEAD;
        if !(is_head || *method == Method::GET) {
            return self.refuse(None, answer::method_not_allowed());
        }
        let content_type = match acceptable(headers) {
            Some(content_type) => content_type,
            None if self.settings.strict => return self.refuse(None, answer::not_acceptable()),
            None => Format::Text004.into(),
        };
        let format = content_type.format;
        let in_flight = self.metrics.as_ref().map(|metrics| &metrics.in_flight);
        let Some(permit) = self.limit.admit(in_flight) else {
            return self.refuse(Some(format), answer::busy());
        };
        let coding = if self.settings.compress {
            Coding::negotiate(headers)
        } else {
            Coding::Identity
        };
        let timeout = timeout(headers, self.settings.timeout);
        let observation = Observation::start(self.metrics.clone(), Some(format));
        let service = self.clone();
        ResponseFuture::new(async move {
            let encoded = service.encoded(Key {
                content_type: service.registry.same_bytes(content_type),
                coding,
            });
            let mut response = match tokio::time::timeout(timeout, encoded).await {
                Err(_) => answer::too_slow(),
                Ok(Err(lost)) => answer::lost(&lost),
                Ok(Ok(encoded)) => {
                    let sent = service.metrics.map(|metrics| metrics.bytes);
                    let deadline = Instant::now() + timeout + service.settings.sending(encoded.bytes.len());
                    answer::exposition(content_type, encoded, permit, deadline, sent)
                }
            };
            if is_head {
                *response.body_mut() = ScrapeBody::empty();
            }
            observation.answered(response.status());
            response
        })
    }

    fn refuse(&self, format: Option<Format>, response: Response<ScrapeBody>) -> ResponseFuture {
        Observation::start(self.metrics.clone(), format).answered(response.status());
        ResponseFuture::new(ready(response))
    }

    async fn encoded(&self, key: Key) -> Result<Encoded, Lost> {
        let (render, registry) = (self.render, self.registry.clone());
        let ticket = self.flights.join(key, self.settings.min_interval, move || {
            compress(render(&registry, key.content_type), key.coding)
        });
        ticket.encoded().await
    }
}

/// The one place that knows how a registry is encoded.
fn render(registry: &Registry, content_type: ContentType) -> Vec<u8> {
    let mut out = Vec::new();
    registry.encode(content_type, &mut out);
    out
}

impl<B> Service<Request<B>> for ScrapeService {
    type Response = Response<ScrapeBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.answer(request.method(), request.headers())
    }
}

impl fmt::Debug for ScrapeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrapeService")
            .field("settings", &self.settings)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_in_the_encoder_is_an_error_for_all_and_over_with_it() {
        let registry = Registry::default();
        let mut service = ScrapeService::new(&registry);
        service.render = |_, _| panic!("made by the test");
        let request = || Request::new(());
        let (Ok(first), Ok(second)) = tokio::join!(service.call(request()), service.call(request()));
        for response in [first, second] {
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()["cache-control"], "no-store");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "making the exposition panicked\n");
        }
        service.render = render;
        let Ok(response) = service.call(request()).await;
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[test]
    fn debug_shows_the_settings() {
        let service = ScrapeService::new(&Registry::default()).strict(true);
        assert!(format!("{service:?}").contains("strict: true"));
    }
}
