//! A service whose health is set from outside, to see what probes say of it: over HTTP on the admin port, over gRPC there
//! and on its own. It prints both addresses. `cargo run -p cortex-http --features grpc --example probes`, then
//! `curl -X POST http://ADDRESS/state/up`.
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
use cortex_health::{Check, Group, GrpcHealth, Health, Outcome};
use cortex_http::{Admin, Lifecycle, Routes, Server};
use cortex_metrics::Registry;

const WORKERS: usize = 2;

const STATES: [&str; 3] = ["up", "degraded", "down"];

/// Down, as a database is that is still starting.
static DATABASE: AtomicU8 = AtomicU8::new(2);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?;
    runtime.block_on(serve(&runtime))
}

async fn serve(runtime: &tokio::runtime::Runtime) -> Result<ExitCode, Box<dyn Error>> {
    let often = Duration::from_millis(100);
    let database = Check::from_fn("database", async || match DATABASE.load(Ordering::Relaxed) {
        0 => Outcome::up(),
        1 => Outcome::degraded("slow"),
        _ => Outcome::down("refused"),
    });
    let lag = RuntimeLag::new(runtime.handle());
    let health = Health::builder()
        .service("probes", env!("CARGO_PKG_VERSION"))
        .check(
            database
                .groups([Group::STARTUP, Group::READY])
                .every(often)
                .timeout(Duration::from_millis(500)),
        )
        .check(checks::runtime_lag("runtime", lag).groups([Group::READY, Group::LIVE]))
        .build()?;

    let routes = Routes::new()
        .route("/state/{state}", set_state(&health))
        .route("/block/{millis}", post(block));
    let grpc = GrpcHealth::new(&health);
    let path = format!("/{}/{{method}}", GrpcHealth::NAME);
    let routes = routes.map(|router: Router| router.route_service(&path, grpc));
    let any = "127.0.0.1:0";
    let running = Server::new(routes)
        .metrics(&Registry::default())
        .health(health)
        .admin(Admin::bind(any).grpc())
        .lifecycle(Lifecycle::local().drain_delay(Duration::from_secs(3)))
        .start(any)
        .await?;
    let admin = running.admin_addr().ok_or("there is no admin port")?;
    let app = running.local_addr();
    let ended = running.serve_until_signal(); // the handlers are there before anybody knows whom to signal
    println!("{app} {admin}");
    std::io::stdout().flush()?; // a pipe is not flushed by the end of a line
    Ok(ended.await?.exit_code())
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
