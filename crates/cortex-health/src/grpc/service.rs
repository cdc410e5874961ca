use super::body::GrpcBody;
use super::call::{Method, is_encoded, is_grpc, timeout};
use super::code::{Code, Refusal};
use super::frame::{frame, read};
use super::message::{self, Malformed};
use super::serving::{Serving, all, serving, target};
use super::watching::Watching;
use crate::health::Health;
use crate::shared::Shared;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower_service::Service;

/// The most names that a `List` tells, as the protocol proposes.
const MOST_LISTED: usize = 100;

/// The service `grpc.health.v1.Health`, for clients that speak gRPC: `Check`, `List` and `Watch`.
///
/// It is a tower service for any server of HTTP/2. `Admin::grpc` of `cortex-http` answers with it on the admin port. With
/// axum, and so with the routes of `cortex-http`:
/// `Router::route_service("/grpc.health.v1.Health/{method}", GrpcHealth::new(&health))`.
///
/// | name | answer |
/// |---|---|
/// | none | that of [`Group::READY`](crate::Group::READY) |
/// | of a group | `SERVING` if its [answer over HTTP](Health::respond) is a success, else `NOT_SERVING` |
/// | another | `Check`: `NOT_FOUND`; `Watch`: `SERVICE_UNKNOWN`, and the stream stays open |
///
/// A kubelet's `grpc` probe without a `service` asks for no name, and that is readiness. A `livenessProbe` has to say
/// `service: live`, or it restarts the process whenever a dependency fails; a `startupProbe` says `service: startup`.
///
/// So up and degraded are `SERVING` and the others are not, unless [`Builder::map_status`](crate::Builder::map_status)
/// gives them other codes. Before the first results only liveness is `SERVING`. In a drain only liveness and a startup
/// that is over are, also of groups whose answer over HTTP is still a success; a second later streams end with
/// `UNAVAILABLE`, so that they hold up no server. A `Watch` tells the status at once and then changes only; what a
/// client was too slow to read is left out. Checks are not run, and their names are not shown.
///
/// A request may have 4 KiB, uncompressed, and take 5 s to arrive.
///
/// # How many may watch
///
/// At most 1024 streams at once, in all clones together; one more gets `RESOURCE_EXHAUSTED`. A tower service does not
/// know which connection a request came on, so that one connection may have all of them that its server allows:
/// 256 with `Limits::streams` of `cortex-http`, so let [`max_watchers`](Self::max_watchers) be a multiple of that.
/// Who took all of them keeps others from `Watch`, and nobody from `Check` and `List`. Put it where only those reach it
/// who may ask, as an admin port.
///
/// # Panics
///
/// A call panics outside of a tokio runtime, or in one without a timer (`enable_time`).
///
/// # Examples
///
/// ```
/// use cortex_health::{GrpcHealth, Health};
/// use http::Request;
/// use tower_service::Service;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let health = Health::builder().build()?;
/// let mut service = GrpcHealth::new(&health).max_watchers(16);
///
/// let empty = String::from("\0\0\0\0\0"); // a message without fields
/// let request = Request::post("/grpc.health.v1.Health/Check").header("content-type", "application/grpc").body(empty)?;
/// let response = service.call(request).await?;
/// assert_eq!(response.headers()["content-type"], "application/grpc");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct GrpcHealth {
    shared: Arc<Shared>,
    watchers: Arc<Semaphore>,
}

impl GrpcHealth {
    /// The name of the service, as clients and reflection know it.
    pub const NAME: &str = "grpc.health.v1.Health";

    /// Tells how this health is; 1024 streams may watch.
    pub fn new(health: &Health) -> Self {
        Self {
            shared: Arc::clone(&health.shared),
            watchers: Arc::new(Semaphore::new(1024)),
        }
    }

    /// Allows so many streams of `Watch` at once; 0 refuses all.
    #[must_use]
    pub fn max_watchers(mut self, count: usize) -> Self {
        self.watchers = Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        self
    }

