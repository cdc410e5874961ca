use crate::job::quietly;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

/// Cancels calls from anywhere: as many as there are, to any pools, detached ones, too.
///
/// It is given to [`Call::cancel_with`](crate::Call::cancel_with) and the like. To cancel a call so is to drop it, but for two things:
/// whoever awaits it hears of it at once, as [`Error::Cancelled`](crate::Error::Cancelled), and has back what was not begun.
///
/// Clones are the same token. What is cancelled stays so. Dropping all clones cancels nothing.
///
/// # Performance
///
/// A call with a token takes one allocation more, and twice a short lock of the token. A token keeps nothing of calls that have ended, nor
/// of children that were dropped.
///
/// # Examples
///
/// ```
/// use cortex_workers::{CancelToken, Closures, Error, Pool};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("reports").threads(1).build().await.unwrap();
/// let session = CancelToken::new();
/// let request = session.child();
///
/// let long = pool.run(|_, cx| while !cx.is_cancelled() {}).cancel_with(&request);
/// session.cancel(); // from any thread, and also after the call was detached
/// assert!(request.is_cancelled());
/// assert!(matches!(long.await, Err(Error::Cancelled { .. })));
/// # });
/// ```
#[derive(Clone)]
pub struct CancelToken {
    node: Arc<Node>,
}

struct Node {
    /// Set under the lock of what is below.
    is_cancelled: AtomicBool,
    below: Mutex<Below>,
    /// The token that this is a child of.
    above: OnceLock<Link>,
}

/// What is cancelled with a token, by the order in which it came.
struct Below {
    next: u64,
    all: BTreeMap<u64, Heir>,
}

enum Heir {
    Token(Weak<Node>),
    Task(Box<dyn Cancel>),
}

/// What can be cancelled.
pub(crate) trait Cancel: Send {
    /// Cancels it; nothing unwinds out of it.
    fn cancel(&self);
}

/// A place below a token.
struct Link {
    node: Arc<Node>,
    number: u64,
}

/// A task that is below a token, until this is dropped. No lock may be held then.
pub(crate) struct Enrolment(Link);

impl CancelToken {
    /// Makes a token that nothing cancels but itself.
    pub fn new() -> Self {
        Self {
            node: Arc::new(Node::new()),
        }
    }

    /// Makes a token that is cancelled with this one, and that can be cancelled alone.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        match self.node.add(Heir::Token(Arc::downgrade(&child.node))) {
            Ok(link) => drop(child.node.above.set(link)),
            Err(_) => child.cancel(),
        }
        child
    }

    /// Cancels all that has it, now and later, and its children.
    ///
    /// What waits is dropped here, or handed back to whoever awaits it, and those are woken; what runs is told so. Nothing that any of
    /// them does unwinds out of this. It may be called within a task.
    pub fn cancel(&self) {
        let mut nodes = vec![Arc::clone(&self.node)];
        while let Some(node) = nodes.pop() {
            // The last one first: a place that one makes in a queue is of no use to those that end in the same moment.
            for heir in node.close().into_values().rev() {
                match heir {
                    Heir::Token(child) => nodes.extend(child.upgrade()),
                    Heir::Task(task) => quietly(|| task.cancel()),
                }
            }
        }
    }

    /// Says whether it was cancelled. One load.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled.load(Ordering::Acquire)
    }

    /// Has a task cancelled with this.
    ///
    /// # Errors
    ///
    /// It was cancelled before.
    pub(crate) fn enrol(&self, task: Box<dyn Cancel>) -> Result<Enrolment, Box<dyn Cancel>> {
        match self.node.add(Heir::Task(task)) {
            Ok(link) => Ok(Enrolment(link)),
            Err(Heir::Task(task)) => Err(task),
            Err(Heir::Token(_)) => unreachable!("what comes back is what was given"),
        }
    }

    /// Returns how much is cancelled with this.
    #[cfg(test)]
    pub(crate) fn heirs(&self) -> usize {
        lock(&self.node.below).all.len()
    }
}

