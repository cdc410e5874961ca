use tokio::time::{MissedTickBehavior, interval};

use super::config::Tls;

impl Tls {
    /// Takes the files whenever they have changed. It ends when it is dropped.
    pub(crate) async fn watch(self) {
        if !self.is_of_files() {
            return;
        }
        let mut ticks = interval(self.period());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        ticks.tick().await; // the first one is now
        loop {
            ticks.tick().await;
            let tls = self.clone();
            // Files may be on a network; a worker must not wait for them.
            let reloaded = tokio::task::spawn_blocking(move || tls.reload_changed());
            match reloaded.await {
                Ok(Err(error)) => {
                    // What is there to read is told once by itself; a file that is gone is missed at every look.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "the certificate was not reloaded; the one before stays");
                    }
                }
                Ok(Ok(())) => failing = false,
                Err(error) if error.is_panic() => {
                    tracing::error!(
                        "reading the certificate panicked; the one before stays, and is looked at again"
                    );
                }
                Err(_) => return, // the runtime ends
            }
        }
    }
}