    async fn answer<B: Body>(self, request: Request<B>) -> Response<GrpcBody> {
        let (head, body) = request.into_parts();
        if head.method != http::Method::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !is_grpc(&head.headers) {
            return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let Some(method) = Method::of_path(head.uri.path()) else {
            return refused(Refusal::new(Code::Unimplemented, "there is no such method"));
        };
        let deadline = timeout(&head.headers).and_then(|timeout| Instant::now().checked_add(timeout));
        let body = match read(body, is_encoded(&head.headers)).await {
            Ok(message) => self.call_method(method, &message, deadline),
            Err(refusal) => Err(refusal),
        };
        body.map_or_else(refused, |body| response(HeaderMap::new(), body))
    }

    fn call_method(
        self,
        method: Method,
        message: &[u8],
        deadline: Option<Instant>,
    ) -> Result<GrpcBody, Refusal> {
        let malformed = |_: Malformed| Refusal::new(Code::Internal, "the request is no message");
        match method {
            Method::Check => {
                let name = message::service(message).map_err(malformed)?;
                match serving(&self.shared, target(&self.shared, name)) {
                    Serving::Unknown => Err(Refusal::new(Code::NotFound, "there is no such service")),
                    serving => Ok(GrpcBody::one(frame(&message::response(serving)))),
                }
            }
            Method::List => {
                message::fields(message).map_err(malformed)?;
                if all(&self.shared).count() > MOST_LISTED {
                    return Err(Refusal::new(
                        Code::ResourceExhausted,
                        "there are too many services to list",
                    ));
                }
                let statuses = all(&self.shared).map(|(name, it)| (name, serving(&self.shared, Some(it))));
                Ok(GrpcBody::one(frame(&message::list(statuses))))
            }
            Method::Watch => {
                let name = message::service(message).map_err(malformed)?;
                let target = target(&self.shared, name);
                let Ok(permit) = self.watchers.try_acquire_owned() else {
                    return Err(Refusal::new(Code::ResourceExhausted, "too many watch already"));
                };
                let watching = Watching::new(self.shared, target, deadline, permit);
                Ok(GrpcBody::watch(watching))
            }
        }
    }
}

impl<B> Service<Request<B>> for GrpcHealth
where
    B: Body<Data: Send> + Send + 'static,
{
    type Response = Response<GrpcBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

impl fmt::Debug for GrpcHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcHealth")
            .field("free_watchers", &self.watchers.available_permits())
            .finish_non_exhaustive()
    }
}

/// Answers what is no gRPC.
fn plain(status: StatusCode) -> Response<GrpcBody> {
    let mut response = Response::new(GrpcBody::empty());
    *response.status_mut() = status;
    response
}

/// Answers without a message: how the call ended is among the headers.
fn refused(refusal: Refusal) -> Response<GrpcBody> {
    response(refusal.headers(), GrpcBody::empty())
}

