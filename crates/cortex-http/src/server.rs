use std::borrow::Cow;
use std::fmt;
use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cortex_compress::{CompressionLayer, MetricsObserver};
use cortex_core::{Clock, TscClock};
use cortex_health::Health;
use cortex_metrics::{Buckets, RegisterError, Registry, Samples};
use cortex_trace::Tracer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::AccessLog;
use crate::address::{Addresses, ClientAddress};
use crate::admin::{self, Admin, AdminThread};
use crate::error::{Error, ErrorKind};
use crate::guard::{Admission, Deadlines, Guards, SecurityHeaders};
use crate::health_metrics::{HealthMetrics, collect_states};
use crate::lifecycle::{
    Closing, Control, Drain, Lifecycle, LifecycleThread, Parts, PhaseCell, Starting, StepResult, Subsystem,
};
use crate::limits::Limits;
use crate::listen::{ListenAddr, Listener, Listeners, Reloads};
use crate::metrics::HttpMetrics;
use crate::observe::Observed;
use crate::registration::Registration;
use crate::report::ExitReport;
use crate::request_id::RequestIds;
use crate::routes::Routes;
use crate::running::Running;
use crate::serve::{Peers, accept_all};
use crate::shared::{Conn, Shared, Tally};
use crate::spans::collect_spans;
use crate::table::RouteTable;

/// Turns routes into a service that can run in production.
///
/// Without further settings: bounded connections, heads and bodies, compressed responses, panics answered with 500,
/// trace context passed on, and a graceful end. Hand it a registry, a tracer, health checks and an admin port to see it.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use axum::routing::get;
/// use cortex_http::{Admin, Routes, Server};
/// use cortex_metrics::Registry;
///
/// let routes = Routes::new().route("/", get(|| async { "hello" }));
/// let running = Server::new(routes)
///     .metrics(&Registry::default())
///     .admin(Admin::bind("127.0.0.1:0"))
///     .start("127.0.0.1:0")
///     .await?;
/// println!("http://{}", running.local_addr());
/// running.shutdown();
/// assert_eq!(running.join().await.code(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a server does nothing until it is started"]
pub struct Server {
    routes: Routes,
    name: String,
    registry: Option<Registry>,
    body_sizes: Option<Buckets>,
    tracer: Tracer,
    addresses: Addresses,
    health: Option<Health>,
    compression: CompressionLayer,
    admin: Option<Admin>,
    limits: Limits,
    lifecycle: Lifecycle,
    access: AccessLog,
    request_ids: RequestIds,
    clock: Arc<dyn Clock>,
    guards: Guards,
    closing: Closing,
    parts: Parts,
    listeners: Vec<Listener>,
}

impl Server {
    /// Makes a server of [`Routes`], or of an axum `Router`, whose requests are then labelled `unmatched`.
    pub fn new(routes: impl Into<Routes>) -> Self {
        Self {
            routes: routes.into(),
            name: "http".into(),
            registry: None,
            body_sizes: None,
            tracer: Tracer::propagate_only(),
            addresses: Addresses::default(),
            health: None,
            compression: CompressionLayer::new(),
            admin: None,
            limits: Limits::new(),
            lifecycle: Lifecycle::local(),
            access: AccessLog::new(),
            request_ids: RequestIds::given(),
            clock: Arc::new(TscClock),
            guards: Guards::new(Deadlines::new()),
            closing: Closing::new(),
            parts: Parts::default(),
            listeners: Vec::new(),
        }
    }

