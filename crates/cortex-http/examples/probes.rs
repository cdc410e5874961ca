//! A service whose health is set from outside, to see what probes say of it: over HTTP and gRPC, on the admin port and,
//! without any detail, on its own. It prints both addresses.
//! `cargo run -p cortex-http --features grpc --example probes`, then `curl -X POST http://ADDRESS/state/up`.
#![expect(clippy::print_stdout, reason = "it tells where to ask")]

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::post;
use cortex_health::checks::{self, RuntimeLag};
use cortex_health::{Access, Check, Detail, Group, GrpcHealth, Health, Outcome, Status};
use cortex_http::{Admin, Lifecycle, Routes, Server};
use cortex_metrics::Registry;

const WORKERS: usize = 2;

const STATES: [&str; 3] = ["up", "degraded", "down"];

/// Opens the full detail on the admin port. It is no secret: everybody may read this file.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Down, as a database is that is still starting.
static DATABASE: AtomicU8 = AtomicU8::new(2);

type Fault = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?;
    // On a worker, not on this thread: so that it is blocked with the others.
    let served = runtime.spawn(serve(runtime.handle().clone()));
    runtime.block_on(served)?
}

async fn serve(runtime: tokio::runtime::Handle) -> Result<ExitCode, Fault> {
    let often = Duration::from_millis(100);
    let database = Check::from_fn("database", async || match DATABASE.load(Ordering::Relaxed) {
        0 => Outcome::up().observed(0.2, "seconds behind").detail("replica", 2),
        1 => Outcome::degraded("slow"),
        _ => Outcome::down("refused"),
    });
    let lag = RuntimeLag::new(&runtime);
    let strict = Group::new("strict")?; // refuses also what is only degraded
    let health = Health::builder()
        .service("probes", env!("CARGO_PKG_VERSION"))
        .check(
            database
                .groups([Group::STARTUP, Group::READY])
                .every(often)
                .timeout(Duration::from_millis(500)),
        )
        .check(checks::runtime_lag("runtime", lag).groups([Group::READY, Group::LIVE]))
        .group(strict.clone(), ["database"])
        .map_status(strict, Status::Degraded, StatusCode::SERVICE_UNAVAILABLE)
        .build()?;

    let routes = Routes::new()
        .route("/state/{state}", set_state(&health))
        .route("/block/{millis}", post(block));
    let grpc = GrpcHealth::new(&health);
    let path = format!("/{}/{{method}}", GrpcHealth::NAME);
    let public = cortex_health::router(&health, Detail::None);
    let routes = routes.map(|router: Router| router.route_service(&path, grpc).merge(public));
    let any = "127.0.0.1:0";
    let access = Access::new(Detail::Status).bearer(TOKEN)?;
    let running = Server::new(routes)
        .metrics(&Registry::default())
        .health(health)
        .admin(Admin::bind(any).grpc().detail(access))
        .lifecycle(Lifecycle::local().drain_delay(Duration::from_secs(3)))
        .start_with_signals(any)
        .await?;
    let admin = running.admin_addr().ok_or("there is no admin port")?;
    let app = running.local_addr();
    println!("{app} {admin}");
    std::io::stdout().flush()?; // a pipe is not flushed by the end of a line
    Ok(running.join().await.exit_code())
}

/// `up`, `degraded` and `down` are about the database, `draining` about the service; `up` calls a drain off.
fn set_state(health: &Health) -> axum::routing::MethodRouter {
    let health = health.clone();
    post(async move |Path(state): Path<String>| {
        if let Some(index) = STATES.iter().position(|name| *name == state) {
            DATABASE.store(u8::try_from(index).unwrap_or(u8::MAX), Ordering::Relaxed);
            health.set_draining(false);
        } else if state == "draining" {
            health.set_draining(true);
        } else {
            return StatusCode::NOT_FOUND;
        }
        StatusCode::NO_CONTENT
    })
}

/// Blocks every worker, as a bug does.
async fn block(Path(millis): Path<u64>) {
    let together = Arc::new(Barrier::new(WORKERS));
    for _ in 0..WORKERS {
        let together = Arc::clone(&together);
        tokio::spawn(async move {
            together.wait(); // each has a worker
            let (_sender, never) = mpsc::channel::<()>();
            let _ = never.recv_timeout(Duration::from_millis(millis));
        });
    }
}
