use super::content::Dictionary;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The dictionaries that a server has at the moment; give it to [`CompressionLayer::dictionaries`].
///
/// Clones share them, so that they can be added and removed while the server runs. A response that is being encoded
/// keeps the dictionary it began with; the encoders of a removed one are dropped when they have been idle for a
/// minute or two.
///
/// [`CompressionLayer::dictionaries`]: crate::CompressionLayer::dictionaries
///
/// # Examples
///
/// ```
/// use cortex_compress::{CompressionLayer, Dictionary, DictionaryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = DictionaryStore::new();
/// let layer = CompressionLayer::new().dictionaries(store.clone());
/// let old = Dictionary::new("export const version = 1; // and much more")?;
/// let new = Dictionary::new("export const version = 2; // and much more")?;
/// store.insert(old.clone())?;
/// // The next release: clients of the one before it are still there.
/// store.insert(new)?;
/// assert_eq!(store.len(), 2);
/// // And the one after that.
/// assert!(store.remove(old.hash()));
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DictionaryStore(Arc<Inner>);

struct Inner {
    most: usize,
    most_bytes: usize,
    held: RwLock<Held>,
}

#[derive(Default)]
struct Held {
    by_hash: HashMap<[u8; 32], Dictionary>,
    bytes: usize,
}

impl DictionaryStore {
    /// Makes a store for at most 64 dictionaries and 16 MiB of them.
    pub fn new() -> Self {
        Self::with_limits(64, 16 << 20)
    }

    /// Makes a store for at most so many dictionaries, and bytes of them together.
    ///
    /// It bounds the store. Each encoder that works with a dictionary holds another copy of it, which counts in
    /// [`CompressionLayer::memory_budget`](crate::CompressionLayer::memory_budget).
    pub fn with_limits(dictionaries: usize, bytes: usize) -> Self {
        Self(Arc::new(Inner {
            most: dictionaries,
            most_bytes: bytes,
            held: RwLock::default(),
        }))
    }

    /// Adds a dictionary; one with the same content stays instead, if there is one.
    ///
    /// # Errors
    ///
    /// There is no room; nothing is thrown out for it.
    pub fn insert(&self, dictionary: Dictionary) -> Result<(), DictionaryStoreFull> {
        let mut held = self.write();
        if held.by_hash.contains_key(dictionary.hash()) {
            return Ok(());
        }
        let (most, most_bytes) = (self.0.most, self.0.most_bytes);
        let bytes = held.bytes.saturating_add(dictionary.len());
        if held.by_hash.len() >= most || bytes > most_bytes {
            return Err(DictionaryStoreFull { most, most_bytes });
        }
        held.bytes = bytes;
        held.by_hash.insert(*dictionary.hash(), dictionary);
        Ok(())
    }

    /// Removes the dictionary with this SHA-256; tells whether there was one.
    pub fn remove(&self, hash: &[u8; 32]) -> bool {
        let mut held = self.write();
        let Some(removed) = held.by_hash.remove(hash) else {
            return false;
        };
        held.bytes -= removed.len();
        true
    }

    /// Returns the dictionary with this SHA-256.
    pub fn get(&self, hash: &[u8; 32]) -> Option<Dictionary> {
        self.read().by_hash.get(hash).cloned()
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.read().by_hash.len()
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes they have together.
    pub fn bytes(&self) -> usize {
        self.read().bytes
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.0.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for DictionaryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DictionaryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.read();
        f.debug_struct("DictionaryStore")
            .field("dictionaries", &held.by_hash.len())
            .field("bytes", &held.bytes)
            .finish_non_exhaustive()
    }
}

/// A [`DictionaryStore`] has no room for another dictionary.
///
/// # Examples
///
/// ```
/// use cortex_compress::{Dictionary, DictionaryStore};
///
/// let store = DictionaryStore::with_limits(1, 1000);
/// let error = store.insert(Dictionary::new("again and ".repeat(101))?).unwrap_err();
/// assert_eq!(error.to_string(), "add a dictionary: there may be 1, of 1000 bytes together");
/// # Ok::<(), cortex_compress::InvalidDictionary>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DictionaryStoreFull {
    most: usize,
    most_bytes: usize,
}

impl fmt::Display for DictionaryStoreFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { most, most_bytes } = self;
        write!(
            f,
            "add a dictionary: there may be {most}, of {most_bytes} bytes together"
        )
    }
}

impl Error for DictionaryStoreFull {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_bytes_are_bounded_and_what_goes_makes_room() {
        let made = |text: &str| Dictionary::new(text.to_owned()).unwrap();
        let [one, two, three] = ["one dictionary", "two dictionaries", "three dictionaries"].map(made);
        for store in [
            DictionaryStore::with_limits(2, 1000),
            DictionaryStore::with_limits(9, one.len() + two.len()),
        ] {
            assert!(store.is_empty());
            store.insert(one.clone()).unwrap();
            store.insert(two.clone()).unwrap();
            store.insert(made("one dictionary")).unwrap();
            assert_eq!((store.len(), store.bytes()), (2, one.len() + two.len()));
            assert_eq!(
                store.get(one.hash()).unwrap().id(),
                one.id(),
                "the first one stays"
            );
            assert!(store.insert(three.clone()).is_err());
            assert!(store.get(three.hash()).is_none());
            assert!(!store.remove(three.hash()));

            assert!(store.remove(one.hash()) && !store.remove(one.hash()));
            assert_eq!((store.len(), store.bytes()), (1, two.len()));
            store.clone().insert(one.clone()).unwrap();
            assert_eq!(store.len(), 2);
        }
    }
}
