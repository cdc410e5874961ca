use std::future::poll_fn;
#[cfg(all(feature = "gzip", feature = "zstd"))]
use std::io::Read;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use cortex_metrics::{Counter, Gauge, NameScheme, Registry, Samples, ScrapeBody, ScrapeService};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

/// A collector that stops in the middle of a scrape, until it is told to go on.
struct Gate {
    scrapes: Arc<AtomicUsize>,
    entered: UnboundedReceiver<()>,
    go: mpsc::Sender<()>,
}

impl Gate {
    fn in_front_of(registry: &Registry) -> Self {
        let (go, wait) = mpsc::channel();
        let (enter, entered) = unbounded_channel();
        let (scrapes, wait) = (Arc::<AtomicUsize>::default(), Mutex::new(wait));
        let count = Arc::clone(&scrapes);
        registry.register_collector(move |_: &mut Samples<'_>| {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = enter.send(());
            let _ = wait.lock().unwrap().recv(); // or the test is over
        });
        Self { scrapes, entered, go }
    }

    fn scrapes(&self) -> usize {
        self.scrapes.load(Ordering::SeqCst)
    }
}

/// What is answered to whoever does not care.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

fn get() -> http::request::Builder {
    Request::get("/metrics")
}

async fn ask(service: &ScrapeService, request: http::request::Builder) -> Response<ScrapeBody> {
    let Ok(response) = service.clone().oneshot(request.body(()).unwrap()).await;
    response
}

fn start(service: &ScrapeService, request: http::request::Builder) -> JoinHandle<Response<ScrapeBody>> {
    let service = service.clone();
    tokio::spawn(async move { ask(&service, request).await })
}

/// Polls once, which must not be enough.
async fn begin<F: Future + Unpin>(future: &mut F) {
    let poll = poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending()));
    assert!(poll.await);
}

