//! A service with its limits and its end from flags, for programs that load it, abuse it and end it. It prints where it
//! listens as JSON, and at its end the report. `cargo run -p cortex-http --example service -- --header 2000`, times in
//! milliseconds; `Settings::set` has the rest.
#![expect(clippy::print_stdout, reason = "it tells where to ask, and how it ended")]

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, post};
use cortex_health::Health;
use cortex_http::{Admin, Lifecycle, Limits, Routes, Server};
use cortex_metrics::Registry;

struct Settings {
    limits: Limits,
    lifecycle: Lifecycle,
    /// The bytes that `/large` answers.
    large: usize,
}

impl Settings {
    fn set(&mut self, flag: &str, n: u32) -> Result<(), Fault> {
        let (limits, lifecycle) = (self.limits, self.lifecycle);
        let count = usize::try_from(n)?;
        match flag {
            "--first-byte" => self.limits = limits.first_byte(ms(n)),
            "--header" => self.limits = limits.header(ms(n)),
            "--body" => self.limits = limits.body(ms(n)),
            "--idle" => self.limits = limits.idle(ms(n)),
            "--write-stall" => self.limits = limits.write_stall(ms(n)),
            "--connections" => self.limits = limits.connections(count),
            "--drain-delay" => self.lifecycle = lifecycle.drain_delay(ms(n)),
            "--drain-timeout" => self.lifecycle = lifecycle.drain_timeout(ms(n)),
            "--large" => self.large = count,
            _ => return Err(format!("there is no {flag}").into()),
        }
        Ok(())
    }
}

const fn ms(n: u32) -> Duration {
    Duration::from_millis(n as u64)
}

type Fault = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, Fault> {
    let Settings {
        limits,
        lifecycle,
        large,
    } = read(std::env::args().skip(1))?;
    let large = Bytes::from(vec![b'.'; large]);
    let routes = Routes::new()
        .route("/", get(async || "Hello, World!"))
        .route("/users/{id}", get(async |Path(id): Path<String>| id))
        .route("/echo", post(async |body: Bytes| body))
        .route("/large", get(async move || large.clone()))
        .route("/wait/{millis}", get(wait))
        .route("/panic", get(panics));
    let any = "127.0.0.1:0";
    let running = Server::new(routes)
        .metrics(&Registry::default())
        .health(Health::builder().build()?)
        .admin(Admin::bind(any))
        .limits(limits)
        .lifecycle(lifecycle)
        .start(any)
        .await?;
    let admin = running.admin_addr().ok_or("there is no admin port")?;
    let app = running.local_addr();
    let ended = running.serve_until_signal(); // the handlers are there before anybody knows whom to signal
    println!(r#"{{"app":"{app}","admin":"{admin}"}}"#);
    std::io::stdout().flush()?; // a pipe is not flushed by the end of a line
    let report = ended.await?;
    println!("{report}");
    Ok(report.exit_code())
}

fn read(mut args: impl Iterator<Item = String>) -> Result<Settings, Fault> {
    let mut settings = Settings {
        limits: Limits::new(),
        lifecycle: Lifecycle::local(),
        large: 1 << 20,
    };
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} takes a number"))?;
        let number = value
            .parse()
            .map_err(|_| format!("{flag} takes a number, not {value}"))?;
        settings.set(&flag, number)?;
    }
    Ok(settings)
}

async fn wait(Path(millis): Path<u32>) -> &'static str {
    tokio::time::sleep(ms(millis)).await;
    "waited"
}

async fn panics() -> &'static str {
    panic!("it was asked to")
}
