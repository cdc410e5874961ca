//! A service with its limits, listeners and end from flags, for programs that load it, abuse it and end it. It prints
//! where it listens as JSON, and at its end the report. `Settings::read` has the flags; times are in milliseconds.
//! `cargo run -p cortex-http --features tls --example service -- --header 2000`
#![expect(clippy::print_stdout, reason = "it tells where to ask, and how it ended")]

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, post};
use cortex_health::Health;
use cortex_http::{Admin, Lifecycle, Limits, Listener, Routes, Server, Subsystem, Tls, TrustedProxies};
use cortex_metrics::Registry;

type Fault = Box<dyn Error + Send + Sync>;

const ANY: &str = "127.0.0.1:0";

#[tokio::main]
async fn main() -> Result<ExitCode, Fault> {
    let settings = Settings::read(std::env::args().skip(1))?;
    let large = Bytes::from(vec![b'.'; settings.large]);
    let routes = Routes::new()
        .route("/", get(async || "Hello, World!"))
        .route("/users/{id}", get(async |Path(id): Path<String>| id))
        .route("/echo", post(async |body: Bytes| body))
        .route("/large", get(async move || large.clone()))
        .route("/wait/{millis}", get(wait))
        .route("/panic", get(panics));
    let server = Server::new(routes)
        .metrics(&Registry::default())
        .health(Health::builder().build()?)
        .admin(Admin::bind(ANY))
        .limits(settings.limits)
        .lifecycle(settings.lifecycle);
    let server = settings.listeners()?.into_iter().fold(server, Server::listen);
    let server = match settings.start_delay {
        None => server,
        Some(delay) => server.subsystem(Subsystem::new("slow").start(delay * 2, starts_slowly(delay))),
    };
    let running = server.start_with_signals(ANY).await?;
    let app = running.local_addr();
    let admin = running.admin_addr().ok_or("there is no admin port")?;
    let others: Vec<_> = running.addrs()[1..].iter().map(ToString::to_string).collect();
    println!(r#"{{"app":"{app}","admin":"{admin}","others":{others:?}}}"#);
    std::io::stdout().flush()?; // a pipe is not flushed by the end of a line
    let report = running.join().await;
    println!("{report}");
    Ok(report.exit_code())
}

/// Says so first: the signal handlers are there by then.
async fn starts_slowly(delay: Duration) -> std::io::Result<()> {
    println!("starting");
    std::io::stdout().flush()?;
    tokio::time::sleep(delay).await;
    Ok(())
}

async fn wait(Path(millis): Path<u32>) -> &'static str {
    tokio::time::sleep(ms(millis)).await;
    "waited"
}

async fn panics() -> &'static str {
    panic!("it was asked to")
}

const fn ms(n: u32) -> Duration {
    Duration::from_millis(n as u64)
}

struct Settings {
    limits: Limits,
    lifecycle: Lifecycle,
    /// The bytes that `/large` answers.
    large: usize,
    /// How long it takes to start.
    start_delay: Option<Duration>,
    unix: Option<String>,
    proxies: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Settings {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, Fault> {
        let mut settings = Self {
            limits: Limits::new(),
            lifecycle: Lifecycle::local(),
            large: 1 << 20,
            start_delay: None,
            unix: None,
            proxies: None,
            certificate: None,
            key: None,
        };
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} takes a value"))?;
            match &*flag {
                "--unix" => settings.unix = Some(value),
                "--proxies" => settings.proxies = Some(value),
                "--certificate" => settings.certificate = Some(value),
                "--key" => settings.key = Some(value),
                _ => {
                    let number = value.parse();
                    let number = number.map_err(|_| format!("{flag} takes a number, not {value}"))?;
                    settings.set(&flag, number)?;
                }
            }
        }
        Ok(settings)
    }

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
            "--start-delay" => self.start_delay = Some(ms(n)),
            "--large" => self.large = count,
            _ => return Err(format!("there is no {flag}").into()),
        }
        Ok(())
    }

    /// In the order in which they are told: a Unix socket, a port for proxies, one with TLS.
    fn listeners(&self) -> Result<Vec<Listener>, Fault> {
        let mut listeners = Vec::new();
        if let Some(path) = &self.unix {
            listeners.push(Listener::unix(path));
        }
        if let Some(network) = &self.proxies {
            listeners.push(Listener::tcp(ANY).proxy_protocol(TrustedProxies::new([network])?));
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            let tls = Tls::pem_files(certificate, key)?.check_every(ms(100));
            listeners.push(Listener::tcp(ANY).tls(tls));
        }
        Ok(listeners)
    }
}
