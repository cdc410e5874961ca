use super::lane::{Item, Lane};
use super::log::{Line, has_line, write};
use super::run::describe;
use crate::observer::{Event, Observer};
use crate::redact::{MESSAGE, redact};
use crate::shared::Shared;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Tells the log and the observers what happened, each on a thread of its own: none keeps the scheduler or another
/// waiting, whatever it does.
pub(super) struct Herald {
    shared: Arc<Shared>,
    alive: Sender<Infallible>,
    log: Lane<Line>,
    /// One for each observer, in their order.
    observers: Vec<Lane<Event>>,
}

impl Herald {
    pub(super) fn new(shared: &Arc<Shared>, alive: &Sender<Infallible>) -> Self {
        Self {
            log: Lane::new("health-log", alive.clone(), write),
            observers: Vec::new(),
            alive: alive.clone(),
            shared: Arc::clone(shared),
        }
    }

    pub(super) fn tell(&mut self, events: &[Event]) {
        let lines = events.iter().filter(|event| has_line(event));
        self.log.push(lines.cloned().map(Line::Event));
        for (index, observer) in self.shared.observers().iter().enumerate() {
            if index == self.observers.len() {
                let observer = Arc::clone(observer);
                let hear = move |event: &Event| observe(&*observer, event);
                let lane = Lane::new("health-observer", self.alive.clone(), hear);
                self.observers.push(lane);
            }
            let pushed = self.observers[index].push(events.iter().cloned());
            self.shared.miss(pushed.missed);
            if pushed.begins {
                self.log.push([Line::ObserverBlocks]); // now: it may never come back to hear of it
            }
        }
    }
}

/// Tells an observer; it may panic.
pub(super) fn observe(observer: &dyn Observer, event: &Event) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| observer.on_event(event))) {
        let panic = redact(&describe(panic), MESSAGE);
        let _ = catch_unwind(|| tracing::error!(%panic, "the observer of the health checks failed"));
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
    use crate::observer::RunResult;
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

    struct Ends(Recorder<RunResult>);

    impl Observer for Ends {
        fn on_event(&self, event: &Event) {
            if let Event::RunFinished { result, .. } = event {
                self.0.record(*result);
            }
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
    fn the_log_is_told_at_once_and_once_that_an_observer_blocks() {
        let ((release, released), (send, begun)) = (mpsc::channel(), mpsc::channel());
        let stuck = Stuck(send, Mutex::new(released));
        let health = Health::builder().observer(stuck).build().unwrap();
        let heard = Recorder::new();
        health.observe(Ends(heard.clone()));
        let (alive, gone) = mpsc::channel();
        let written = Recorder::new();
        let mut herald = Herald::new(&health.shared, &alive);
        herald.log = Lane::new("test", alive, {
            let written = written.clone();
            move |line: &Line| written.record(format!("{line:?}"))
        });
        herald.tell(&[ended()]);
        begun.recv_timeout(Duration::from_secs(30)).unwrap();
        while heard.take().is_empty() {
            std::thread::yield_now();
        }
        for _ in 0..2000 {
            herald.tell(&[ended()]);
            while heard.take().is_empty() {
                std::thread::yield_now(); // each is heard while the other observer blocks
            }
        }
        assert_eq!(health.missed_events(), 2000 - 1024, "nobody had to hear it");
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
        assert_eq!(written.take(), ["ObserverBlocks"]);
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
        herald.tell(&[change()]);
        begun.recv_timeout(Duration::from_secs(30)).unwrap();
        herald.tell(&vec![slow; 100]);
        for _ in 0..1030 {
            herald.tell(&[change()]);
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
        herald.tell(&[ended()]); // has no line
        drop((herald, alive));
        assert_eq!(
            gone.try_recv(),
            Err(mpsc::TryRecvError::Disconnected),
            "no thread holds it"
        );
    }
}
