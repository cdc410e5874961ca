use std::sync::LazyLock;

use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Subscriber};

/// Two that want nothing, and are there for as long as the process. While there is one subscriber or none, `tracing` asks
/// nobody but the thread that first comes by a line whether anybody wants it, and remembers the answer for all of them.
static OTHERS: LazyLock<[Dispatch; 2]> = LazyLock::new(|| [0, 1].map(|_| Dispatch::new(NoSubscriber::new())));

/// Gives this thread a subscriber until the guard is dropped, as `tracing::subscriber::set_default` does, which misses
/// lines that another test, without a subscriber, comes by first.
///
/// # Examples
///
/// ```
/// use cortex_testkit::{Recorder, subscribe};
///
/// let log = Recorder::new();
/// let writer = log.clone();
/// let _logging = subscribe(tracing_subscriber::fmt().with_writer(move || writer.clone()).finish());
/// tracing::info!("listening");
/// assert!(log.text().contains("listening"));
/// ```
#[must_use = "the subscriber is the thread's until this is dropped"]
pub fn subscribe(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    LazyLock::force(&OTHERS);
    tracing::subscriber::set_default(subscriber)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recorder;

    #[test]
    fn sees_a_line_that_a_thread_without_a_subscriber_came_by_first() {
        let line = || tracing::info!("said");
        let log = Recorder::new();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let logging = subscribe(subscriber.finish());
        std::thread::spawn(line).join().unwrap();
        assert_eq!(log.text(), "");
        line();
        assert!(log.text().contains("said"), "{}", log.text());
        drop(logging);
        line();
        assert_eq!(log.text().matches("said").count(), 1);
    }
}
