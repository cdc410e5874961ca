pub(crate) use self::imp::Bell;

#[cfg(not(cortex_loom))]
mod imp {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{Thread, current, park};

    /// What wakes a thread of a pool: whatever else parks on that thread, as an observer may, it is not slept through.
    #[derive(Debug)]
    pub(crate) struct Bell {
        thread: Thread,
        rang: AtomicBool,
    }

    impl Bell {
        /// Makes the one of this thread.
        pub(crate) fn new() -> Self {
            Self {
                thread: current(),
                rang: AtomicBool::new(false),
            }
        }

        pub(crate) fn ring(&self) {
            self.rang.store(true, Ordering::Release);
            self.thread.unpark();
        }

        /// Waits until it rings, or has rung since the last time; called on its thread.
        pub(crate) fn wait(&self) {
            while !self.rang.swap(false, Ordering::Acquire) {
                park();
            }
        }
    }
}

/// The same for the model checker, whose `unpark` would also let go a thread that waits for a lock by then.
#[cfg(cortex_loom)]
mod imp {
    use loom::sync::{Condvar, Mutex};

    #[derive(Debug)]
    pub(crate) struct Bell {
        rang: Mutex<bool>,
        changed: Condvar,
    }

    impl Bell {
        pub(crate) fn new() -> Self {
            Self {
                rang: Mutex::new(false),
                changed: Condvar::new(),
            }
        }

        pub(crate) fn ring(&self) {
            *crate::sync::lock(&self.rang) = true;
            self.changed.notify_one();
        }

        pub(crate) fn wait(&self) {
            let mut rang = crate::sync::lock(&self.rang);
            while !*rang {
                rang = self.changed.wait(rang).expect("nobody panics under this lock");
            }
            *rang = false;
        }
    }
}
