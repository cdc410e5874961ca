pub(crate) use self::imp::TaskSpan;

#[cfg(not(feature = "trace"))]
mod imp {
    use crate::error::Panic;
    use crate::event::Outcome;
    use crate::job::Unstarted;
    use crate::priority::Priority;
    use cortex_core::{Context, Guard};
    use std::time::Duration;

    /// The span of a task, of which there is none without the feature `trace`.
    #[derive(Debug, Default)]
    pub(crate) struct TaskSpan(());

    #[expect(clippy::unused_self, reason = "with the feature there is something in it")]
    impl TaskSpan {
        pub(crate) const fn begin(_: &str, _: Priority) -> Self {
            Self(())
        }

        pub(crate) const fn is_none(&self) -> bool {
            true
        }

        pub(crate) const fn hand_on(&self) -> Self {
            Self(())
        }

        /// Has what runs here belong to the caller, until what is returned is dropped.
        pub(crate) fn attach(&self, context: Context) -> Guard {
            context.attach()
        }

        pub(crate) const fn taken(&self, _: Duration) {}

        pub(crate) const fn end(&self, _: Outcome, _: Option<&Panic>) {}

        pub(crate) const fn end_unstarted(&self, _: Unstarted) {}
    }
}

#[cfg(feature = "trace")]
mod imp {
    use crate::error::Panic;
    use crate::event::Outcome;
    use crate::job::{Unstarted, drop_quietly, quietly};
    use crate::priority::Priority;
    use crate::stop::Stop;
    use cortex_core::{Context, Guard};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::time::Duration;
    use tracing::field::Empty;
    use tracing::{Span, dispatcher};

    /// The span of a task, if there is to be one, until it has ended.
    ///
    /// Subscribers are not ours: what they do unwinds nowhere, and happens without our locks.
    #[derive(Debug, Default)]
    pub(crate) struct TaskSpan(Option<Mutex<Option<Arc<Span>>>>);

    impl TaskSpan {
        /// Makes a child of what is current.
        pub(crate) fn begin(pool: &str, priority: Priority) -> Self {
            let mut made = None;
            quietly(|| {
                let span = tracing::info_span!(
                    target: "cortex_workers",
                    "task",
                    pool,
                    priority = priority.as_str(),
                    queue_seconds = Empty,
                    outcome = Empty,
                    otel.status_code = Empty,
                    otel.status_description = Empty,
                );
                made = (!span.is_disabled()).then_some(span);
            });
            Self(made.map(|span| Mutex::new(Some(Arc::new(span)))))
        }

        pub(crate) const fn is_none(&self) -> bool {
            self.0.is_none()
        }

        /// Gives it up for another ticket of the same task.
        pub(crate) fn hand_on(&self) -> Self {
            Self(self.take().map(|span| Mutex::new(Some(span))))
        }

        /// Has what runs here belong to the span, or to the caller if there is none, until what is returned is dropped.
        pub(crate) fn attach(&self, context: Context) -> Attached {
            let attached = Attached {
                context: context.attach(),
                span: self.get(),
            };
            if let Some(span) = &attached.span {
                quietly(|| {
                    span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
                });
            }
            attached
        }

        /// Says how long the task has waited.
        pub(crate) fn taken(&self, queued: Duration) {
            if let Some(span) = self.get() {
                quietly(|| {
                    span.record("queue_seconds", queued.as_secs_f64());
                });
                drop_quietly(span);
            }
        }

        /// Ends it with the task.
        pub(crate) fn end(&self, outcome: Outcome, panic: Option<&Panic>) {
            let Some(span) = self.take() else { return };
            let why = match outcome {
                Outcome::Completed | Outcome::Cancelled => None,
                Outcome::Failed => Some("the worker returned an error".to_owned()),
                Outcome::Panicked => Some(panic.map_or_else(String::new, told)),
                Outcome::Expired => Some(Stop::Deadline.to_string()),
                Outcome::TimedOut => Some(Stop::RunTimeout.to_string()),
                Outcome::ShutDown => Some(Stop::Shutdown.to_string()),
            };
            close(span, outcome.as_str(), why);
        }

        /// Ends that of a task that was not begun.
        pub(crate) fn end_unstarted(&self, why: Unstarted) {
            let Some(span) = self.take() else { return };
            let (outcome, why) = match why {
                Unstarted::Cancelled(_) => ("cancelled", None),
                Unstarted::Deadline(stage) => ("expired", Some(format!("the deadline came {stage}"))),
                Unstarted::Discarded(reason) => ("discarded", Some(format!("it was discarded {reason}"))),
                Unstarted::Full => ("rejected", Some("the queue is full".to_owned())),
                Unstarted::Closed => ("rejected", Some("the pool is shut down".to_owned())),
                Unstarted::NoWorkers => ("rejected", Some("no thread of the pool is alive".to_owned())),
            };
            close(span, outcome, why);
        }

        fn get(&self) -> Option<Arc<Span>> {
            self.0.as_ref().and_then(|span| lock(span).clone())
        }

        fn take(&self) -> Option<Arc<Span>> {
            self.0.as_ref().and_then(|span| lock(span).take())
        }
    }

    fn lock(span: &Mutex<Option<Arc<Span>>>) -> MutexGuard<'_, Option<Arc<Span>>> {
        span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(panic: &Panic) -> String {
        match panic.location() {
            Some(location) => format!("{}, at {location}", panic.message()),
            None => panic.message().to_owned(),
        }
    }

    fn close(span: Arc<Span>, outcome: &str, why: Option<String>) {
        let subscriber = span.with_subscriber(|(_, subscriber)| subscriber.clone());
        quietly(|| {
            span.record("outcome", outcome);
            if let Some(why) = why {
                span.record("otel.status_code", "error");
                span.record("otel.status_description", why);
            }
        });
        // Where this is the last of the caller's span, it is closed by the subscriber of the thread, which may have another one.
        if let Some(subscriber) = subscriber {
            dispatcher::with_default(&subscriber, || drop_quietly(span));
        }
    }

    /// What runs belongs to a caller until this is dropped.
    pub(crate) struct Attached {
        span: Option<Arc<Span>>,
        /// Brought back last.
        #[expect(dead_code, reason = "it does what it does when it is dropped")]
        context: Guard,
    }

    impl Drop for Attached {
        fn drop(&mut self) {
            if let Some(span) = self.span.take() {
                quietly(|| {
                    span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
                });
                drop_quietly(span);
            }
        }
    }
}
