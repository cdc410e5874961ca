use crate::job::{drop_quietly, quietly};
use crate::ticket::NEVER;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

/// What has to be looked at when its time has come.
pub(crate) trait Pulse: Send + Sync {
    /// Returns how long it takes until then; `None` if there is nothing to come.
    fn wait(&self) -> Option<Duration>;

    /// Looks.
    fn pulse(&self);
}

/// One thread for all pools of the process, which looks at them when something is due. It ends with the last of them.
struct Watch {
    pools: Mutex<Pools>,
    changed: Condvar,
}

struct Pools {
    all: Vec<Weak<dyn Pulse>>,
    is_running: bool,
    /// Something was said since the thread last looked.
    is_changed: bool,
}

static WATCH: Watch = Watch {
    pools: Mutex::new(Pools {
        all: Vec::new(),
        is_running: false,
        is_changed: false,
    }),
    changed: Condvar::new(),
};

/// Has a pool looked at.
///
/// # Errors
///
/// The operating system starts no thread.
pub(crate) fn register(pool: Weak<dyn Pulse>) -> std::io::Result<()> {
    let mut pools = WATCH.pools.lock().unwrap_or_else(PoisonError::into_inner);
    pools.all.push(pool);
    if !pools.is_running {
        let name = "cortex-workers".to_owned();
        std::thread::Builder::new().name(name).spawn(run)?;
        pools.is_running = true;
    }
    Ok(())
}

/// Says that something is due earlier than it was, or that a pool has gone.
pub(crate) fn changed() {
    WATCH
        .pools
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_changed = true;
    WATCH.changed.notify_one();
}

fn run() {
    loop {
        let mut pools = WATCH.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.is_changed = false;
        let mut alive: Vec<Arc<dyn Pulse>> = Vec::new();
        pools
            .all
            .retain(|pool| pool.upgrade().map(|pool| alive.push(pool)).is_some());
        if alive.is_empty() {
            pools.is_running = false;
            return;
        }
        drop(pools);
        let mut wait: Option<Duration> = None;
        for pool in &alive {
            // A clock or an observer that panics is the trouble of its own pool.
            quietly(|| {
                if pool.wait().is_some_and(|wait| wait.is_zero()) {
                    pool.pulse();
                }
                let next = pool.wait();
                wait = wait.into_iter().chain(next).min();
            });
        }
        alive.into_iter().for_each(drop_quietly); // the last handle may end a pool
        let pools = WATCH.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if pools.is_changed {
            continue;
        }
        // What is due many times in a row is looked at every few milliseconds.
        let wait = wait.map(|wait| wait.max(RESOLUTION));
        match wait {
            None => drop(WATCH.changed.wait(pools)),
            Some(wait) => drop(WATCH.changed.wait_timeout(pools, wait)),
        }
    }
}

/// How late a deadline may be noticed.
const RESOLUTION: Duration = Duration::from_millis(1);

/// Returns how long it takes from one time to another.
pub(crate) fn until(now: u64, then: u64) -> Option<Duration> {
    (then != NEVER).then(|| Duration::from_nanos(then.saturating_sub(now)))
}