    /// Names the service in its log lines. Default `http`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Counts and times requests in this registry, and shows it on the admin port.
    ///
    /// `http_server_request_duration_seconds` has the labels `http_request_method`, `http_route` and
    /// `http_response_status_code`, of the conventions of OpenTelemetry for HTTP servers. It has not their `error_type`:
    /// for a status of 5xx that is the status again, and what no status tells, a client that left, a body that broke off,
    /// a panic, is counted by `http_server_request_outcomes`, which is not multiplied by routes, methods and statuses. Nor
    /// has it `url_scheme`: a service is asked by one, and where it listens by both or behind a proxy, spans tell.
    ///
    /// The same registry shows what becomes of the
    /// [tracer](Self::tracer)'s spans, by exporter: `otel_sdk_processor_span_queue_size`, `_queue_capacity` and
    /// `_processed`, `otel_sdk_exporter_span_inflight` and `_exported`, where `error_type` says why spans were lost;
    /// and `cortex_trace_untracked_spans` counts those of the `tracing` crate for which there was no room.
    ///
    /// What becomes of responses in the layer that [compresses](Self::compression) them is counted by a
    /// [`MetricsObserver`], whose names begin with `cortex_compress_`: how, how much and how fast they are encoded, and why
    /// others are not.
    ///
    /// Each [admission](Self::admission) has its `cortex_admission_refused`, and one that counts what is under way
    /// `cortex_admission_in_flight` and `cortex_admission_limit`. The label `admission` is the
    /// [name](Self::named_admission) of it, or that of its stage: `load_shed`, `rate_limit`, `concurrency`. Those of the
    /// same name are numbered in the order in which they are asked, `rate_limit_2`.
    pub fn metrics(mut self, registry: &Registry) -> Self {
        self.registry = Some(registry.clone());
        self
    }

    /// Also measures the bodies of requests and responses in the [registry](Self::metrics), with these buckets of bytes:
    /// `http_server_request_body_size_bytes`, as far as the handler has read it when the response ends, and
    /// `http_server_response_body_size_bytes`, as far as it was handed over, compressed. Their labels are those of the
    /// duration, and a request without a body has one of zero bytes. Default: neither, which is two histograms for each
    /// route, method and status, and as much work again as to time a request.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::{Routes, Server};
    /// use cortex_metrics::{Buckets, Registry};
    ///
    /// let registry = Registry::default();
    /// let sizes = Buckets::exponential(256.0, 8.0, 8)?;
    /// let server = Server::new(Routes::new()).metrics(&registry).body_size_metrics(sizes);
    /// # drop(server);
    /// # Ok::<(), cortex_metrics::BucketsError>(())
    /// ```
    pub fn body_size_metrics(mut self, bytes: Buckets) -> Self {
        self.body_sizes = Some(bytes);
        self
    }

    /// Makes a server span for each request that this tracer samples; its exporters are flushed at the end. Default:
    /// trace context is passed on, nothing is recorded.
    ///
    /// A span says who is at the [other end of the connection](Self::peer_address), and, if it is to, who the
    /// [client](Self::client_address) is.
    pub fn tracer(mut self, tracer: Tracer) -> Self {
        self.tracer = tracer;
        self
    }

    /// Makes server spans by the tracer of this, as [`tracer`](Self::tracer) does, and flushes all of it at the very end,
    /// the logs with the line of the [`ExitReport`], in what is left of the
    /// [time for that](Lifecycle::flush_timeout): [`ExitReport::exit`] loses nothing then. It ends nothing, so that what
    /// `main` logs after that is exported, too, if `main` sees to it.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::{Routes, Server};
    /// use cortex_trace::{AlwaysOff, Telemetry, Tracer};
    ///
    /// let (telemetry, _) = Telemetry::builder(Tracer::builder("shop").sampler(AlwaysOff)).build()?;
    /// let server = Server::new(Routes::new()).telemetry(&telemetry);
    /// # drop(server);
    /// # Ok::<(), cortex_trace::TelemetryError>(())
    /// ```
    #[cfg(feature = "logs")]
    pub fn telemetry(mut self, telemetry: &cortex_trace::Telemetry) -> Self {
        let telemetry = telemetry.clone();
        self.tracer = telemetry.tracer().clone();
        self.parts.last = Some(Box::new(move |limit| {
            Box::pin(async move { telemetry.flush(limit).await.is_ok() })
        }));
        self
    }

    /// Says who a request comes from, for [`Forwarded`](crate::Forwarded) and for spans, `client.address`. Default: nobody
    /// knows.
    ///
    /// Spans say by it, too, which scheme and host were asked for at the proxy. A service without a socket, as
    /// [`service`](Self::service) makes it, knows no client.
    pub fn client_address(mut self, client: ClientAddress) -> Self {
        self.addresses.client = client;
        self
    }