fn response(mut headers: HeaderMap, body: GrpcBody) -> Response<GrpcBody> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;
    use crate::group::Group;
    use crate::report::Entry;
    use crate::status::Status;
    use bytes::Bytes;
    use cortex_core::Clock;
    use cortex_testkit::ManualClock;
    use http_body_util::{BodyExt, Full};
    use std::time::Duration;

    /// A health with one check in a group, whose scheduler is this.
    struct Bench {
        health: Health,
        clock: ManualClock,
        service: GrpcHealth,
    }

    impl Bench {
        fn new() -> Self {
            let clock = ManualClock::new();
            let orders = Group::new("shop.v1.Orders").expect("a name");
            let check = Check::from_fn("db", || async {}).groups([Group::READY, Group::STARTUP, orders]);
            let health = Health::builder()
                .clock(clock.clone())
                .check(check)
                .build()
                .expect("a health");
            let service = GrpcHealth::new(&health);
            Self {
                health,
                clock,
                service,
            }
        }

        fn publish(&self, status: Status) {
            let shared = &self.health.shared;
            let mut report = shared.snapshot().check("db").expect("the check").clone();
            report.status = status;
            report.checked = Some(shared.clock.wall());
            shared.publish(vec![Entry::new(report)], Arc::new([]));
            self.beat();
        }

        fn beat(&self) {
            self.health.shared.extend_lease(self.clock.now());
        }

        async fn call(&self, method: &str, message: &[u8]) -> Response<GrpcBody> {
            let request = Request::post(format!("/grpc.health.v1.Health/{method}"))
                .header("content-type", "application/grpc")
                .body(Full::new(frame(message)))
                .expect("a request");
            let Ok(response) = self.service.clone().call(request).await;
            assert_eq!(response.headers()["content-type"], "application/grpc");
            response
        }

        /// Returns the status that is told of a name, or the code of gRPC.
        async fn check(&self, name: &str) -> Result<u8, String> {
            let response = self.call("Check", &named(name)).await;
            if let Some(code) = response.headers().get("grpc-status") {
                return Err(code.to_str().expect("digits").to_owned());
            }
            let collected = response.into_body().collect().await.expect("a body");
            assert_eq!(collected.trailers().expect("trailers")["grpc-status"], "0");
            let bytes = collected.to_bytes();
            assert_eq!(bytes[..6], [0, 0, 0, 0, 2, 8], "one message with one field");
            Ok(bytes[6])
        }

        async fn watch(&self, name: &str) -> GrpcBody {
            let response = self.call("Watch", &named(name)).await;
            assert_eq!(response.headers().get("grpc-status"), None);
            response.into_body()
        }
    }

    fn named(name: &str) -> Vec<u8> {
        let mut message = vec![10, u8::try_from(name.len()).expect("a short name")];
        message.extend_from_slice(name.as_bytes());
        message
    }

    /// Returns the next status of a stream, or the code that it ends with; `None` if nothing comes for a second.
    async fn next(body: &mut GrpcBody) -> Option<Result<u8, String>> {
        let frame = tokio::time::timeout(Duration::from_millis(900), body.frame()).await;
        let frame = frame.ok()?.expect("a frame").expect("no error");
        Some(match frame.into_data() {
            Ok(data) => Ok(data[6]),
            Err(frame) => {
                let trailers = frame.into_trailers().expect("trailers");
                Err(trailers["grpc-status"].to_str().expect("digits").to_owned())
            }
        })
    }

    #[tokio::test]
    async fn a_check_tells_the_status_of_groups() {
        let bench = Bench::new();
        let not_found = || Err("5".to_owned());
        let all = async || {
            let mut found = Vec::new();
            for name in ["", "ready", "live", "startup", "shop.v1.Orders", "db"] {
                found.push(bench.check(name).await);
            }
            found
        };
        assert_eq!(
            all().await,
            [Ok(2), Ok(2), Ok(1), Ok(2), Ok(2), not_found()],
            "never run"
        );
        bench.publish(Status::Degraded);
        assert_eq!(all().await, [Ok(1), Ok(1), Ok(1), Ok(1), Ok(1), not_found()]);
        bench.publish(Status::Down);
        assert_eq!(all().await, [Ok(2), Ok(2), Ok(1), Ok(1), Ok(2), not_found()]);
        bench.publish(Status::Up);
        bench.health.set_draining(true);
        assert_eq!(
            all().await,
            [Ok(2), Ok(2), Ok(1), Ok(1), Ok(2), not_found()],
            "draining"
        );
        bench.health.set_draining(false);
        bench.clock.advance(Duration::from_secs(5));
        assert_eq!(
            all().await,
            [Ok(2), Ok(2), Ok(1), Ok(1), Ok(2), not_found()],
            "no scheduler"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_refuses_when_it_is_degraded_does_not_serve_then() {
        let mut bench = Bench::new();
        bench.health = Health::builder()
            .clock(bench.clock.clone())
            .check(Check::from_fn("db", || async {}))
            .map_status(Group::READY, Status::Degraded, StatusCode::SERVICE_UNAVAILABLE)
            .build()
            .unwrap();
        bench.service = GrpcHealth::new(&bench.health);
        bench.publish(Status::Up);
        let mut watch = bench.watch("").await;
        assert_eq!(next(&mut watch).await, Some(Ok(1)));
        bench.publish(Status::Degraded);
        assert_eq!(next(&mut watch).await, Some(Ok(2)));
        assert_eq!(bench.check("ready").await, Ok(2));
    }

    #[tokio::test]
    async fn a_list_tells_all_of_them() {
        let bench = Bench::new();
        bench.publish(Status::Up);
        let body = bench
            .call("List", b"")
            .await
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        let statuses = ["", "startup", "live", "ready", "shop.v1.Orders"].map(|name| (name, Serving::Yes));
        assert_eq!(body, frame(&message::list(statuses.into_iter())));
        let response = bench.call("List", b"\x0a").await;
        assert_eq!(response.headers()["grpc-status"], "13");
    }

    #[tokio::test]
    async fn too_many_names_are_not_listed() {
        let names = (0..97).map(|number| Group::new(format!("g{number}")).unwrap());
        let check = |count| Check::from_fn("db", || async {}).groups(names.clone().take(count));
        for (count, status) in [(96, None), (97, Some("8"))] {
            let mut bench = Bench::new();
            let health = Health::builder().check(check(count)).build().unwrap();
            bench.service = GrpcHealth::new(&health);
            let response = bench.call("List", b"").await;
            let found = response
                .headers()
                .get("grpc-status")
                .map(|code| code.to_str().unwrap());
            assert_eq!(found, status, "{count}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_tells_changes_and_the_last_one_only() {
        let bench = Bench::new();
        let mut watch = bench.watch("").await;
        assert_eq!(next(&mut watch).await, Some(Ok(2)));
        assert_eq!(next(&mut watch).await, None, "nothing has changed");
        bench.publish(Status::Up);
        assert_eq!(next(&mut watch).await, Some(Ok(1)));
        for status in [Status::Degraded, Status::Up] {
            bench.publish(status);
            assert_eq!(next(&mut watch).await, None, "both serve");
        }
        for status in [Status::Down, Status::Up, Status::Down, Status::Up, Status::Down] {
            bench.publish(status); // while nobody reads
        }
        assert_eq!(next(&mut watch).await, Some(Ok(2)));
        assert_eq!(next(&mut watch).await, None);
        bench.publish(Status::Up);
        bench.publish(Status::Down);
        assert_eq!(next(&mut watch).await, None, "it is as it was told");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_of_an_unknown_name_stays_open() {
        let bench = Bench::new();
        let mut watch = bench.watch("nobody").await;
        assert_eq!(next(&mut watch).await, Some(Ok(3)));
        bench.publish(Status::Up);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(next(&mut watch).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_hears_of_a_drain_and_ends() {
        let bench = Bench::new();
        bench.publish(Status::Up);
        let (mut ready, mut live) = (bench.watch("ready").await, bench.watch("live").await);
        assert_eq!(next(&mut ready).await, Some(Ok(1)));
        assert_eq!(next(&mut live).await, Some(Ok(1)));
        bench.health.set_draining(true);
        assert_eq!(next(&mut ready).await, Some(Ok(2)));
        assert_eq!(next(&mut ready).await, None, "time to read it");
        bench.health.set_draining(false);
        assert_eq!(next(&mut ready).await, Some(Ok(1)), "it was called off");
        bench.health.set_draining(true);
        assert_eq!(next(&mut ready).await, Some(Ok(2)));
        assert_eq!(next(&mut ready).await, None);
        assert_eq!(next(&mut ready).await, Some(Err("14".into())));
        assert!(ready.is_end_stream());
        assert_eq!(next(&mut live).await, None);
        assert_eq!(next(&mut live).await, Some(Err("14".into())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_notices_a_scheduler_that_is_gone() {
        let bench = Bench::new();
        bench.publish(Status::Up);
        let (mut ready, mut live) = (bench.watch("").await, bench.watch("live").await);
        assert_eq!(next(&mut ready).await, Some(Ok(1)));
        assert_eq!(next(&mut live).await, Some(Ok(1)));
        // The clock of the health does not move by itself: both have to.
        let pass = async |seconds| {
            bench.clock.advance(Duration::from_secs(seconds));
            tokio::time::advance(Duration::from_secs(seconds)).await;
        };
        assert_eq!(next(&mut ready).await, None);
        pass(5).await;
        assert_eq!(next(&mut ready).await, Some(Ok(2)));
        assert_eq!(next(&mut live).await, None);
        bench.beat();
        assert_eq!(next(&mut ready).await, Some(Ok(1)), "it was only late");
        assert_eq!(next(&mut live).await, None);
        pass(35).await;
        assert_eq!(
            next(&mut live).await,
            None,
            "the whole process may have been stopped"
        );
        pass(29).await;
        assert_eq!(next(&mut live).await, None);
        pass(1).await;
        assert_eq!(next(&mut live).await, Some(Ok(2)));
        bench.health.shared.end_lease(bench.clock.now());
        assert_eq!(next(&mut ready).await, Some(Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_ends_at_the_deadline_of_the_call() {
        let bench = Bench::new();
        let request = Request::post("/grpc.health.v1.Health/Watch")
            .header("content-type", "application/grpc+proto")
            .header("grpc-timeout", "500m")
            .body(Full::new(frame(b"")))
            .unwrap();
        let Ok(response) = bench.service.clone().call(request).await;
        let mut watch = response.into_body();
        assert_eq!(next(&mut watch).await, Some(Ok(2)));
        assert_eq!(next(&mut watch).await, Some(Err("4".into())));
    }

    #[tokio::test]
    async fn watchers_are_bounded_and_make_room_when_they_go() {
        let mut bench = Bench::new();
        bench.service = bench.service.max_watchers(2);
        let (first, _second) = (bench.watch("").await, bench.watch("nobody").await);
        let refused = bench.call("Watch", b"").await;
        assert_eq!(refused.headers()["grpc-status"], "8");
        assert_eq!(refused.headers()["grpc-message"], "too many watch already");
        assert!(refused.body().is_end_stream());
        assert_eq!(bench.check("live").await, Ok(1), "others are not held up");
        drop(first);
        bench.watch("").await;
    }

    #[tokio::test]
    async fn what_is_no_call_is_refused() {
        let bench = Bench::new();
        let ask = async |method: &str, path: &str, kind: &str, body: &'static [u8]| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("content-type", kind)
                .body(Full::new(Bytes::from_static(body)))
                .unwrap();
            let Ok(response) = bench.service.clone().call(request).await;
            let code = response.headers().get("grpc-status");
            let code = code.map(|code| code.to_str().unwrap().to_owned());
            (response.status().as_u16(), code)
        };
        let (check, grpc) = ("/grpc.health.v1.Health/Check", "application/grpc");
        assert_eq!(ask("GET", check, grpc, b"").await, (405, None));
        assert_eq!(ask("POST", check, "application/json", b"").await, (415, None));
        let code = |code: &str| (200, Some(code.to_owned()));
        assert_eq!(
            ask("POST", "/grpc.health.v1.Health/Restart", grpc, b"").await,
            code("12")
        );
        assert_eq!(ask("POST", check, grpc, b"").await, code("13"));
        assert_eq!(ask("POST", check, grpc, b"\0\0\0\0\x01\x0a").await, code("13"));
        assert_eq!(ask("POST", check, grpc, b"\x01\0\0\0\0").await, code("13"));
        assert_eq!(ask("POST", check, grpc, &[0; 5000]).await, code("8"));
    }

    #[tokio::test]
    async fn what_is_compressed_is_refused_with_what_is_not() {
        let bench = Bench::new();
        bench.publish(Status::Up);
        let ask = async |encoding: &'static str, body: &'static [u8]| {
            let request = Request::post("/grpc.health.v1.Health/Check")
                .header("content-type", "application/grpc")
                .header("grpc-encoding", encoding)
                .body(Full::new(Bytes::from_static(body)))
                .unwrap();
            let Ok(response) = bench.service.clone().call(request).await;
            let text = |name| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
            (text("grpc-status"), text("grpc-accept-encoding"))
        };
        let some = |text: &str| Some(text.to_owned());
        let (plain, compressed) = (b"\0\0\0\0\0", b"\x01\0\0\0\0");
        assert_eq!(ask("gzip", compressed).await, (some("12"), some("identity")));
        assert_eq!(ask("identity", compressed).await, (some("13"), None));
        assert_eq!(
            ask("gzip", plain).await,
            (None, None),
            "no message has to be compressed"
        );
    }

    #[tokio::test]
    async fn a_mapped_code_decides_whether_a_group_serves() {
        let mut bench = Bench::new();
        let orders = Group::new("orders").unwrap();
        bench.health = Health::builder()
            .clock(bench.clock.clone())
            .check(Check::from_fn("db", || async {}).groups([orders.clone()]))
            .map_status(orders.clone(), Status::Up, StatusCode::SERVICE_UNAVAILABLE)
            .map_status(orders, Status::Down, StatusCode::OK)
            .build()
            .unwrap();
        bench.service = GrpcHealth::new(&bench.health);
        assert_eq!(bench.check("orders").await, Ok(2), "no result is not mapped");
        for (status, expected) in [(Status::Up, 2), (Status::Degraded, 1), (Status::Down, 1)] {
            bench.publish(status);
            assert_eq!(bench.check("orders").await, Ok(expected), "{status}");
        }
    }
}