async fn read(mut response: Response<ScrapeBody>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(frame) = response.frame().await {
        all.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    all
}

async fn text(response: Response<ScrapeBody>) -> String {
    String::from_utf8(read(response).await).unwrap()
}

fn header<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

fn one_job() -> (Registry, ScrapeService) {
    let registry = Registry::default();
    let service = ScrapeService::new(&registry);
    let counter = Counter::default();
    registry.register("jobs", "", counter.clone()).unwrap(); // the service shows what comes after it was made
    counter.inc();
    (registry, service)
}

/// A registry whose exposition is at least so many bytes.
fn large(bytes: usize) -> Registry {
    let registry = Registry::default();
    registry
        .register("large", &"x".repeat(bytes), Gauge::default())
        .unwrap();
    registry
}

#[tokio::test]
async fn answers_in_the_format_asked_for() {
    let (_, service) = one_job();
    let plain = "# TYPE jobs_total counter\njobs_total 1\n";
    let open_metrics = "# TYPE jobs counter\njobs_total 1\n# EOF\n";
    for (accept, body, content_type) in [
        (None, plain, PLAIN),
        (Some("text/html, */*"), plain, PLAIN),
        (
            Some("application/openmetrics-text; escaping=allow-utf-8"),
            open_metrics,
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        (
            Some("text/plain; version=1.0.0; escaping=values"),
            plain,
            "text/plain; version=1.0.0; charset=utf-8; escaping=values",
        ),
    ] {
        let mut request = get();
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let response = ask(&service, request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "content-type"), content_type);
        assert_eq!(header(&response, "content-length"), body.len().to_string());
        assert_eq!(header(&response, "vary"), "accept, accept-encoding");
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert!(!response.headers().contains_key("content-encoding"));
        assert_eq!(text(response).await, body);
    }
}

#[cfg(feature = "protobuf")]
#[tokio::test]
async fn protobuf_is_for_those_who_name_it() {
    let (registry, service) = one_job();
    let asked = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let response = ask(&service, get().header("accept", asked)).await;
    assert_eq!(
        header(&response, "content-type"),
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"
    );
    let mut expected = Vec::new();
    registry.encode(cortex_metrics::Format::Protobuf, &mut expected);
    assert_eq!(header(&response, "content-length"), expected.len().to_string());
    assert_eq!(read(response).await, expected);
}

#[tokio::test]
async fn strict_is_for_those_who_want_an_error() {
    let (_, service) = one_job();
    let html = || get().header("accept", "text/html");
    assert_eq!(ask(&service, html()).await.status(), StatusCode::OK);
    let strict = service.strict(true);
    let response = ask(&strict, html()).await;
    assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
    assert_eq!(header(&response, "vary"), "accept, accept-encoding");
    assert_eq!(ask(&strict, get()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn head_has_the_headers_of_get() {
    let (_, service) = one_job();
    let got = ask(&service, get()).await;
    let head = ask(&service, get().method(Method::HEAD)).await;
    assert_eq!((head.status(), head.headers()), (StatusCode::OK, got.headers()));
    let length = text(got).await.len();
    assert_eq!(header(&head, "content-length"), length.to_string());
    assert_eq!(text(head).await, "");
}

#[tokio::test]
async fn other_methods_are_refused() {
    let (_, service) = one_job();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = ask(&service, get().method(method)).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header(&response, "allow"), "GET, HEAD");
        let length: usize = header(&response, "content-length").parse().unwrap();
        assert_eq!(text(response).await.len(), length);
    }
}

#[cfg(all(feature = "gzip", feature = "zstd"))]
#[tokio::test]
async fn codings_can_be_read_back() {
    let registry = large(200_000);
    let service = ScrapeService::new(&registry);
    let plain = read(ask(&service, get()).await).await;
    for (accept, coding) in [("gzip", "gzip"), ("gzip;q=0.9, zstd", "zstd"), ("*", "zstd")] {
        let coded = || get().header("accept-encoding", accept);
        let response = ask(&service, coded()).await;
        assert_eq!(header(&response, "content-encoding"), coding);
        assert_eq!(header(&response, "content-type"), PLAIN);
        let length: usize = header(&response, "content-length").parse().unwrap();
        let head = ask(&service, coded().method(Method::HEAD)).await;
        assert_eq!(head.headers(), response.headers());
        let bytes = read(response).await;
        assert_eq!(bytes.len(), length);
        assert!(bytes.len() < plain.len() / 10);
        let mut back = Vec::new();
        match coding {
            "gzip" => flate2::read::MultiGzDecoder::new(&*bytes)
                .read_to_end(&mut back)
                .map(drop),
            _ => zstd::stream::copy_decode(&*bytes, &mut back),
        }
        .unwrap();
        assert!(back == plain, "{coding} changed the exposition");
    }
    // none that is asked for, none that is worth it, none that is wanted
    let (_, small) = one_job();
    for (service, accept) in [
        (&service, "br"),
        (&small, "gzip, zstd"),
        (&service.clone().compress(false), "gzip, zstd"),
    ] {
        let response = ask(service, get().header("accept-encoding", accept)).await;
        assert!(!response.headers().contains_key("content-encoding"), "{accept}");
    }
}

#[tokio::test]
async fn a_hundred_scrapes_are_one_encode() {
    let (registry, service) = one_job();
    let mut gate = Gate::in_front_of(&registry);
    let service = service.max_in_flight(100);
    let mut scrapes: Vec<_> = (0..100)
        .map(|_| Box::pin(ask(&service, get().header("accept-encoding", "gzip"))))
        .collect();
    for scrape in &mut scrapes {
        // all of them are under way before the first can be answered
        begin(scrape).await;
    }
    gate.entered.recv().await.unwrap();
    gate.go.send(()).unwrap();
    let mut first: Option<bytes::Bytes> = None;
    for scrape in scrapes {
        let response = scrape.await;
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let first = first.get_or_insert_with(|| body.clone());
        assert_eq!(body.as_ptr(), first.as_ptr()); // the very same, not an equal one
    }
    assert_eq!(gate.scrapes(), 1);
    // Nothing is kept: the next one encodes afresh.
    gate.go.send(()).unwrap();
    assert_eq!(ask(&service, get()).await.status(), StatusCode::OK);
    assert_eq!(gate.scrapes(), 2);
}

#[tokio::test]
async fn formats_do_not_share() {
    let (registry, service) = one_job();
    let mut gate = Gate::in_front_of(&registry);
    let plain = start(&service, get());
    let open = start(&service, get().header("accept", "application/openmetrics-text"));
    gate.entered.recv().await.unwrap();
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
    assert!(!text(plain.await.unwrap()).await.contains("# EOF"));
    assert!(text(open.await.unwrap()).await.contains("# EOF"));
    assert_eq!(gate.scrapes(), 2);
}

#[tokio::test]
async fn what_is_the_same_is_shared_whatever_it_is_called() {
    let (registry, service) = one_job();
    let mut gate = Gate::in_front_of(&registry);
    let plain = start(&service, get());
    gate.entered.recv().await.unwrap();
    let accept = "text/plain;version=1.0.0;escaping=allow-utf-8";
    let mut utf8 = Box::pin(ask(&service, get().header("accept", accept)));
    begin(&mut utf8).await;
    gate.go.send(()).unwrap();
    let (plain, utf8) = (plain.await.unwrap(), utf8.await);
    assert_eq!(header(&plain, "content-type"), PLAIN);
    assert_eq!(
        header(&utf8, "content-type"),
        "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
    );
    assert_eq!(text(plain).await, text(utf8).await);
    assert_eq!(gate.scrapes(), 1);
}

#[tokio::test]
async fn names_are_escaped_as_the_scraper_asks() {
    let registry = Registry::with_names(NameScheme::Utf8);
    let service = ScrapeService::new(&registry).min_interval(Duration::from_mins(1));
    registry.register("a.b", "", Gauge::default()).unwrap();
    for (escaping, expected) in [
        ("allow-utf-8", "{\"a.b\"} 0\n"),
        ("underscores", "a_b 0\n"),
        ("dots", "a_dot_b 0\n"),
        ("values", "U__a_2e_b 0\n"),
    ] {
        let accept = format!("text/plain;version=1.0.0;escaping={escaping};q=0.5,*/*;q=0.1");
        let response = ask(&service, get().header("accept", accept)).await;
        let content_type = header(&response, "content-type").to_owned();
        assert!(
            content_type.ends_with(&format!("; escaping={escaping}")),
            "{content_type}"
        );
        let body = text(response).await;
        assert!(body.ends_with(expected), "{body}");
    }
}

#[tokio::test]
async fn the_first_may_leave() {
    let (registry, service) = one_job();
    let mut gate = Gate::in_front_of(&registry);
    let first = start(&service, get());
    gate.entered.recv().await.unwrap();
    let second = start(&service, get());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.go.send(()).unwrap();
    assert!(text(second.await.unwrap()).await.contains("jobs_total 1"));
    assert_eq!(gate.scrapes(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_too_long_goes_on_for_the_next() {
    let (registry, service) = one_job();
    let mut gate = Gate::in_front_of(&registry);
    let service = service.max_in_flight(1).timeout(Duration::from_secs(4));
    let patience = |seconds: &str| get().header("X-Prometheus-Scrape-Timeout-Seconds", seconds);
    for (request, millis) in [
        (get(), 4_000),
        (patience("3"), 2_500),
        (patience("60"), 4_000),
        (patience("junk"), 4_000),
    ] {
        let scrape = start(&service, request);
        if gate.scrapes() == 0 {
            gate.entered.recv().await.unwrap();
        }
        tokio::task::yield_now().await; // so that it waits before time moves
        tokio::time::advance(Duration::from_millis(millis - 1)).await;
        assert!(!scrape.is_finished());
        // The place is taken,
        assert_eq!(header(&ask(&service, get()).await, "retry-after"), "1");
        tokio::time::advance(Duration::from_millis(2)).await;
        let response = scrape.await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(text(response).await.contains("too long"));
        // and free again for the next one, which waits for the same exposition.
    }
    let last = start(&service, get());
    tokio::task::yield_now().await;
    gate.go.send(()).unwrap();
    assert!(text(last.await.unwrap()).await.contains("jobs_total 1"));
    assert_eq!(gate.scrapes(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_interval_keeps_the_last_one() {
    let (registry, service) = one_job();
    let gate = Gate::in_front_of(&registry);
    for _ in 0..2 {
        gate.go.send(()).unwrap();
    }
    let service = service.min_interval(Duration::from_secs(5));
    for (advance, scrapes) in [(0, 1), (4_999, 1), (1, 2), (10, 2)] {
        tokio::time::advance(Duration::from_millis(advance)).await;
        assert_eq!(ask(&service, get()).await.status(), StatusCode::OK);
        assert_eq!(gate.scrapes(), scrapes);
    }
}

#[tokio::test]
async fn a_panic_in_a_collector_costs_its_families_only() {
    let (registry, service) = one_job();
    registry.register_collector(|_: &mut Samples<'_>| panic!("made by the test"));
    let response = ask(&service, get()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(text(response).await.contains("jobs_total 1"));
    assert_eq!(registry.dropped().get(), 1);
}

#[tokio::test]
async fn the_endpoint_tells_about_itself() {
    let (registry, service) = one_job();
    let service = service.max_in_flight(1).observe(&registry).unwrap();
    let error = ScrapeService::new(&registry).observe(&registry).unwrap_err();
    assert!(error.to_string().contains("cortex_metrics_scrapes"));

    let first = ask(&service, get()).await; // in flight: nobody has read it
    assert_eq!(
        ask(&service, get()).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    ask(&service, get().method(Method::POST)).await;
    let sent = read(first).await.len();
    let mut gate = Gate::in_front_of(&registry);
    let gone = start(&service, get().header("accept", "application/openmetrics-text"));
    gate.entered.recv().await.unwrap();
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();

    let shown = text(ask(&service, get()).await).await;
    for line in [
        "cortex_metrics_scrapes_total{format=\"text\",code=\"200\"} 1\n",
        "cortex_metrics_scrapes_total{format=\"text\",code=\"503\"} 1\n",
        "cortex_metrics_scrapes_total{format=\"none\",code=\"405\"} 1\n",
        "cortex_metrics_scrapes_total{format=\"openmetrics\",code=\"499\"} 1\n",
        "cortex_metrics_scrape_duration_seconds_count 4\n",
        &format!("cortex_metrics_scrape_bytes_total {sent}\n"),
        "cortex_metrics_scrapes_in_flight 1\n", // this one
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}

fn serve<T>(service: &ScrapeService, io: T) -> JoinHandle<hyper::Result<()>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(service.clone());
    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service))
}

const WIRE: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// Asks over a connection that holds 1 KiB, and reads no further than the first byte.
async fn slow_reader(service: &ScrapeService) -> (DuplexStream, JoinHandle<hyper::Result<()>>) {
    let (mut client, server) = tokio::io::duplex(1 << 10);
    let server = serve(service, server);
    client.write_all(WIRE).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'H');
    (client, server)
}

#[tokio::test]
async fn a_slow_reader_counts_and_others_are_answered() {
    // The server has the first at once, and drops the body; of the others it asks for more.
    for size in [10 << 10, 100 << 10, 2 << 20] {
        let service = ScrapeService::new(&large(size)).max_in_flight(2);
        let (mut client, server) = slow_reader(&service).await;
        for _ in 0..3 {
            let response = ask(&service, get()).await;
            assert_eq!(response.status(), StatusCode::OK);
            let second = ask(&service, get()).await;
            assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE, "{size}");
            assert!(read(response).await.len() > size);
        }
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() > size);
        server.await.unwrap().unwrap();
        let both = (ask(&service, get()).await, ask(&service, get()).await);
        assert_eq!(
            (both.0.status(), both.1.status()),
            (StatusCode::OK, StatusCode::OK)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_byte_a_second_lose_their_connections_at_the_deadline() {
    // With 5 s for everybody and 100 KiB a second, so many whole seconds.
    for (size, allowed) in [
        (30 << 10, 5),
        (100 << 10, 5 + 1),
        (300 << 10, 5 + 3),
        (2 << 20, 5 + 20),
    ] {
        let service = ScrapeService::new(&large(size))
            .max_in_flight(8)
            .timeout(Duration::from_secs(5))
            .min_rate(100 << 10);
        let mut readers = Vec::new();
        for _ in 0..8 {
            readers.push(slow_reader(&service).await);
        }
        for second in 0..allowed {
            assert_eq!(
                ask(&service, get()).await.status(),
                StatusCode::SERVICE_UNAVAILABLE,
                "{second} s"
            );
            for (client, server) in &mut readers {
                assert!(!server.is_finished(), "{size}: closed after {second} s");
                client.read_u8().await.unwrap();
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        // Nobody reads any more, and nobody asks: the connections end by themselves, and their places are free.
        for (mut client, server) in readers {
            let ended = tokio::time::timeout(Duration::from_millis(1), server).await;
            let error = ended.expect("the server closes it").unwrap().unwrap_err();
            let source = std::error::Error::source(&error).unwrap();
            assert!(source.to_string().contains("the reader is too slow"), "{source}");
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert!(rest.len() < size, "the reader sees that something is missing");
        }
        let others: Vec<_> = [(); 8].map(|()| start(&service, get())).into();
        for other in others {
            let response = other.await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert!(read(response).await.len() > size);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_in_the_middle_is_cut_off_too() {
    let size = 2 << 20;
    let service = ScrapeService::new(&large(size)).timeout(Duration::from_secs(5));
    let (mut client, server) = slow_reader(&service).await;
    let mut half = vec![0; size / 2];
    client.read_exact(&mut half).await.unwrap();
    assert!(!server.is_finished());
    // At 64 KiB a second, beside 5 s.
    let left = tokio::time::timeout(Duration::from_secs(5 + 32 + 1), server).await;
    assert!(left.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_reader_that_is_fast_enough_gets_every_byte() {
    for size in [1, 10 << 10, 64 << 10, 1 << 20, 5 << 20] {
        let registry = large(size);
        let service = ScrapeService::new(&registry);
        let (mut client, server) = slow_reader(&service).await;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(registry.to_text().as_bytes()), "{size}");
        server.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_scraper_that_says_how_long_it_waits_has_no_longer_to_read() {
    let service = ScrapeService::new(&large(1 << 10))
        .max_in_flight(1)
        .min_rate(1 << 20);
    let patience = get().header("X-Prometheus-Scrape-Timeout-Seconds", "2");
    let unread = ask(&service, patience).await;
    tokio::time::advance(Duration::from_millis(1_499)).await;
    assert_eq!(
        ask(&service, get()).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    tokio::time::advance(Duration::from_millis(5)).await;
    assert_eq!(ask(&service, get()).await.status(), StatusCode::OK);
    assert!(unread.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_slow_reader_that_hangs_up_frees_its_place() {
    let service = ScrapeService::new(&large(2 << 20)).max_in_flight(1);
    let (client, server) = slow_reader(&service).await;
    assert_eq!(
        ask(&service, get()).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    drop(client);
    assert!(server.await.unwrap().is_err());
    assert_eq!(ask(&service, get()).await.status(), StatusCode::OK);
}

/// A hundred connections at once over loopback: eight are answered from one encode, the others are told to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_over_sockets_is_bounded() {
    let (registry, service) = one_job();
    let mut gate = Gate::in_front_of(&registry);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            serve(&service, socket);
        }
    });
    let mut crowd = JoinSet::new();
    let (refused, mut refusals) = unbounded_channel();
    for _ in 0..100 {
        let refused = refused.clone();
        crowd.spawn(async move {
            let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
            socket.write_all(WIRE).await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            if answer.starts_with("HTTP/1.1 503") {
                assert!(answer.contains("retry-after: 1\r\n"));
                refused.send(()).unwrap();
            }
            answer
        });
    }
    // The eight wait at the gate until all others have come and gone.
    gate.entered.recv().await.unwrap();
    for _ in 0..92 {
        refusals.recv().await.unwrap();
    }
    gate.go.send(()).unwrap();
    let answers = crowd.join_all().await;
    let answered = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 200"));
    assert_eq!(
        answered
            .filter(|answer| answer.ends_with("jobs_total 1\n"))
            .count(),
        8
    );
    assert_eq!(gate.scrapes(), 1);
    server.abort();
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn the_router_is_the_service_at_its_path() {
    let (registry, service) = one_job();
    for router in [
        cortex_metrics::router(&registry),
        service.max_in_flight(3).into_router(),
    ] {
        for (method, path, status, length) in [
            (Method::GET, "/metrics", StatusCode::OK, "39"),
            (Method::HEAD, "/metrics", StatusCode::OK, "39"),
            (Method::POST, "/metrics", StatusCode::METHOD_NOT_ALLOWED, "16"),
        ] {
            let request = Request::builder().method(method).uri(path);
            let request = request
                .body(http_body_util::Empty::<bytes::Bytes>::new())
                .unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(header(&response, "content-length"), length, "{path}");
        }
        let elsewhere = Request::new(http_body_util::Empty::<bytes::Bytes>::new());
        let response = router.oneshot(elsewhere).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}
