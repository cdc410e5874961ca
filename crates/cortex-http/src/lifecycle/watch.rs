use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::control::Control;
use crate::error::Error;
use crate::signals::Signals;

/// Who has the signals of a service: from the moment in which they are installed somebody has, until the process ends.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    /// The runtime of the lifecycle thread.
    runtime: Handle,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug)]
enum Held {
    /// Signals are none of the service's business.
    Nothing,
    /// They wait for the service to be there.
    Signals(Signals),
    /// They start and end its drain.
    Task(JoinHandle<Signals>),
    /// The service has ended, and so has this.
    Over,
}

impl Watch {
    pub(super) fn new(runtime: Handle) -> Self {
        let held = Arc::new(Mutex::new(Held::Nothing));
        Self { runtime, held }
    }

    pub(super) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Installs the handlers, unless they are or the service has ended.
    ///
    /// # Errors
    ///
    /// They cannot be installed.
    pub(crate) fn install(&self) -> Result<(), Error> {
        let mut held = self.lock();
        if matches!(*held, Held::Nothing) {
            let _guard = self.runtime.enter();
            *held = Held::Signals(Signals::install().map_err(Error::signals)?);
        }
        Ok(())
    }

    /// Has them ask for the end of this service, if they are installed.
    pub(crate) fn begin(&self, control: &Arc<Control>) {
        let mut held = self.lock();
        *held = match std::mem::replace(&mut *held, Held::Over) {
            Held::Signals(signals) => Held::Task(self.runtime.spawn(Arc::clone(control).watch(signals))),
            held => held,
        };
    }

    /// Takes them back when the service is over, or did not start.
    pub(super) async fn end(&self) -> Option<Signals> {
        let held = std::mem::replace(&mut *self.lock(), Held::Over);
        match held {
            Held::Nothing | Held::Over => None,
            Held::Signals(signals) => Some(signals),
            Held::Task(watching) => watching.await.ok(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
