use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use cortex::Clock;
use cortex::core::SystemClock;
use http::Request;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;

use crate::percentile::percentile;

/// Customers at once, each with a connection that it keeps.
const CUSTOMERS: u64 = 16;
const PATIENCE: Duration = Duration::from_secs(10);

/// What a load run saw.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    took: Duration,
    latencies: Vec<Duration>,
    bytes: u64,
    errors: BTreeMap<String, u64>,
}

impl Summary {
    pub(crate) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.bytes += other.bytes;
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }
}

impl std::fmt::Display for Summary {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (requests, secs) = (self.latencies.len(), self.took.as_secs_f64());
        let ms = |share| percentile(&self.latencies, share).as_secs_f64() * 1e3;
        writeln!(
            f,
            "  requests  {requests} in {secs:.2} s, {:.0} a second",
            requests as f64 / secs.max(1e-9)
        )?;
        writeln!(
            f,
            "  latency   p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            ms(0.5),
            ms(0.99),
            ms(1.0)
        )?;
        writeln!(f, "  received  {:.1} MB", self.bytes as f64 / 1e6)?;
        write!(f, "  errors    {}", self.errors.values().sum::<u64>())?;
        self.errors
            .iter()
            .try_for_each(|(error, count)| write!(f, "\n    {count} x {error}"))
    }
}

/// Sends `total` requests over real HTTP, as customers would: mostly pages, some orders, some of it compressed.
pub(crate) async fn run(shop: SocketAddr, total: u64) -> Summary {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (next, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let start = SystemClock.now();
    let mut customers = JoinSet::new();
    for _ in 0..CUSTOMERS.min(total) {
        customers.spawn(customer(
            client.clone(),
            shop,
            total,
            Arc::clone(&next),
            Arc::clone(&done),
        ));
    }
    let mut summary = Summary::default();
    let mut progress = Progress::new(total);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            joined = customers.join_next() => match joined {
                None => break,
                Some(Ok(seen)) => summary.add(seen),
                Some(Err(error)) => *summary.errors.entry(error.to_string()).or_default() += 1,
            },
            _ = tick.tick() => progress.show(done.load(Ordering::Relaxed)),
        }
    }
    progress.show(done.load(Ordering::Relaxed));
    progress.end();
    summary.took = SystemClock.now().saturating_duration_since(start);
    summary.latencies.sort_unstable();
    summary
}

async fn customer(
    client: Client<HttpConnector, Full<Bytes>>,
    shop: SocketAddr,
    total: u64,
    next: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
) -> Summary {
    let mut summary = Summary::default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= total {
            return summary;
        }
        let start: Instant = SystemClock.now();
        match tokio::time::timeout(PATIENCE, ask(&client, shop, number)).await {
            Ok(Ok(bytes)) => summary.bytes += bytes,
            Ok(Err(error)) => *summary.errors.entry(error).or_default() += 1,
            Err(_) => *summary.errors.entry("no answer in 10 s".into()).or_default() += 1,
        }
        summary
            .latencies
            .push(SystemClock.now().saturating_duration_since(start));
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends one request and reads the answer; returns its size, or what went wrong.
async fn ask(
    client: &Client<HttpConnector, Full<Bytes>>,
    shop: SocketAddr,
    number: u64,
) -> Result<u64, String> {
    let product = number % 300 + 1;
    let (path, order) = match number % 10 {
        0..=3 => ("/catalogue".to_owned(), None),
        4 => ("/catalogue/full".to_owned(), None),
        5..=7 => (format!("/products/{product}"), None),
        8 => ("/".to_owned(), None),
        _ => (
            "/checkout".to_owned(),
            Some(format!(r#"{{"product":{product},"quantity":2}}"#)),
        ),
    };
    let uri = format!("http://{shop}{path}");
    let mut request = match &order {
        None => Request::get(uri),
        Some(_) => Request::post(uri).header(CONTENT_TYPE, "application/json"),
    };
    if let Some(coding) =
        [Some("gzip"), None, Some("zstd"), Some("br")][usize::try_from(number % 4).unwrap_or(0)]
    {
        request = request.header(ACCEPT_ENCODING, coding);
    }
    let request = request
        .body(Full::from(order.unwrap_or_default()))
        .map_err(|error| error.to_string())?;
    let response = client
        .request(request)
        .await
        .map_err(|error| format!("{path}: {error}"))?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| format!("{path}: {error}"))?;
    if status.is_success() {
        Ok(body.to_bytes().len() as u64)
    } else {
        Err(format!("{status}"))
    }
}

/// A line that is written anew on a terminal, and every tenth elsewhere.
struct Progress {
    total: u64,
    terminal: bool,
    tenth: u64,
}

impl Progress {
    fn new(total: u64) -> Self {
        Self {
            total,
            terminal: std::io::stdout().is_terminal(),
            tenth: 0,
        }
    }

    fn show(&mut self, done: u64) {
        let percent = done * 100 / self.total;
        if self.terminal {
            print!("\r  {done} of {} requests ({percent} %)", self.total);
            let _ = std::io::stdout().flush(); // a closed pipe ends the program elsewhere
        } else if percent / 10 > self.tenth {
            self.tenth = percent / 10;
            println!("  {done} of {} requests ({percent} %)", self.total);
        }
    }

    fn end(&self) {
        if self.terminal {
            println!();
        }
    }
}
