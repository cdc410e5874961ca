use super::lane::{Item, Lane};
use super::log::{Line, has_line, write};
use super::run::describe;
use crate::observer::Event;
use crate::redact::{MESSAGE, redact};
use crate::shared::Shared;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Tells the log and the observers what happened, each on a thread of its own: neither keeps the scheduler or the other
/// waiting, whatever it does.
pub(super) struct Herald {
    shared: Arc<Shared>,
    log: Lane<Line>,
    observers: Lane<Event>,
}

impl Herald {
    pub(super) fn new(shared: &Arc<Shared>, alive: &Sender<Infallible>) -> Self {
        let observed = Arc::clone(shared);
        Self {
            log: Lane::new("health-log", alive.clone(), write),
            observers: Lane::new("health-observer", alive.clone(), move |event| {
                observe(&observed, event);
            }),
            shared: Arc::clone(shared),
        }
    }

    pub(super) fn tell(&mut self, events: Vec<Event>) {
        let lines = events.iter().filter(|event| has_line(event));
        self.log.push(lines.cloned().map(Line::Event));
        if self.shared.is_observed() && self.observers.push(events) {
            self.log.push([Line::ObserversBlock]); // now: they may never come back to hear of it
        }
    }
}

/// Tells the observers; a panic of one is no reason to leave out others.
pub(super) fn observe(shared: &Shared, event: &Event) {
    let late = shared.late_observers.load_full();
    let observers = late.iter().map(|observer| &**observer);
    for observer in shared.observer.as_deref().into_iter().chain(observers) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| observer.on_event(event))) {
            let panic = redact(&describe(panic), MESSAGE);
            let _ = catch_unwind(|| tracing::error!(%panic, "the observer of the health checks failed"));
        }
    }
}

impl Item for Event {
    fn gives_way(&self) -> bool {
        matches!(self, Self::RunFinished { .. } | Self::Slow { .. })
    }

    fn missed(events: u64) -> Self {
        Self::Missed { events }
    }
}

impl Item for Line {
    fn gives_way(&self) -> bool {
        matches!(self, Self::Event(event) if event.gives_way())
    }

    fn missed(count: u64) -> Self {
        Self::Missed(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;
    use crate::observer::{Observer, RunResult};
    use crate::status::Status;
    use cortex_testkit::Recorder;
    use std::sync::{Mutex, mpsc};
    use std::time::{Duration, SystemTime};

    /// Says that it begins, and blocks until the sender is gone.
    struct Stuck(Sender<()>, Mutex<mpsc::Receiver<()>>);

    impl Observer for Stuck {
        fn on_event(&self, _: &Event) {
            let _ = self.0.send(());
            let _ = self.1.lock().expect("no panic").recv();
        }
    }

    fn ended() -> Event {
        Event::RunFinished {
            check: "db".into(),
            result: RunResult::Ok,
            latency: Duration::ZERO,
        }
    }

    #[test]
    fn the_log_is_told_at_once_and_once_that_observers_block() {
        let ((release, released), (send, begun)) = (mpsc::channel(), mpsc::channel());
        let stuck = Stuck(send, Mutex::new(released));
        let health = Health::builder().observer(stuck).build().unwrap();
        let (alive, gone) = mpsc::channel();
        let written = Recorder::new();
        let mut herald = Herald::new(&health.shared, &alive);
        herald.log = Lane::new("test", alive, {
            let written = written.clone();
            move |line: &Line| written.record(format!("{line:?}"))
        });
        herald.tell(vec![ended()]);
        begun.recv_timeout(Duration::from_secs(30)).unwrap();
        for _ in 0..5000 {
            herald.tell(vec![ended()]);
        }
        drop(herald);
        let wait = Duration::from_millis(1);
        while written.is_empty() {
            assert_eq!(
                gone.recv_timeout(wait),
                Err(mpsc::RecvTimeoutError::Timeout),
                "it blocks"
            );
        }
        drop(release);
        assert_eq!(
            gone.recv_timeout(Duration::from_secs(30)),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
        assert_eq!(written.take(), ["ObserversBlock"]);
    }

    #[test]
    fn a_log_that_blocks_keeps_no_observer_waiting() {
        struct Heard(Recorder<String>);

        impl Observer for Heard {
            fn on_event(&self, event: &Event) {
                if let Event::Transition { to, .. } = event {
                    self.0.record(to.to_string());
                }
            }
        }

        let ((release, released), (send, begun)) = (mpsc::channel::<()>(), mpsc::channel());
        let (heard, written, released) = (Recorder::new(), Recorder::new(), Mutex::new(released));
        let health = Health::builder().observer(Heard(heard.clone())).build().unwrap();
        let (alive, gone) = mpsc::channel();
        let mut herald = Herald::new(&health.shared, &alive);
        herald.log = Lane::new("test", alive, {
            let written = written.clone();
            move |line: &Line| {
                let _ = send.send(());
                let _ = released.lock().expect("no panic").recv();
                written.record(match line {
                    Line::Event(Event::Slow { .. }) => "slow".to_owned(),
                    Line::Event(_) => "change".to_owned(),
                    other => format!("{other:?}"),
                });
            }
        });
        let change = || Event::Transition {
            check: "db".into(),
            from: Status::Up,
            to: Status::Down,
            at: SystemTime::UNIX_EPOCH,
            after: Duration::ZERO,
            latency: None,
            message: None,
            causes: Arc::default(),
            flapping: false,
        };
        let slow = Event::Slow {
            check: "db".into(),
            latency: Duration::from_secs(2),
            timeout: Duration::from_secs(3),
        };
        herald.tell(vec![change()]);
        begun.recv_timeout(Duration::from_secs(30)).unwrap();
        herald.tell(vec![slow; 100]);
        for _ in 0..1030 {
            herald.tell(vec![change()]);
            while heard.take().is_empty() {
                std::thread::yield_now(); // each is heard while the log blocks
            }
        }
        drop((herald, release));
        assert_eq!(
            gone.recv_timeout(Duration::from_secs(30)),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
        let written = written.take();
        assert_eq!(
            written[..2],
            ["change", "Missed(106)"],
            "slow runs, and the oldest changes"
        );
        assert_eq!(
            (
                written.len(),
                written.iter().filter(|line| *line == "change").count()
            ),
            (1026, 1025)
        );
    }

    #[test]
    fn nobody_to_tell_is_no_thread() {
        let health = Health::builder().build().unwrap();
        let (alive, gone) = mpsc::channel();
        let mut herald = Herald::new(&health.shared, &alive);
        herald.tell(vec![ended()]); // has no line
        drop((herald, alive));
        assert_eq!(
            gone.try_recv(),
            Err(mpsc::TryRecvError::Disconnected),
            "no thread holds it"
        );
    }
}
