use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::http::{self, Response};
use super::scenario::{Scenario, Setup};
use super::storefront::Storefront;
use super::wait::{pause, until};

pub(super) const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "http: SIGTERM under load drains",
        programs: &[],
        test: drains,
    },
    Scenario {
        name: "http: probes agree with the service",
        programs: &[],
        test: probes,
    },
];

/// While clients keep asking, SIGTERM comes: readiness turns to 503, what is under way is answered, the code is 0.
fn drains(setup: &Setup) -> Result<()> {
    let storefront = Storefront::start(setup)?;
    let at = storefront.at;
    let order = json!({ "product": storefront.product()?, "quantity": 1 }).to_string();
    let ending = AtomicBool::new(false);
    let done = AtomicBool::new(false);
    let ended = thread::scope(|scope| -> Result<_> {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| client(at.shop, &ending, &done)))
            .collect();
        let ended = signalled(storefront, &order, &ending);
        done.store(true, Ordering::Relaxed);
        for client in clients {
            let answers = client
                .join()
                .ok()
                .context("a client panicked")?
                .context("a client under load")?;
            ensure!(answers > 0, "a client got no answer before the signal");
        }
        ended
    })?;
    ensure!(
        ended.status.code() == Some(0),
        "ended with {}: {}{}",
        ended.status,
        ended.stdout,
        ended.stderr
    );
    ensure!(
        http::get(at.shop, "/").is_err() && http::get(at.admin, "/livez").is_err(),
        "a port is open after the end"
    );
    Ok(())
}

/// Holds a request open over the signal, so that there is a drain to look at.
fn signalled(storefront: Storefront, order: &str, ending: &AtomicBool) -> Result<super::child::Ended> {
    let at = storefront.at;
    let half = order.len() / 2;
    let mut held = http::connect(at.shop)?;
    held.write_all(&http::message(
        "POST /checkout\ncontent-type: application/json",
        order.len(),
    ))?;
    held.write_all(&order.as_bytes()[..half])?;
    let second = Duration::from_secs(1);
    until(20 * second, "the load and the held request", || {
        let requests = storefront.sample("http_server_request_duration_seconds_count")?;
        let active = storefront.sample("http_server_active_requests")?;
        Ok((requests >= 100.0 && active >= 1.0).then_some(()))
    })
    .with_context(|| storefront.said())?;
    ensure!(
        http::get(at.admin, "/readyz")?.status == 200,
        "not ready before the signal"
    );

    ending.store(true, Ordering::Relaxed);
    storefront.terminate()?;
    until(20 * second, "readiness to fail", || {
        Ok((http::get(at.admin, "/readyz")?.status == 503).then_some(()))
    })?;
    ensure!(
        http::get(at.admin, "/livez")?.status == 200,
        "a service that drains is alive, or it would be killed"
    );

    // A client that takes its time is waited for.
    pause(Duration::from_millis(500));
    ensure!(
        http::get(at.admin, "/readyz")
            .context("while a request is under way")?
            .status
            == 503,
        "ready again while it drains"
    );
    held.write_all(&order.as_bytes()[half..])?;
    let answer = Response::parse(&http::to_end(&mut held)?).context("the held request")?;
    ensure!(
        (200..300).contains(&answer.status),
        "the held request was answered {}",
        answer.status
    );
    storefront.end(20 * second)
}

/// Asks again and again and counts the answers until the signal. Not one request may be lost; after the signal,
/// connections may be refused.
fn client(shop: SocketAddr, ending: &AtomicBool, done: &AtomicBool) -> Result<usize> {
    let mut answers = 0;
    while !done.load(Ordering::Relaxed) {
        match ask(shop) {
            Ok(true) => answers += usize::from(!ending.load(Ordering::Relaxed)),
            Ok(false) if ending.load(Ordering::Relaxed) => return Ok(answers),
            Ok(false) => bail!("refused before the signal"),
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

/// Returns whether there was an answer, or the connection was refused. Who got a connection gets an answer: one that is
/// closed, with or without a part of it, is an error.
///
/// But the kernel makes connections by itself, and resets those that it made in the moment in which the socket was
/// closed, of which the service never heard. That is as if they had been refused: nothing of an answer came, and the next one
/// is refused, as the kernel first takes no more and then resets.
fn ask(shop: SocketAddr) -> Result<bool> {
    let mut stream = match http::connect(shop) {
        Ok(stream) => stream,
        Err(error) if is_refused(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let sent = stream.write_all(&http::message("GET /catalogue/full", 0));
    let bytes = match sent.map_err(Into::into).and_then(|()| http::to_end(&mut stream)) {
        Err(error) if is_reset(&error) && http::connect(shop).is_err_and(|error| is_refused(&error)) => {
            return Ok(false);
        }
        bytes => bytes?,
    };
    let response = Response::parse(&bytes)?;
    ensure!(response.status == 200, "answered {}", response.status);
    Ok(true)
}

fn is_refused(error: &anyhow::Error) -> bool {
    kind(error) == Some(ErrorKind::ConnectionRefused)
}

/// Says whether the other end has reset a connection of which nothing was read.
fn is_reset(error: &anyhow::Error) -> bool {
    matches!(
        kind(error),
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
    )
}

fn kind(error: &anyhow::Error) -> Option<ErrorKind> {
    error.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
}

/// A service that runs is started, alive, ready and healthy.
fn probes(setup: &Setup) -> Result<()> {
    let storefront = Storefront::start(setup)?;
    for path in ["/startupz", "/livez", "/readyz", "/health"] {
        // Checks run in the background: the first results need a moment.
        until(Duration::from_secs(10), path, || {
            Ok((http::get(storefront.at.admin, path)?.status == 200).then_some(()))
        })
        .with_context(|| storefront.said())?;
    }
    let shop = http::get(storefront.at.shop, "/metrics")?;
    ensure!(
        shop.status == 404,
        "the shop's port shows the metrics to everyone"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What the kernel does to connections that nobody has taken when their socket is closed.
    #[cfg(target_os = "linux")]
    #[test]
    fn one_that_was_made_as_the_port_closed_counts_as_refused() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let asked = thread::spawn(move || ask(addr));
        until(Duration::from_secs(20), "the connection", || {
            let table = std::fs::read_to_string("/proc/net/tcp")?;
            let local = format!(":{:04X} ", addr.port());
            // The socket that listens, and both ends of the connection.
            Ok((table.matches(&local).count() > 2).then_some(()))
        })
        .unwrap();
        drop(socket);
        assert!(!asked.join().unwrap().unwrap());
    }

    #[test]
    fn one_that_is_reset_while_the_port_is_open_is_lost() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let asked = thread::spawn(move || ask(addr));
        let (taken, _) = socket.accept().unwrap();
        taken.peek(&mut [0]).unwrap();
        drop(taken); // with bytes that nobody has read
        assert!(is_reset(&asked.join().unwrap().unwrap_err()));
        drop(socket);
    }
}
