use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Collects what an observer saw or a writer was given; every clone adds to the same list.
///
/// # Examples
///
/// As the receiving end of an observer:
///
/// ```
/// use cortex_testkit::Recorder;
///
/// let seen = Recorder::new();
/// let observe = {
///     let seen = seen.clone();
///     move |attempt: u32| seen.record(attempt)
/// };
/// observe(1);
/// observe(2);
/// assert_eq!(seen.take(), [1, 2]);
/// assert!(seen.take().is_empty());
/// ```
///
/// As a writer, for instance the `MakeWriter` of a `tracing` layer (`move || output.clone()`):
///
/// ```
/// use cortex_testkit::Recorder;
/// use std::io::Write;
///
/// let output = Recorder::new();
/// writeln!(output.clone(), "listening on {}", 8080)?;
/// assert_eq!(output.text(), "listening on 8080\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Recorder<T = u8> {
    items: Arc<Mutex<Vec<T>>>,
}

impl<T> Recorder<T> {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self {
            items: Arc::default(),
        }
    }

    /// Adds one item.
    pub fn record(&self, item: T) {
        self.items().push(item);
    }

    /// Takes all items and leaves the list empty.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.items())
    }

    /// Returns how many items there are.
    pub fn len(&self) -> usize {
        self.items().len()
    }

    /// Says whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.items().is_empty()
    }

    fn items(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Recorder<T> {
    /// Returns a copy of all items.
    pub fn to_vec(&self) -> Vec<T> {
        self.items().clone()
    }
}

impl Recorder<u8> {
    /// Returns what was written as text.
    ///
    /// # Panics
    ///
    /// The bytes are not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8(self.to_vec()).expect("the recorded bytes are UTF-8")
    }
}

impl<T> Clone for Recorder<T> {
    fn clone(&self) -> Self {
        Self {
            items: Arc::clone(&self.items),
        }
    }
}

impl<T> Default for Recorder<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Recorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder").field(&*self.items()).finish()
    }
}

impl io::Write for Recorder<u8> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.items().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn clones_share_one_list_across_threads() {
        let seen = Recorder::default();
        assert!(seen.is_empty());
        std::thread::scope(|scope| {
            for n in 0..4 {
                let seen = seen.clone();
                scope.spawn(move || seen.record(n));
            }
        });
        let mut items = seen.to_vec();
        items.sort_unstable();
        assert_eq!((items, seen.len()), (vec![0, 1, 2, 3], 4));
        assert_eq!(seen.take().len(), 4);
        assert_eq!(seen.len(), 0);
    }

    #[test]
    fn keeps_the_bytes_of_every_clone_in_order() {
        let output = Recorder::new();
        let mut other = output.clone();
        output.clone().write_all(b"one ").unwrap();
        other.write_all(b"two").unwrap();
        other.flush().unwrap();
        assert_eq!(output.text(), "one two");
        assert_eq!(format!("{:?}", Recorder::<u8>::new()), "Recorder([])");
    }

    #[test]
    #[should_panic(expected = "UTF-8")]
    fn text_refuses_other_bytes() {
        let output = Recorder::new();
        output.record(0xff);
        output.text();
    }
}
