use crate::Error;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What blocks are for, as reports and metrics name it; made by [`Tags::intern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u8);

impl Tag {
    /// What did not fit the arena of a call: `scope`.
    pub const SCOPE: Self = Self(0);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The tags of a host: at most 256, so that no label of a metric is unbounded.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Tag, Tags};
///
/// let tags = Tags::new();
/// let session = tags.intern("session")?;
/// assert_eq!(tags.intern("session")?, session);
/// assert_eq!(tags.name(session), "session");
/// assert_eq!(tags.name(Tag::SCOPE), "scope");
/// # Ok::<(), cortex_wasm::Error>(())
/// ```
#[derive(Debug)]
pub struct Tags(Box<[OnceLock<Entry>]>);

#[derive(Debug)]
struct Entry {
    name: &'static str,
    swept: AtomicU64,
    expired: AtomicU64,
    /// After so many nanoseconds a block is freed whoever holds it.
    expiry: AtomicU64,
}

impl Tags {
    /// How many there may be.
    pub const LIMIT: usize = 256;

    /// Makes a table with [`Tag::SCOPE`] alone.
    pub fn new() -> Self {
        let tags = Self((0..Self::LIMIT).map(|_| OnceLock::new()).collect());
        tags.0[Tag::SCOPE.index()].get_or_init(|| Entry::new("scope"));
        tags
    }

    /// Returns the tag of this name, which is that of the first time.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyTags`]: there are 256 others.
    pub fn intern(&self, name: &'static str) -> Result<Tag, Error> {
        for (entry, index) in self.0.iter().zip(0..=u8::MAX) {
            if entry.get_or_init(|| Entry::new(name)).name == name {
                return Ok(Tag(index));
            }
        }
        Err(Error::TooManyTags { limit: Self::LIMIT })
    }

    /// Returns its name; `unknown` if it is of another table.
    pub fn name(&self, tag: Tag) -> &'static str {
        self.entry(tag).map_or("unknown", |entry| entry.name)
    }

    /// Frees blocks of this tag once they are so old, even if their owner is open: whoever still has such a block finds
    /// it freed.
    ///
    /// That is looked after while the instance is idle, and when its garbage is collected.
    pub fn expire(&self, tag: Tag, age: Duration) {
        if let Some(entry) = self.entry(tag) {
            let age = u64::try_from(age.as_nanos()).unwrap_or(NEVER);
            entry.expiry.store(age, Ordering::Relaxed);
        }
    }

    /// Counts the blocks of this tag that were freed because their owner was closed.
    pub fn swept(&self, tag: Tag) -> u64 {
        self.entry(tag)
            .map_or(0, |entry| entry.swept.load(Ordering::Relaxed))
    }

    /// Counts the blocks of this tag that were freed because of their age.
    pub fn expired(&self, tag: Tag) -> u64 {
        self.entry(tag)
            .map_or(0, |entry| entry.expired.load(Ordering::Relaxed))
    }

    /// Returns those that there are.
    pub fn iter(&self) -> impl Iterator<Item = Tag> {
        let known = self.0.iter().zip(0..=u8::MAX);
        known
            .take_while(|(entry, _)| entry.get().is_some())
            .map(|(_, index)| Tag(index))
    }

    pub(crate) fn is_expired(&self, tag: Tag, age: u64) -> bool {
        let expiry = self
            .entry(tag)
            .map_or(NEVER, |entry| entry.expiry.load(Ordering::Relaxed));
        expiry != NEVER && age >= expiry
    }

    pub(crate) fn count_swept(&self, tag: Tag) {
        if let Some(entry) = self.entry(tag) {
            entry.swept.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_expired(&self, tag: Tag) {
        if let Some(entry) = self.entry(tag) {
            entry.expired.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn entry(&self, tag: Tag) -> Option<&Entry> {
        self.0[tag.index()].get()
    }
}

impl Default for Tags {
    fn default() -> Self {
        Self::new()
    }
}

const NEVER: u64 = u64::MAX;

impl Entry {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            swept: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            expiry: AtomicU64::new(NEVER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn name(number: usize) -> &'static str {
        Box::leak(format!("tag{number}").into_boxed_str())
    }

    #[test]
    fn there_are_256_of_them_and_no_more() {
        let tags = Tags::new();
        let names: Vec<_> = (1..Tags::LIMIT).map(name).collect();
        for (number, name) in names.iter().enumerate() {
            let tag = tags.intern(name).unwrap();
            assert_eq!(tag.index(), number + 1);
            assert_eq!(tags.name(tag), *name);
        }
        let refused = tags.intern("another").unwrap_err();
        assert!(matches!(refused, Error::TooManyTags { limit: 256 }));
        assert_eq!(
            tags.intern(names[254]).unwrap().index(),
            255,
            "known ones are still found"
        );
        assert_eq!(tags.iter().count(), 256);
        assert_eq!(Tags::new().name(Tag(255)), "unknown");
    }

    #[test]
    fn threads_that_intern_at_once_agree() {
        let tags = Tags::new();
        let names: Vec<_> = (0..40).map(name).collect();
        let all: Vec<Vec<Tag>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|turn| {
                    let (tags, names) = (&tags, &names);
                    scope.spawn(move || {
                        let order = (0..40).map(|step| (step + turn * 10) % 40);
                        let mut found = vec![Tag::SCOPE; 40];
                        for at in order {
                            found[at] = tags.intern(names[at]).unwrap();
                        }
                        found
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|tags| *tags == all[0]));
        assert!(
            all[0]
                .iter()
                .zip(&names)
                .all(|(tag, name)| tags.name(*tag) == *name)
        );
        assert_eq!(tags.iter().count(), 41);
    }
}
