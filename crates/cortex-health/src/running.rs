use crate::scheduler::Message;
use std::fmt;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

/// A started [`Health`](crate::Health); dropping it stops the scheduler.
///
/// From then on readiness fails, because nobody refreshes the checks.
///
/// # Examples
///
/// ```
/// use cortex_health::{Detail, Endpoint, Health};
/// use http::HeaderMap;
///
/// let runtime = tokio::runtime::Runtime::new()?;
/// let health = Health::builder().build()?;
/// let running = health.start(runtime.handle())?;
/// assert!(health.start(runtime.handle()).is_err()); // once
///
/// running.stop();
/// assert_eq!(health.respond(Endpoint::Ready, &HeaderMap::new(), Detail::None).status(), 503);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it stops the scheduler"]
pub struct Running {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn new(messages: Sender<Message>, thread: JoinHandle<()>) -> Self {
        Self {
            messages,
            thread: Some(thread),
        }
    }

    /// Stops the scheduler and waits for its thread, which takes as long as the observer needs for the event at hand.
    ///
    /// Async runs are aborted. Blocking runs are left to themselves: they keep neither this call nor the process.
    pub fn stop(mut self) {
        let thread = self.thread.take();
        drop(self); // sends the message
        if let Some(thread) = thread {
            let _ = thread.join(); // a panic was reported by its hook, and the lease ends without it
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop); // an error: the thread is gone already
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}