    /// Says whether spans record the [client](Self::client_address), which is personal data in many places. Default: they
    /// do, once it is known.
    pub fn client_address_in_spans(mut self, recorded: bool) -> Self {
        self.addresses.client_in_spans = recorded;
        self
    }

    /// Says whether spans record the other end of the connection, `network.peer.address` and `network.peer.port`: the
    /// last proxy, or the client where there is none. Default: they do.
    pub fn peer_address(mut self, recorded: bool) -> Self {
        self.addresses.peer = recorded;
        self
    }

    /// Runs these checks while the service runs; they decide the probes of the admin port.
    pub fn health(mut self, health: Health) -> Self {
        self.health = Some(health);
        self
    }

    /// Compresses responses with this layer. Default: zstd, brotli and gzip for text of 1 KiB or more; a `min_size` of
    /// `u64::MAX` compresses nothing. A 406 of its [`not_acceptable`](CompressionLayer::not_acceptable) is a
    /// [`Problem`](crate::Problem).
    ///
    /// A layer with an observer of its own is left as it is: give it a [`MetricsObserver`], too, for the
    /// [metrics](Self::metrics) that others have.
    ///
    /// An application that makes a [`MetricsObserver`] itself, for layers that decode, gives this layer a clone of it: a
    /// registry has room for one.
    ///
    /// ```
    /// use cortex_compress::{CompressionLayer, MetricsObserver, RequestDecompressionLayer};
    /// use cortex_http::{Routes, Server};
    /// use cortex_metrics::Registry;
    ///
    /// let registry = Registry::default();
    /// let observer = MetricsObserver::new(&registry)?;
    /// let compression = CompressionLayer::new().observe(observer.clone());
    /// observer.watch(&compression.clone().compressor().memory_budget());
    /// let decode = RequestDecompressionLayer::new().observe(observer);
    /// let routes = Routes::new().map(|router| router.layer(decode));
    /// let service = Server::new(routes).metrics(&registry).compression(compression).service()?;
    /// # drop(service);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compression(mut self, layer: CompressionLayer) -> Self {
        self.compression = layer;
        self
    }

    /// Opens an admin port. Default: none.
    pub fn admin(mut self, admin: Admin) -> Self {
        self.admin = Some(admin);
        self
    }

    /// Also listens here, beside what it is started with; all share the [limits](Limits::connections).
    pub fn listen(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// Bounds connections and requests. Default: [`Limits::new`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets in only the requests that this admits, such as a [`ConcurrencyLimit`](crate::ConcurrencyLimit), beside what
    /// was added before. All are asked in the order of their [`stage`](Admission::stage), whatever the order of the
    /// calls. Default: none.
    pub fn admission(mut self, admission: impl Admission) -> Self {
        self.guards.add(admission);
        self
    }

    /// Adds an [admission](Self::admission) that has this name in the [metrics](Self::metrics): for one that stands beside
    /// others of its kind.
    pub fn named_admission(mut self, name: impl Into<Cow<'static, str>>, admission: impl Admission) -> Self {
        self.guards.add_named(name.into(), admission);
        self
    }

    /// Says how long requests may take until their responses begin. Default: [`Deadlines::new`], a minute, or less where
    /// the client says so.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.guards.deadlines = deadlines;
        self
    }

    /// Lets pages of other origins use the service as these rules say; preflights are answered without the router. An
    /// `OPTIONS` that is no preflight gets to its handler, unlike behind tower-http's own middleware.
    ///
    /// Every answer bears the headers, also one in place of a handler: a page that is refused with 429 can read that and
    /// wait, and need not take it for a broken network. For `Retry-After` to be readable, expose that header. Rules
    /// that wait for somebody may do so until the deadline of the request; one that is refused does not wait for them.
    ///
    /// # Panics
    ///
    /// Where `CorsLayer` does: the rules allow credentials together with a wildcard.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::{Routes, Server};
    /// use http::header::RETRY_AFTER;
    /// use http::{HeaderValue, Method};
    /// use tower_http::cors::CorsLayer;
    ///
    /// let rules = CorsLayer::new()
    ///     .allow_origin(HeaderValue::from_static("https://shop.example"))
    ///     .allow_methods([Method::GET, Method::POST])
    ///     .expose_headers([RETRY_AFTER]);
    /// let server = Server::new(Routes::new()).cors(&rules);
    /// # drop(server);
    /// ```
    #[cfg(feature = "cors")]
    pub fn cors(mut self, rules: &tower_http::cors::CorsLayer) -> Self {
        self.guards.cors = Some(crate::guard::CrossOrigin::new(rules));
        self
    }

    /// Adds these headers to every answer. Default: none.
    pub fn security_headers(mut self, headers: SecurityHeaders) -> Self {
        self.guards.security = Some(headers);
        self
    }

    /// Sets the times of the end. Default: [`Lifecycle::local`].
    pub fn lifecycle(mut self, lifecycle: Lifecycle) -> Self {
        self.lifecycle = lifecycle;
        self
    }

    /// Starts this before the service accepts connections, and stops it after the last one has ended. Subsystems start in
    /// the order of these calls, and stop in reverse.
    pub fn subsystem(mut self, subsystem: Subsystem) -> Self {
        self.parts.subsystems.push(subsystem);
        self
    }

    /// Runs this at the very end, after the subsystems have stopped, within this limit: for exporters that still hold
    /// something, such as one that pushes metrics. The flushes, and that of the [tracer](Self::tracer), run side by side.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::{Routes, Server};
    /// use std::time::Duration;
    ///
    /// let server = Server::new(Routes::new()).flush("audit log", Duration::from_secs(2), async {
    ///     std::fs::File::open("/dev/null")?.sync_all().or(Ok::<_, std::io::Error>(()))
    /// });
    /// # let _ = server;
    /// ```
    pub fn flush<F>(mut self, name: impl Into<Cow<'static, str>>, limit: Duration, step: F) -> Self
    where
        F: Future<Output: StepResult> + Send + 'static,
    {
        self.parts.flush(name.into(), limit, step);
        self
    }

    /// Runs this at every SIGHUP, within this limit: it reads a configuration or a certificate again. An error is logged,
    /// and changes nothing: whatever is replaced should be replaced only when its successor is known to be good.
    ///
    /// SIGHUP does not end a service, whether there is something to reload or not. All of this runs in a task of the
    /// application, the call as well as the future that it returns: one that panics runs again the next time, and one that
    /// blocks its thread is left out until it has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::{Routes, Server};
    /// use std::time::Duration;
    ///
    /// let server = Server::new(Routes::new()).on_reload("prices", Duration::from_secs(5), || async {
    ///     let prices = std::fs::read_to_string("prices.toml")?;
    ///     // parses them, and replaces those in use if they are good
    ///     # drop(prices);
    ///     Ok::<_, std::io::Error>(())
    /// });
    /// # let _ = server;
    /// ```
    pub fn on_reload<F>(
        mut self,
        name: impl Into<Cow<'static, str>>,
        limit: Duration,
        step: impl FnMut() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output: StepResult> + Send + 'static,
    {
        self.parts.reload(name.into(), limit, step);
        self
    }

    /// Fires this when the service stops accepting connections, after the [`drain_delay`](Lifecycle::drain_delay): it was
    /// made before the server, and clones of it are in
    /// the state of handlers and in tasks that have to know.
    pub fn closing(mut self, closing: &Closing) -> Self {
        self.closing = closing.clone();
        self
    }

    /// Says which requests are logged. Default: [`AccessLog::new`], failed and slow ones.
    pub fn access_log(mut self, log: AccessLog) -> Self {
        self.access = log;
        self
    }

    /// Says what becomes of the header that names a request. Default: [`RequestIds::given`], which sends it back.
    pub fn request_ids(mut self, ids: RequestIds) -> Self {
        self.request_ids = ids;
        self
    }

    /// Measures with this clock, which must run as fast as tokio's: the time limits wait on that. Default:
    /// [`TscClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Serves until SIGTERM or SIGINT, then drains and says how it went; a second signal ends it at once. SIGHUP runs
    /// what is registered by [`on_reload`](Self::on_reload).
    ///
    /// The handlers are installed before the port opens, so that a signal also ends a start that is under way. A thread
    /// waits for signals and does what they ask for, so that it happens while every worker of the application is blocked. If
    /// something still blocks a second after the second signal, the process ends there and then, with the code that the
    /// report would have had. SIGQUIT is left to its default.
    ///
    /// The handlers stay for as long as the process. When the service has ended and no other one of the process has its
    /// own, the second signal ends the process at once, with 128 and its number as its code: `main` may wait for something
    /// that never ends. The first one is not lost on what `main` still does: after a `preStop` hook that has drained the
    /// service, Kubernetes sends it in any case. If the service did not start, the first one ends the process.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and when the signal handlers cannot be installed.
    ///
    /// # Cancel safety
    ///
    /// Dropping it starts the drain in the background, as dropping a [`Running`] does.
    pub async fn serve(self, listener: impl Into<Listener>) -> Result<ExitReport, Error> {
        Ok(self.start_with_signals(listener).await?.join().await)
    }

    /// Starts the service as [`start`](Self::start) does, and has signals end it as [`serve`](Self::serve) does: for one
    /// that is to say where it listens. The handlers are there before the port opens; a signal that comes before this
    /// returns ends the start, and the service that is returned ends.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and when the signal handlers cannot be installed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// As [`start`](Self::start).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), cortex_http::Error> {
    /// use cortex_http::{Routes, Server};
    ///
    /// let running = Server::new(Routes::new()).start_with_signals("127.0.0.1:0").await?;
    /// println!("http://{}", running.local_addr());
    /// running.join().await.exit() // once a signal has come
    /// # }
    /// ```
    pub async fn start_with_signals(self, listener: impl Into<Listener>) -> Result<Running, Error> {
        self.start_on(listener.into(), true).await
    }

    /// Starts the service on the current tokio runtime; returns when it accepts connections, or when its end was asked
    /// for meanwhile.
    ///
    /// The port is opened first, and clients wait in its backlog. Then the admin port answers, [subsystems](Subsystem)
    /// start one after the other, the checks begin, and connections are accepted.
    ///
    /// # Errors
    ///
    /// A listener or the admin address cannot be listened on, a limit makes no sense, the times of the end do not fit
    /// into the grace period, a subsystem does not start (those before it are stopped again), the checks were started
    /// already, by another server perhaps, a metric of the service is registered already, or a thread cannot be started.
    /// Nothing of it is left then in the registry and the health, which another try may use. What is [flushed](Self::flush)
    /// at the end is flushed before the error is returned, whatever it is, but where no thread can be started.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before it is ready stops in the background what has started so far.
    pub async fn start(self, listener: impl Into<Listener>) -> Result<Running, Error> {
        self.start_on(listener.into(), false).await
    }

    async fn start_on(mut self, listener: Listener, signals: bool) -> Result<Running, Error> {
        let thread = LifecycleThread::start().await?;
        let watch = thread.watch().clone();
        let mut parts = std::mem::take(&mut self.parts);
        let fitting = self.lifecycle.checked(&parts);
        let clock = Arc::clone(&self.clock);
        let health = match &self.health {
            Some(health) => health.clone(),
            None => Health::builder()
                .build()
                .expect("invariant: a health without checks has nothing to refuse"),
        };
        let (name, admin) = (self.name.clone(), self.admin.clone());
        // A start that fails leaves something to flush, too, and so does one that is dropped, however early.
        let shared = Arc::new(Shared::idle(self.tracer.clone(), Arc::clone(&clock)));
        let control = Control::new(Arc::clone(&shared), health.clone());
        let runtime = tokio::runtime::Handle::current();
        let mut drain = Drain::new(name.clone(), shared, self.lifecycle, runtime);
        drain.flushes(std::mem::take(&mut parts.flushes), parts.last.take());
        let mut starting = Starting::new(thread, drain, Arc::new(control));
        let ready = if signals { watch.install() } else { Ok(()) };
        let prepared = match ready.and(fitting) {
            Ok(_) => Box::pin(self.prepare(listener, &mut parts)).await, // elsewhere: a server is large
            Err(error) => Err(error),
        };
        let Prepared {
            listeners,
            addrs,
            app,
            shared,
            registration,
        } = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(starting.abandon(error).await),
        };
        let registry = registration.as_ref().map(|part| part.registry().clone());
        let control = Arc::new(Control::new(Arc::clone(&shared), health.clone()));
        starting.lead_to(Arc::clone(&shared), Arc::clone(&control));
        starting.watch();
        if let Some(admin) = admin {
            let admin = match admin::start(&admin, &health, registry.as_ref(), &clock, taken) {
                Ok(admin) => admin,
                Err(error) => return Err(starting.abandon(error).await),
            };
            let control = Arc::clone(&control);
            admin.on_drain(move |reason| control.start_because(reason));
            starting.administer(admin);
        }
        let admin = starting.drain().admin.as_ref();
        let admin_addrs = (
            admin.map(AdminThread::addr),
            admin.and_then(AdminThread::probes_addr),
        );
        if let Some(registry) = &registry {
            let (health, shared) = (health.clone(), Arc::downgrade(&shared));
            registry.register_collector(move |out: &mut Samples<'_>| {
                if let Some(shared) = shared.upgrade() {
                    let phase = "Phase of the service: 0 running, 1 draining, 2 closing, 3 cut, 4 stopping, 5 flushing";
                    out.gauge("cortex_lifecycle_phase", phase, &[], shared.phase.as_f64());
                    collect_states(&health, out);
                }
            });
        }
        starting.reload(parts.reloads);
        if let Err(error) = starting.run(parts.subsystems).await {
            return Err(starting.abandon(error).await);
        }
        let runtime = tokio::runtime::Handle::current();
        // From here on the probes tell more than that it starts.
        let checks = match &registry {
            None => health.start(&runtime).map_err(in_use),
            Some(registry) => HealthMetrics::new(registry)
                .map_err(|error| taken(&error))
                .and_then(|metrics| health.start_observed(&runtime, metrics).map_err(in_use)),
        };
        match checks {
            Ok(checks) => starting.drain().checks = Some(checks),
            Err(error) => return Err(starting.abandon(error).await),
        }
        if !starting.is_ending() {
            starting.accept(accept_all(listeners, app, shared));
            for addr in &addrs {
                tracing::info!(service = name, %addr, "serving");
            }
        }
        if let Some(registration) = registration {
            registration.keep();
        }
        let ended = starting.finish();
        Ok(Running::new(addrs, admin_addrs, control, watch, ended))
    }

    /// Opens the port, and puts together what serves there.
    async fn prepare(mut self, listener: Listener, parts: &mut Parts) -> Result<Prepared, Error> {
        let mut listeners = vec![listener];
        listeners.append(&mut self.listeners);
        let listeners = Listeners::bind(listeners).await?;
        let addrs = listeners
            .addrs()
            .map_err(|error| Error::system("read where sockets listen", error))?;
        listeners.reloads().register(parts);
        if self.health.as_ref().is_some_and(Health::is_taken) {
            return Err(in_use(io::ErrorKind::AlreadyExists.into())); // before anything is registered for it
        }
        let registration = self.registry.as_ref().map(Registration::new);
        self.registry = registration.as_ref().map(|part| part.registry().clone());
        let (app, shared) = self.into_parts(listeners.reloads())?;
        Ok(Prepared {
            listeners,
            addrs,
            app,
            shared,
            registration,
        })
    }

    /// Makes the service without a socket: for tests, and for a server of your own. Requests whose handlers wait need a
    /// tokio runtime with its timer, unless they have no [deadline](Self::deadlines).
    ///
    /// # Errors
    ///
    /// A limit makes no sense, or a metric of the service is registered already.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use axum::{body::Body, routing::get};
    /// use cortex_http::{Routes, Server};
    /// use tower::ServiceExt;
    ///
    /// async fn buggy() -> &'static str {
    ///     panic!("a bug")
    /// }
    /// let service = Server::new(Routes::new().route("/", get(buggy))).service().unwrap();
    /// let response = service.oneshot(http::Request::new(Body::empty())).await.unwrap();
    /// assert_eq!(response.status(), 500);
    /// # });
    /// ```
    pub fn service(mut self) -> Result<Observed, Error> {
        let registration = self.registry.as_ref().map(Registration::new);
        self.registry = registration.as_ref().map(|part| part.registry().clone());
        let (app, shared) = self.into_parts(Reloads::default())?;
        if let Some(registration) = registration {
            registration.keep();
        }
        Ok(Observed::new(app, Arc::new(Conn::new(shared, None))))
    }

    fn into_parts(self, reloads: Reloads) -> Result<(Router, Arc<Shared>), Error> {
        let limits = self.limits.checked()?;
        let (router, table) = self.routes.into_parts();
        let mut shared = Shared::new(table, limits, self.tracer, self.access, self.clock);
        shared.compressor = self.compression.compressor();
        if let Some(registry) = &self.registry
            && !shared.compressor.is_observed()
        {
            let metrics = MetricsObserver::new(registry).map_err(|error| observed_elsewhere(&error))?;
            metrics.watch(&shared.compressor.memory_budget());
            shared.compressor = self.compression.observe(metrics).compressor();
        }
        shared.addresses = self.addresses;
        shared.request_ids = self.request_ids;
        shared.reloads = reloads;
        shared.guards = self.guards.checked()?;
        shared.closing = self.closing;
        shared.linger = self.lifecycle.linger;
        shared.end_event_streams = self.lifecycle.end_event_streams;
        if let Some(registry) = &self.registry {
            let metrics = HttpMetrics::register(registry, self.body_sizes.as_ref());
            shared.metrics = Some(metrics.map_err(|error| taken(&error))?);
        }
        let shared = Arc::new(shared);
        if let Some(registry) = &self.registry {
            let shared = Arc::downgrade(&shared);
            registry.register_collector(move |out: &mut Samples<'_>| {
                if let Some(shared) = shared.upgrade() {
                    collect_spans(&shared.tracer, out);
                    shared.guards.collect(out);
                }
            });
        }
        Ok((router, shared))
    }
}

