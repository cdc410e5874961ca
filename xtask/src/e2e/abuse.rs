use std::io::Write;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::http::{self, Response};
use super::scenario::{Scenario, Setup};
use super::storefront::Storefront;
use super::wait::{PATIENCE, pause, until};
use crate::step::Stopwatch;

/// What a client may take from us before it is cut off: the documented 5 s, and some for a busy machine. An idle connection
/// has 75 s, and who would win time by each byte had no end.
const BOUND: Duration = Duration::from_secs(30);

pub(super) const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "http: a head that drips in is answered 408",
        programs: &[],
        test: slow_head,
    },
    Scenario {
        name: "http: a silent connection is closed",
        programs: &[],
        test: silence,
    },
    Scenario {
        name: "http: an oversized head is answered 431",
        programs: &[],
        test: |setup| refused(setup, &oversized(), 431),
    },
    Scenario {
        name: "http: a malformed head is answered 400",
        programs: &[],
        test: |setup| refused(setup, b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
    },
    Scenario {
        name: "http: two lengths are answered 400",
        programs: &[],
        test: |setup| {
            let twice =
                "POST /checkout HTTP/1.1\r\nhost: shop\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x";
            refused(setup, twice.as_bytes(), 400)
        },
    },
];

/// Sends a byte now and then, as slowloris does; everyone else is served meanwhile.
fn slow_head(setup: &Setup) -> Result<()> {
    let storefront = Storefront::start(setup)?;
    let watch = Stopwatch::start();
    let mut stream = http::connect(storefront.at.shop)?;
    stream.set_read_timeout(Some(BOUND))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nx-slow: ")?;
    let mut drip = stream.try_clone()?;
    // Ends by itself: a write to a closed connection fails.
    let dripping = std::thread::spawn(move || {
        while drip.write_all(b"x").is_ok() && watch.elapsed() < 2 * BOUND {
            pause(Duration::from_millis(100));
        }
    });
    let watch = Stopwatch::start();
    http::get(storefront.at.shop, "/")?.text()?;
    ensure!(watch.elapsed() < PATIENCE, "everyone else has to wait");
    let response = Response::parse(&http::to_end(&mut stream)?)?;
    ensure!(response.status == 408, "answered {}", response.status);
    ensure!(watch.elapsed() < BOUND, "it took {:?}", watch.elapsed());
    drop(stream);
    ensure!(dripping.join().is_ok(), "the writer panicked");
    counted(&storefront)
}

/// A connection without a byte holds nothing up for long; there is no request to answer.
fn silence(setup: &Setup) -> Result<()> {
    let storefront = Storefront::start(setup)?;
    let watch = Stopwatch::start();
    let mut stream = http::connect(storefront.at.shop)?;
    stream.set_read_timeout(Some(BOUND))?;
    let bytes = http::to_end(&mut stream)?;
    ensure!(bytes.is_empty(), "said {:?}", String::from_utf8_lossy(&bytes));
    ensure!(watch.elapsed() < BOUND, "it took {:?}", watch.elapsed());
    counted(&storefront)
}

fn oversized() -> Vec<u8> {
    let header = "x".repeat(60_000);
    format!("GET / HTTP/1.1\r\nhost: shop\r\nx-large: {header}\r\n\r\n").into_bytes()
}

/// Sends bytes that no handler should see, and expects this status before a limit could have come to it.
fn refused(setup: &Setup, bytes: &[u8], status: u16) -> Result<()> {
    let storefront = Storefront::start(setup)?;
    let watch = Stopwatch::start();
    let mut stream = http::connect(storefront.at.shop)?;
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    let response = Response::parse(&http::to_end(&mut stream)?)?;
    ensure!(response.status == status, "answered {}", response.status);
    ensure!(watch.elapsed() < PATIENCE, "it took {:?}", watch.elapsed());
    counted(&storefront)?;
    http::get(storefront.at.shop, "/")?.text()?;
    Ok(())
}

/// The admin port tells of the connection that failed.
fn counted(storefront: &Storefront) -> Result<()> {
    until(Duration::from_secs(20), "the error to be counted", || {
        let count = storefront.sample("http_server_connection_errors_total")?;
        Ok((count >= 1.0).then_some(()))
    })
}
