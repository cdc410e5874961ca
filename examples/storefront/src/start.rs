use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cortex::health::{Check, Health};
use cortex::http::{AccessLog, Admin, Running, Server};
use cortex::metrics::Registry;
use cortex::trace::{JsonLogs, OtlpJsonFile, ParentBased, Probability, Tracer};
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

/// Starts both services, serves or loads, and ends them in reverse order.
pub(crate) async fn run(config: Config) -> Result<ExitCode, Box<dyn Error>> {
    let _filter = JsonLogs::new(std::io::stderr)
        .install(&config.log)
        .map_err(|error| format!("--log: {error}"))?;
    let tracer = tracer(&config)?;
    let registry = Registry::default();

    let payments = Payments {
        failures: config.payment_failures,
        latency: config.payment_latency,
    };
    let payments = Server::new(payments.routes())
        .name("payments")
        .tracer(tracer.clone())
        .start(config.payments)
        .await?;
    let upstream = payments.local_addr();

    let reachable = Check::from_fn("payments", move || async move {
        tokio::net::TcpStream::connect(upstream).await.map(drop)
    });
    let health = Health::builder()
        .service("storefront", env!("CARGO_PKG_VERSION"))
        .check(
            reachable
                .degrades()
                .timeout(Duration::from_secs(1))
                .every(Duration::from_secs(5)),
        )
        .build()?;
    let shop = Shop {
        catalogue: Arc::new(Catalogue::new()),
        checkout: Checkout::new(upstream, tracer.clone(), &registry)?,
    };
    let shop = Server::new(shop.routes())
        .name("shop")
        .metrics(&registry)
        .tracer(tracer)
        .health(health)
        .admin(Admin::bind(config.admin))
        .access_log(AccessLog::new())
        .start(config.addr)
        .await?;
    let addr = shop.local_addr();
    let admin = shop.admin_addr().expect("invariant: it was asked for");
    if let Some(file) = &config.announce {
        announce(file, addr, admin, upstream)
            .map_err(|error| format!("--announce {}: {error}", file.display()))?;
    }
    welcome(addr, admin, upstream);

    let code = match config.load {
        None => serve(shop).await?,
        Some(total) => {
            println!("sending {total} requests");
            let summary = load::run(addr, total).await;
            println!("{summary}");
            shop.shutdown();
            println!("shop: {}", shop.join().await);
            if summary.is_clean() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
    };
    payments.shutdown();
    println!("payments: {}", payments.join().await);
    Ok(code)
}

async fn serve(shop: Running) -> Result<ExitCode, cortex::http::Error> {
    let report = shop.serve_until_signal().await?;
    println!("shop: {report}");
    Ok(report.exit_code())
}

fn tracer(config: &Config) -> Result<Tracer, Box<dyn Error>> {
    let Some(path) = &config.trace_file else {
        return Ok(Tracer::propagate_only());
    };
    let file = OtlpJsonFile::rotating(path, TRACE_FILE_BYTES, TRACE_FILES)
        .map_err(|error| format!("--trace-file {}: {error}", path.display()))?;
    let sampler = ParentBased::root(Probability::new(config.sample)?);
    Ok(Tracer::builder("storefront")
        .sampler(sampler)
        .export(file)
        .build()?)
}

/// Writes the addresses for a script; renamed into place, so that a reader sees all of it or nothing.
fn announce(file: &Path, shop: SocketAddr, admin: SocketAddr, payments: SocketAddr) -> std::io::Result<()> {
    let unfinished = file.with_extension("unfinished");
    std::fs::write(
        &unfinished,
        json!({ "shop": shop, "admin": admin, "payments": payments }).to_string(),
    )?;
    std::fs::rename(unfinished, file)
}

fn welcome(shop: SocketAddr, admin: SocketAddr, payments: SocketAddr) {
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