impl Node {
    fn new() -> Self {
        Self {
            is_cancelled: AtomicBool::new(false),
            below: Mutex::new(Below {
                next: 0,
                all: BTreeMap::new(),
            }),
            above: OnceLock::new(),
        }
    }

    /// Adds something, unless it is too late.
    fn add(self: &Arc<Self>, heir: Heir) -> Result<Link, Heir> {
        let mut below = lock(&self.below);
        if self.is_cancelled.load(Ordering::Relaxed) {
            return Err(heir);
        }
        let number = below.next;
        below.next += 1;
        below.all.insert(number, heir);
        Ok(Link {
            node: Arc::clone(self),
            number,
        })
    }

    /// Forgets something; what it was is dropped without the lock.
    fn remove(&self, number: u64) {
        let heir = lock(&self.below).all.remove(&number);
        drop(heir);
    }

    /// Lets nothing in any more, and gives up what is there.
    fn close(&self) -> BTreeMap<u64, Heir> {
        let mut below = lock(&self.below);
        self.is_cancelled.store(true, Ordering::Release);
        std::mem::take(&mut below.all)
    }
}

impl Drop for Node {
    /// Leaves the token above, and those above that if nobody else has them: by turns, as there may be many.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(Link { node, number }) = above {
            node.remove(number);
            above = Arc::into_inner(node).and_then(|mut node| node.above.take());
        }
    }
}

impl Drop for Enrolment {
    fn drop(&mut self) {
        self.0.node.remove(self.0.number);
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Tell(Sender<u32>, u32);

    impl Cancel for Tell {
        fn cancel(&self) {
            self.0.send(self.1).expect("somebody hears");
        }
    }

    #[test]
    fn all_below_are_cancelled_the_last_first_and_none_above() {
        let (sender, heard) = channel();
        let tell = |number| Box::new(Tell(sender.clone(), number));
        let root = CancelToken::new();
        let (one, other) = (root.child(), root.child());
        let grandchild = one.child();
        let tokens = [&root, &one, &grandchild, &other, &one];
        let enrolled: Vec<_> = tokens
            .into_iter()
            .zip(0..)
            .map(|(token, number)| token.enrol(tell(number)).map_err(drop).unwrap())
            .collect();
        one.cancel();
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [4, 1, 2]);
        assert!(one.is_cancelled() && grandchild.is_cancelled());
        assert!(!root.is_cancelled() && !other.is_cancelled());
        root.cancel();
        root.cancel();
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [0, 3], "each once");
        drop(enrolled);
        assert!(root.child().is_cancelled() && root.clone().is_cancelled());
        let late = root.enrol(tell(9));
        assert!(late.is_err(), "it comes back");
        assert_eq!(heard.try_iter().count(), 0);
    }

    struct Panics;

    impl Cancel for Panics {
        fn cancel(&self) {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }

    /// Another pool may have a clock that panics.
    #[test]
    fn one_that_panics_keeps_no_other_from_being_cancelled() {
        let (sender, heard) = channel();
        let token = CancelToken::new();
        let tasks: [Box<dyn Cancel>; 2] = [Box::new(Tell(sender, 1)), Box::new(Panics)];
        let enrolled = tasks.map(|task| token.enrol(task).map_err(drop).unwrap());
        token.cancel();
        assert_eq!(heard.try_iter().count(), 1);
        drop(enrolled);
    }

    #[test]
    fn nothing_is_kept_of_what_has_gone() {
        let (sender, heard) = channel();
        let root = CancelToken::new();
        for _ in 0..1000 {
            let child = root.child();
            let _enrolled = child
                .enrol(Box::new(Tell(sender.clone(), 1)))
                .map_err(drop)
                .unwrap();
            assert_eq!((root.heirs(), child.heirs()), (1, 1));
        }
        assert_eq!(root.heirs(), 0);
        root.cancel();
        assert_eq!(heard.try_iter().count(), 0);
    }

    #[test]
    fn a_long_line_of_children_is_cancelled_and_dropped() {
        let root = CancelToken::new();
        let mut last = root.child();
        for _ in 0..200_000 {
            last = last.child();
        }
        root.cancel();
        assert!(last.is_cancelled());
        drop(root);
        drop(last);
    }
}