/// A service that could serve at once.
struct Prepared {
    listeners: Listeners,
    addrs: Vec<ListenAddr>,
    app: Router,
    shared: Arc<Shared>,
    registration: Option<Registration>,
}

fn in_use(error: io::Error) -> Error {
    Error::system(
        "start the health checks: is this Health in use by another server?",
        error,
    )
}

fn taken(error: &RegisterError) -> Error {
    let message = format!("{error}; give each server a sub-registry of its own");
    Error::new(ErrorKind::Metrics, message, None)
}

fn observed_elsewhere(error: &RegisterError) -> Error {
    let message = format!(
        "{error}; if there is a MetricsObserver in this registry, give a clone of it to the CompressionLayer of \
         Server::compression; if there is another server, give each a sub-registry of its own"
    );
    Error::new(ErrorKind::Metrics, message, None)
}

impl Shared {
    /// What a service has that serves nothing.
    fn idle(tracer: Tracer, clock: Arc<dyn Clock>) -> Self {
        let (_, table) = Routes::new().into_parts();
        Self::new(table, Limits::new(), tracer, AccessLog::off(), clock)
    }

    pub(crate) fn new(
        table: RouteTable,
        limits: Limits,
        tracer: Tracer,
        access: AccessLog,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            clock,
            limits,
            table,
            metrics: None,
            tracer,
            addresses: Addresses::default(),
            access,
            compressor: CompressionLayer::new().compressor(),
            request_ids: RequestIds::off(),
            phase: PhaseCell::new(),
            no_more: CancellationToken::new(),
            closing: Closing::new(),
            kill: CancellationToken::new(),
            linger: Duration::ZERO,
            end_event_streams: true,
            tasks: TaskTracker::new(),
            tally: Tally::default(),
            guards: Guards::default(),
            peers: Peers::default(),
            seed: RandomState::new(),
            reloads: Reloads::default(),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("routes", &self.routes)
            .field("admin", &self.admin)
            .field("limits", &self.limits)
            .field("lifecycle", &self.lifecycle)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}
