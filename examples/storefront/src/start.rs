use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cortex::compress::CompressionLayer;
use cortex::health::checks::{self, FileDescriptors};
use cortex::health::{Group, Health};
use cortex::http::{AccessLog, Admin, Server, Subsystem};
use cortex::metrics::{ProcessCollector, Registry, RuntimeCollector, build_info};
use cortex::trace::{JsonLogs, Otlp, OtlpJsonFile, ParentBased, Probability, Tracer};
use cortex::workers::{self, Closures, Drain, Pool};
use serde_json::json;

use crate::catalogue::Catalogue;
use crate::checkout::Checkout;
use crate::config::Config;
use crate::load;
use crate::payments::Payments;
use crate::shop::Shop;

/// A trace file grows to this size, then the next begins; the last five are kept.
const TRACE_FILE_BYTES: u64 = 16 << 20;
const TRACE_FILES: usize = 5;
/// How long the last spans may take to be written.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Bodies that may wait to be encoded; those that find no place are encoded in pieces where they are.
const BODIES: usize = 64;
/// How long the last of them may take.
const LAST_BODIES: Duration = Duration::from_millis(500);

/// Starts both services, serves or loads, and ends them in reverse order.
pub(crate) async fn run(config: Config) -> Result<ExitCode, Box<dyn Error>> {
    let _filter = JsonLogs::new(std::io::stderr)
        .install(&config.log)
        .map_err(|error| format!("--log: {error}"))?;
    let tracer = tracer(&config)?;
    let registry = Registry::default();
    registry.register("storefront_build", "What runs here", build_info!())?;
    registry.register_collector(ProcessCollector::new());
    registry.register_collector(RuntimeCollector::new("main", &tokio::runtime::Handle::current()));

    let encoders = encoders(&registry).await?;

    let payments = Payments {
        failures: config.payment_failures,
        latency: config.payment_latency,
    };
    let payments = Server::new(payments.routes())
        .name("payments")
        .tracer(tracer.clone())
        .start(config.payments)
        .await?;
    let upstream = config.pay_at.unwrap_or_else(|| payments.local_addr());

    let reachable = checks::tcp("payments", upstream.to_string())
        .degrades()
        .timeout(Duration::from_secs(1))
        .every(Duration::from_secs(5));
    let stuck = checks::runtime_lag("runtime", &tokio::runtime::Handle::current());
    let health = Health::builder()
        .service("storefront", env!("CARGO_PKG_VERSION"))
        .check(reachable)
        .check(stuck.groups([Group::READY, Group::LIVE]))
        .check(checks::file_descriptors("file-descriptors", FileDescriptors::new()).degrades())
        .check(workers::health::check("encoders", &encoders))
        .build()?;
    let shop = Shop {
        catalogue: Arc::new(Catalogue::new()),
        checkout: Checkout::new(upstream, tracer.clone(), &registry)?,
    };
    let encode = encoders.clone();
    let shop = Server::new(shop.routes())
        .name("shop")
        .compression(CompressionLayer::new().offload(move |body| encode.submit(body)))
        .subsystem(end(encoders))
        .metrics(&registry)
        .tracer(tracer.clone())
        .health(health)
        .admin(Admin::bind(config.admin))
        .access_log(AccessLog::new())
        .start(config.addr)
        .await?;
    let addr = shop.local_addr();
    let admin = shop.admin_addr().expect("invariant: it was asked for");
    let announced = |addresses| match &config.announce {
        None => Ok(()),
        Some(file) => {
            announce(file, addresses).map_err(|error| format!("--announce {}: {error}", file.display()))
        }
    };
    let addresses = Addresses {
        shop: addr,
        admin,
        payments: payments.local_addr(),
    };

    let code = match config.load {
        None => {
            let serving = shop.serve_until_signal(); // before anybody knows that it runs
            announced(addresses)?;
            addresses.welcome();
            let report = serving.await?;
            println!("shop: {report}");
            report.exit_code()
        }
        Some(total) => {
            announced(addresses)?;
            addresses.welcome();
            println!("sending {total} requests");
            let code = tokio::select! {
                summary = load::run(addr, total) => {
                    println!("{summary}");
                    if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
                }
                _ = tokio::signal::ctrl_c() => {
                    println!("\ninterrupted");
                    ExitCode::from(130)
                }
            };
            shop.shutdown();
            println!("shop: {}", shop.join().await);
            code
        }
    };
    payments.shutdown();
    println!("payments: {}", payments.join().await);
    if tracer.shutdown(LAST_SPANS).await.is_err() {
        println!("some spans could not be written");
    }
    Ok(code)
}

/// Starts a thread for what is long to encode, so that it does not hold up those that answer.
async fn encoders(registry: &Registry) -> Result<Pool<Closures>, Box<dyn Error>> {
    let pool = Pool::<Closures>::builder("encode").threads(1).queue(BODIES);
    let pool = pool.build().await?;
    workers::metrics::Metrics::register(registry).watch(&pool);
    Ok(pool)
}

/// Ends them once no request is under way any more.
fn end(encoders: Pool<Closures>) -> Subsystem {
    Subsystem::new("encoders").stop(2 * LAST_BODIES, async move {
        let _ = encoders.shutdown(Drain::within(LAST_BODIES)).await;
    })
}

/// Records if there is somewhere to put spans: a file, or a collector that the environment names.
fn tracer(config: &Config) -> Result<Tracer, Box<dyn Error>> {
    let collector = std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some();
    if config.trace_file.is_none() && !collector {
        return Ok(Tracer::propagate_only());
    }
    let sampler = ParentBased::root(Probability::new(config.sample)?);
    let mut tracer = Tracer::builder("storefront").sampler(sampler).from_env()?;
    if let Some(path) = &config.trace_file {
        let file = OtlpJsonFile::rotating(path, TRACE_FILE_BYTES, TRACE_FILES)
            .map_err(|error| format!("--trace-file {}: {error}", path.display()))?;
        tracer = tracer.export(file);
    }
    if collector {
        tracer = tracer.export(Otlp::from_env()?);
    }
    Ok(tracer.build()?)
}

/// Where everything listens.
#[derive(Clone, Copy)]
struct Addresses {
    shop: SocketAddr,
    admin: SocketAddr,
    payments: SocketAddr,
}

/// Writes the addresses for a script; renamed into place, so that a reader sees all of it or nothing.
fn announce(
    file: &Path,
    Addresses {
        shop,
        admin,
        payments,
    }: Addresses,
) -> std::io::Result<()> {
    let unfinished = file.with_extension("unfinished");
    std::fs::write(
        &unfinished,
        json!({ "shop": shop, "admin": admin, "payments": payments }).to_string(),
    )?;
    std::fs::rename(unfinished, file)
}

impl Addresses {
    fn welcome(self) {
        let Self {
            shop,
            admin,
            payments,
        } = self;
        println!(
            "storefront is running\n  \
             shop      http://{shop}/\n  \
             payments  http://{payments}/\n  \
             admin     http://{admin}/  (/metrics /livez /readyz /startupz /health)\n\n\
             try\n  \
             curl --compressed http://{shop}/catalogue\n  \
             curl -d '{{\"product\": 7, \"quantity\": 1}}' http://{shop}/checkout\n  \
             curl http://{admin}/metrics\n\n\
             Ctrl-C drains and ends\n"
        );
    }
}
