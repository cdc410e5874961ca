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
    let (ended, answered) = thread::scope(|scope| -> Result<_> {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| client(at.shop, &ending, &done)))
            .collect();
        let ended = signalled(storefront, &order, &ending);
        done.store(true, Ordering::Relaxed);
        let mut answered = Answered::default();
        for client in clients {
            let one = client
                .join()
                .ok()
                .context("a client panicked")?
                .context("a client under load")?;
            ensure!(one.before > 0, "a client got no answer before the signal");
            answered.add(&one);
        }
        Ok((ended?, answered))
    })?;
    ensure!(
        ended.status.code() == Some(0),
        "ended with {}: {}{}",
        ended.status,
        ended.stdout,
        ended.stderr
    );
    answered.agrees(&ended.stdout)?;
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

/// What the clients under load got, each on a connection of its own.
#[derive(Debug, Default)]
struct Answered {
    /// Before the signal.
    before: usize,
    all: usize,
    /// Connections that were reset as the port closed.
    resets: usize,
}

impl Answered {
    fn add(&mut self, one: &Self) {
        self.before += one.before;
        self.all += one.all;
        self.resets += one.resets;
    }

    /// Checks that the service tells of no connection that got no answer: what was reset is none that it had taken.
    fn agrees(&self, report: &str) -> Result<()> {
        let all = self.all + 2; // who asked for a product, and the held one
        let says = format!("(SIGTERM): {all} requests on {all} connections served, 0 cut\n");
        ensure!(
            report.contains(&says),
            "{all} connections were answered and {} reset, and the service says {report}",
            self.resets
        );
        Ok(())
    }
}

/// Asks again and again and counts the answers. Not one request may be lost; after the signal, connections may be refused.
fn client(shop: SocketAddr, ending: &AtomicBool, done: &AtomicBool) -> Result<Answered> {
    let mut answered = Answered::default();
    while !done.load(Ordering::Relaxed) {
        match ask(shop)? {
            Outcome::Answered => {
                answered.all += 1;
                answered.before += usize::from(!ending.load(Ordering::Relaxed));
            }
            refused if ending.load(Ordering::Relaxed) => {
                answered.resets += usize::from(refused == Outcome::Reset);
                break;
            }
            _ => bail!("refused before the signal"),
        }
    }
    Ok(answered)
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Answered,
    Refused,
    /// Without a byte of an answer, when the port was closed.
    Reset,
}

/// Asks once. Who got a connection gets an answer: one that is closed, with or without a part of it, is an error.
///
/// But the kernel makes connections by itself, and resets those that it made in the moment in which the socket was
/// closed, of which the service never heard. Those look so: nothing of an answer comes, and the next one is refused, as the
/// kernel first takes no more and then resets. So does one that the service takes and drops as it closes the port, which
/// its report tells apart.
fn ask(shop: SocketAddr) -> Result<Outcome> {
    let bytes = match exchange(shop) {
        Err(error) if is_refused(&error) => return Ok(Outcome::Refused),
        Err(error) if is_reset(&error) && http::connect(shop).is_err_and(|error| is_refused(&error)) => {
            return Ok(Outcome::Reset);
        }
        bytes => bytes?,
    };
    let response = Response::parse(&bytes)?;
    ensure!(response.status == 200, "answered {}", response.status);
    Ok(Outcome::Answered)
}

/// The bytes of an answer. A connection may be reset before the call that makes it has returned.
fn exchange(shop: SocketAddr) -> Result<Vec<u8>> {
    let mut stream = http::connect(shop)?;
    stream.write_all(&http::message("GET /catalogue/full", 0))?;
    http::to_end(&mut stream)
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
        assert_eq!(asked.join().unwrap().unwrap(), Outcome::Reset);
    }

    /// A client cannot tell it from what the kernel does; that it was taken can be told.
    #[test]
    fn one_that_was_taken_and_got_no_answer_shows_in_the_report() {
        let ending = AtomicBool::new(true);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let answered = thread::scope(|scope| {
            let client = scope.spawn(|| client(addr, &ending, &AtomicBool::new(false)));
            let (taken, _) = socket.accept().unwrap();
            taken.peek(&mut [0]).unwrap();
            drop(socket);
            drop(taken); // with bytes that nobody has read
            client.join().unwrap().unwrap()
        });
        assert_eq!((answered.all, answered.resets), (0, 1));
        let report = |taken| {
            format!("shop: drained after 0.01 s (SIGTERM): 2 requests on {taken} connections served, 0 cut\n")
        };
        assert!(answered.agrees(&report(2)).is_ok());
        let error = answered.agrees(&report(3)).unwrap_err().to_string();
        assert!(
            error.starts_with("2 connections were answered and 1 reset, "),
            "{error}"
        );
    }

    /// Whatever the kernel was at: a handshake, a connection that just was made, or one of whose request it had some.
    #[test]
    fn whatever_moment_the_port_closes_in_nothing_is_lost() {
        for round in 0..2000_u32 {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = socket.local_addr().unwrap();
            let (closing, open) = std::sync::mpsc::channel();
            let asked = thread::spawn(move || {
                closing.send(()).unwrap();
                ask(addr)
            });
            open.recv().unwrap();
            for _ in 0..(round % 64) * 50 {
                std::hint::spin_loop();
            }
            drop(socket);
            let outcome = asked.join().unwrap();
            assert!(
                matches!(outcome, Ok(Outcome::Refused | Outcome::Reset)),
                "{outcome:?}"
            );
        }
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
