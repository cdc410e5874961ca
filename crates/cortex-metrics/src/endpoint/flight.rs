use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::coding::Coding;
use super::compress::Encoded;
use crate::ContentType;

/// What scrapes must have in common to share an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) content_type: ContentType,
    pub(super) coding: Coding,
}

/// The expositions that are being made, and those that are kept: at most one per key.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<Vec<Flight>>);

#[derive(Debug)]
struct Flight {
    key: Key,
    started: Instant,
    outcome: watch::Receiver<Option<Outcome>>,
}

#[derive(Clone, Debug)]
enum Outcome {
    Encoded(Encoded),
    Panicked,
}

/// Why there is no exposition.
#[derive(Debug, PartialEq)]
pub(super) enum Lost {
    Panicked,
    /// The runtime was shut down before it came to it.
    Abandoned,
}

impl Flights {
    /// Boards the flight of a key. Where there is none, and no exposition younger than `max_age`, `encode` is started
    /// as a blocking task of its own, so that whoever asked first may leave.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) fn join(
        self: &Arc<Self>,
        key: Key,
        max_age: Duration,
        encode: impl FnOnce() -> Encoded + Send + 'static,
    ) -> Ticket {
        let mut flights = self.0.lock();
        flights.retain(|flight| flight.is_under_way() || flight.started.elapsed() < max_age);
        if let Some(flight) = flights.iter().find(|flight| flight.key == key) {
            return Ticket(flight.outcome.clone());
        }
        let (sender, outcome) = watch::channel(None);
        let ticket = Ticket(outcome.clone());
        flights.push(Flight {
            key,
            started: Instant::now(),
            outcome,
        });
        // Not under the lock: a runtime that is shutting down drops the task at once, and `Landing` locks.
        drop(flights);
        let landing = Landing {
            flights: Arc::clone(self),
            key,
            sender,
            is_listed: true,
        };
        tokio::task::spawn_blocking(move || landing.land(!max_age.is_zero(), encode));
        ticket
    }
}

impl Flight {
    fn is_under_way(&self) -> bool {
        self.outcome.borrow().is_none()
    }
}

/// The right to an exposition, once it is made.
#[derive(Debug)]
pub(super) struct Ticket(watch::Receiver<Option<Outcome>>);

impl Ticket {
    pub(super) async fn encoded(mut self) -> Result<Encoded, Lost> {
        let outcome = self.0.wait_for(Option::is_some).await;
        match outcome.as_deref() {
            Ok(Some(Outcome::Encoded(encoded))) => Ok(encoded.clone()),
            Ok(Some(Outcome::Panicked)) => Err(Lost::Panicked),
            Ok(None) | Err(_) => Err(Lost::Abandoned),
        }
    }
}

/// Takes a flight off the list, however it ends.
struct Landing {
    flights: Arc<Flights>,
    key: Key,
    sender: watch::Sender<Option<Outcome>>,
    is_listed: bool,
}

impl Landing {
    fn land(mut self, keep: bool, encode: impl FnOnce() -> Encoded) {
        let outcome = match catch_unwind(AssertUnwindSafe(encode)) {
            Ok(encoded) => Outcome::Encoded(encoded),
            Err(_) => Outcome::Panicked,
        };
        if keep && matches!(outcome, Outcome::Encoded(_)) {
            self.is_listed = false; // no longer by this one: the first who finds it too old takes it off
        }
        // In this order: whoever finds nothing on the list starts the next flight, whoever found this one is told.
        self.take_off();
        self.sender.send_replace(Some(outcome));
    }

    fn take_off(&mut self) {
        if std::mem::take(&mut self.is_listed) {
            self.flights.0.lock().retain(|flight| flight.key != self.key);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.take_off();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Builder;

    use super::*;
    use crate::{Escaping, Format};

    const KEY: Key = Key {
        content_type: ContentType {
            format: Format::Text004,
            escaping: Escaping::Underscores,
        },
        coding: Coding::Identity,
    };
    const OTHER: Key = Key {
        content_type: ContentType {
            format: Format::OpenMetrics1,
            escaping: Escaping::Underscores,
        },
        coding: Coding::Identity,
    };

    fn encoded(text: &'static str) -> Encoded {
        Encoded {
            bytes: text.into(),
            coding: Coding::Identity,
        }
    }

    fn bytes(result: Result<Encoded, Lost>) -> bytes::Bytes {
        result.unwrap().bytes
    }

    #[tokio::test]
    async fn those_of_one_key_share_a_flight() {
        let flights = Arc::new(Flights::default());
        let (go, gate) = mpsc::channel::<()>();
        let first = flights.join(KEY, Duration::ZERO, move || {
            let _ = gate.recv();
            encoded("first")
        });
        let second = flights.join(KEY, Duration::ZERO, || unreachable!("it is under way"));
        let other = flights.join(OTHER, Duration::ZERO, || encoded("other"));
        assert_eq!(bytes(other.encoded().await), "other");
        drop(go);
        let (first, second) = (bytes(first.encoded().await), bytes(second.encoded().await));
        assert_eq!(first, "first");
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert!(flights.0.lock().is_empty());
        let third = flights.join(KEY, Duration::ZERO, || encoded("third"));
        assert_eq!(bytes(third.encoded().await), "third");
    }

    #[tokio::test]
    async fn a_panic_is_told_to_all_and_not_kept() {
        let flights = Arc::new(Flights::default());
        let (go, gate) = mpsc::channel::<()>();
        let age = Duration::from_mins(1);
        let first = flights.join(KEY, age, move || {
            let _ = gate.recv();
            panic!("made by the test")
        });
        let second = flights.join(KEY, age, || unreachable!("it is under way"));
        drop(go);
        assert_eq!(first.encoded().await.unwrap_err(), Lost::Panicked);
        assert_eq!(second.encoded().await.unwrap_err(), Lost::Panicked);
        let third = flights.join(KEY, age, || encoded("third"));
        assert_eq!(bytes(third.encoded().await), "third");
    }

    #[tokio::test(start_paused = true)]
    async fn an_exposition_is_kept_for_its_age() {
        let flights = Arc::new(Flights::default());
        let age = Duration::from_secs(5);
        let first = flights.join(KEY, age, || encoded("first"));
        assert_eq!(bytes(first.encoded().await), "first");
        tokio::time::advance(Duration::from_millis(4_999)).await;
        let kept = flights.join(KEY, age, || unreachable!("it is young enough"));
        assert_eq!(bytes(kept.encoded().await), "first");
        tokio::time::advance(Duration::from_millis(1)).await;
        // Whoever comes, the one that is too old goes.
        let other = flights.join(OTHER, age, || encoded("other"));
        assert_eq!(flights.0.lock().len(), 1);
        assert_eq!(bytes(other.encoded().await), "other");
        let second = flights.join(KEY, age, || encoded("second"));
        assert_eq!(bytes(second.encoded().await), "second");
    }

    #[test]
    fn a_runtime_that_is_gone_leaves_nothing_behind() {
        let flights = Arc::new(Flights::default());
        let runtime = Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let ticket = {
            let _entered = handle.enter();
            flights.join(KEY, Duration::ZERO, || unreachable!("there are no threads"))
        };
        let next = Builder::new_current_thread().build().unwrap();
        assert_eq!(next.block_on(ticket.encoded()).unwrap_err(), Lost::Abandoned);
        assert!(flights.0.lock().is_empty());
    }
}
