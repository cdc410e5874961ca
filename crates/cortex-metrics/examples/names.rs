//! Serves metrics whose names have dots, on a port that is free, and prints where:
//! `cargo run -p cortex-metrics --features tower --example names`.
#![expect(clippy::print_stdout, reason = "it tells where to ask")]

use std::error::Error;
use std::io::Write;

use cortex_metrics::{Buckets, Counter, DynamicFamily, Histogram, NameScheme, Registry, ScrapeService};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::with_names(NameScheme::Utf8);
    let shop = registry.sub_registry("", [("service.zone", "eu \"1\"")])?;
    let requests = DynamicFamily::new(["http.route"], Counter::default);
    shop.register("http.requests", "Requests \"answered\".", requests.clone())?;
    requests.with(["/products/{id}"], |count| count.add(3));
    let waited = Histogram::classic(&Buckets::http_seconds());
    shop.register_with_unit("wait.time", "Time waited.", "seconds", waited.clone())?;
    waited.observe(0.25);

    let service = ScrapeService::new(&registry);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?; // a pipe is not flushed by the end of a line
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
