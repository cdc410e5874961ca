use std::fmt;
use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::artifact::{self, ArtifactName, HEADER, Verified};

/// How a finished file and one that is being written end.
const FINISHED: &str = "artifact";
const PARTIAL: &str = "partial";

/// Compiled modules in a directory, so that a service that starts again need not compile them again.
///
/// An artifact is machine code, and loading it runs it: so each is sealed with a key, under a name that hashes all it
/// depends on (the module, the version of the compiler, its settings, the processor). One that was changed, cut off, or
/// put in the place of another is never loaded: it is removed, counted, and compiled anew. Who can write to the
/// directory but does not know the key can cost time, and for a moment the memory that one file may take; who knows the
/// key can run code in this process. Keep it out of the directory, and out of the reach of guests.
///
/// Clones share one cache, and processes may share the directory if they share the key. A cache that cannot be read or
/// written is as good as none: compiling goes on, and [`stats`](Self::stats) tells.
///
/// # Examples
///
/// ```
/// use cortex_wasm::ArtifactCache;
///
/// let key = [7; 32]; // a secret of this service
/// let cache = ArtifactCache::new("/var/cache/thumbnails", key).max_bytes(256 << 20);
/// assert_eq!(cache.stats().hits, 0);
/// assert!(!format!("{cache:?}").contains("7, 7"));
/// ```
#[derive(Clone)]
pub struct ArtifactCache {
    directory: Arc<Path>,
    key: [u8; 32],
    max_bytes: u64,
    counters: Arc<Counters>,
}

/// What an [`ArtifactCache`] has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArtifactStats {
    /// Artifacts that were loaded.
    pub hits: u64,
    /// Modules that were compiled since they were not there.
    pub misses: u64,
    /// Artifacts that were there but not what was sealed; they were removed.
    pub rejected: u64,
    /// Artifacts that were written.
    pub stored: u64,
    /// Artifacts that were removed because the directory was full.
    pub evicted: u64,
    /// Files that could not be read, written or removed, and artifacts larger than the whole cache may be.
    pub failures: u64,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    rejected: AtomicU64,
    stored: AtomicU64,
    evicted: AtomicU64,
    failures: AtomicU64,
}

/// What was found under a name.
#[derive(Debug)]
pub(super) enum Found {
    Artifact(Verified),
    Nothing,
    /// Something that was not sealed by us under this name.
    Rejected,
}

impl ArtifactCache {
    /// Keeps artifacts in `directory`, which is made when the first one is written, sealed with `key`.
    ///
    /// Up to 1 GiB of them, unless [`max_bytes`](Self::max_bytes) says otherwise.
    pub fn new(directory: impl Into<PathBuf>, key: [u8; 32]) -> Self {
        Self {
            directory: directory.into().into(),
            key,
            max_bytes: 1 << 30,
            counters: Arc::default(),
        }
    }

    /// Bounds the bytes of all files together: the oldest are removed to make room.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Returns what it has done.
    pub fn stats(&self) -> ArtifactStats {
        let counters = &*self.counters;
        ArtifactStats {
            hits: counters.hits.load(Relaxed),
            misses: counters.misses.load(Relaxed),
            rejected: counters.rejected.load(Relaxed),
            stored: counters.stored.load(Relaxed),
            evicted: counters.evicted.load(Relaxed),
            failures: counters.failures.load(Relaxed),
        }
    }

    /// Reads an artifact.
    pub(super) fn find(&self, name: ArtifactName) -> Found {
        let path = self.path(name);
        match self.read(&path, name) {
            Ok(Some(verified)) => {
                self.counters.hits.fetch_add(1, Relaxed);
                Found::Artifact(verified)
            }
            Ok(None) => {
                self.reject(name);
                Found::Rejected
            }
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    self.fail();
                }
                Found::Nothing
            }
        }
    }

    /// Removes an artifact that is not what it should be.
    pub(super) fn reject(&self, name: ArtifactName) {
        self.counters.rejected.fetch_add(1, Relaxed);
        self.remove(&self.path(name));
    }

    /// Writes an artifact, and makes room for it.
    pub(super) fn store(&self, name: ArtifactName, code: &[u8]) {
        let size = (HEADER + code.len()) as u64;
        match self.write(name, code, size) {
            Ok(()) => {
                self.counters.stored.fetch_add(1, Relaxed);
            }
            Err(_) => self.fail(),
        }
    }

    /// Counts a module that had to be compiled since it was not there.
    pub(super) fn miss(&self) {
        self.counters.misses.fetch_add(1, Relaxed);
    }

    /// Counts something that could not be done.
    pub(super) fn fail(&self) {
        self.counters.failures.fetch_add(1, Relaxed);
    }

    fn path(&self, name: ArtifactName) -> PathBuf {
        self.directory
            .join(name.to_hex().as_ref())
            .with_extension(FINISHED)
    }

    fn read(&self, path: &Path, name: ArtifactName) -> io::Result<Option<Verified>> {
        // Before it is opened: to open a pipe would wait for whoever writes to it.
        if !fs::symlink_metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        if length > self.max_bytes {
            return Ok(None);
        }
        match artifact::open(&mut file, length, &self.key, name) {
            // It became shorter meanwhile.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            read => read,
        }
    }

    fn write(&self, name: ArtifactName, code: &[u8], size: u64) -> io::Result<()> {
        if size > self.max_bytes {
            return Err(ErrorKind::FileTooLarge.into());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        self.make_room(size)?;
        let partial = self.partial(name);
        // Not synced: a file that a crash of the machine left half written is rejected.
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)
            .and_then(|file| {
                let mut file = io::BufWriter::new(file);
                artifact::seal(&mut file, &self.key, name, code)?;
                file.flush()
            })
            // All at once: who reads sees all of it or nothing.
            .and_then(|()| fs::rename(&partial, self.path(name)));
        written.inspect_err(|_| self.remove(&partial))
    }

    /// Returns the path of a file that nobody else writes.
    fn partial(&self, name: ArtifactName) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let stem = format!("{}-{}-{number}", name.to_hex().as_ref(), process::id());
        self.directory.join(stem).with_extension(PARTIAL)
    }

    /// Removes the oldest files until `size` bytes more are not too many. Files that are not ours are left alone.
    fn make_room(&self, size: u64) -> io::Result<()> {
        let mut files = Vec::new();
        let mut total = size;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // One that another process removed meanwhile needs no room.
            if let (true, Ok(metadata)) = (is_ours(&entry), entry.metadata()) {
                total += metadata.len();
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort_unstable();
        for (_, length, path) in files {
            if total <= self.max_bytes {
                break;
            }
            total -= length;
            self.remove(&path);
            self.counters.evicted.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => self.fail(),
            _ => {}
        }
    }
}

/// Whether a file of the directory is one of a cache: a hash and one of our endings.
fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let path = Path::new(&name);
    let has_ending = path
        .extension()
        .is_some_and(|ending| ending == FINISHED || ending == PARTIAL);
    let hash = name.as_encoded_bytes().get(..2 * blake3::OUT_LEN);
    has_ending && hash.is_some_and(|hash| hash.iter().all(u8::is_ascii_hexdigit))
}

/// Without the key.
impl fmt::Debug for ArtifactCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArtifactCache")
            .field("directory", &self.directory)
            .field("max_bytes", &self.max_bytes)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    const KEY: [u8; 32] = [7; 32];

    fn name(number: u8) -> ArtifactName {
        ArtifactName::new(&[number], &wasmer::Engine::default(), "")
    }

    fn code(found: Found) -> Vec<u8> {
        match found {
            Found::Artifact(verified) => verified.into_code(),
            found => panic!("{found:?}"),
        }
    }

    /// Makes a file look as if it were written at that second.
    fn date(cache: &ArtifactCache, name: ArtifactName, second: u64) {
        let file = File::options()
            .append(true)
            .open(cache.path(name))
            .expect("it is there");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        file.set_modified(time).expect("a date can be set");
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn what_is_stored_is_found() {
        let scratch = Scratch::new();
        let cache = ArtifactCache::new(scratch.path(), KEY);
        assert!(matches!(cache.find(name(1)), Found::Nothing));
        cache.store(name(1), b"one");
        cache.store(name(2), b"two");
        cache.store(name(1), b"one again");
        assert_eq!(code(cache.clone().find(name(1))), b"one again");
        assert_eq!(code(cache.find(name(2))), b"two");
        assert_eq!(
            cache.stats(),
            ArtifactStats {
                hits: 2,
                stored: 3,
                ..ArtifactStats::default()
            }
        );
        assert_eq!(scratch.files().len(), 2, "{:?}", scratch.files());
        assert_eq!((mode(scratch.path()), mode(&cache.path(name(1)))), (0o700, 0o600));
    }

    #[test]
    fn what_was_changed_is_removed() {
        let scratch = Scratch::new();
        let cache = ArtifactCache::new(scratch.path(), KEY);
        cache.store(name(1), b"one");
        cache.store(name(2), b"two");
        // One of ours, in the place of another.
        fs::rename(cache.path(name(2)), cache.path(name(1))).unwrap();
        assert!(matches!(cache.find(name(1)), Found::Rejected));
        assert!(matches!(cache.find(name(1)), Found::Nothing));
        fs::write(cache.path(name(1)), "").unwrap();
        assert!(matches!(cache.find(name(1)), Found::Rejected));
        assert_eq!(cache.stats().rejected, 2);
        assert_eq!((cache.stats().hits, cache.stats().failures), (0, 0));
    }

    #[test]
    fn another_key_opens_nothing() {
        let scratch = Scratch::new();
        ArtifactCache::new(scratch.path(), [8; 32]).store(name(1), b"one");
        let cache = ArtifactCache::new(scratch.path(), KEY);
        assert!(matches!(cache.find(name(1)), Found::Rejected));
        assert_eq!(scratch.files(), [""; 0]);
    }

    #[test]
    fn only_a_plain_file_is_read() {
        let scratch = Scratch::new();
        let cache = ArtifactCache::new(scratch.path(), KEY);
        cache.store(name(1), b"one");
        symlink(cache.path(name(1)), cache.path(name(2))).unwrap();
        assert!(matches!(cache.find(name(2)), Found::Rejected));
        assert!(!cache.path(name(2)).is_symlink());
        fs::create_dir(cache.path(name(3))).unwrap();
        assert!(matches!(cache.find(name(3)), Found::Rejected));
        assert_eq!(cache.stats().failures, 1); // a directory is not removed
        assert_eq!(code(cache.find(name(1))), b"one");
    }

    #[test]
    fn the_oldest_make_room() {
        let scratch = Scratch::new();
        let size = (HEADER + 4) as u64;
        let cache = ArtifactCache::new(scratch.path(), KEY).max_bytes(3 * size);
        for (number, second) in [(1, 30), (2, 10), (3, 20)] {
            cache.store(name(number), b"code");
            date(&cache, name(number), second);
        }
        assert_eq!(cache.stats().evicted, 0);
        cache.store(name(4), b"code");
        assert_eq!(cache.stats().evicted, 1);
        assert!(matches!(cache.find(name(2)), Found::Nothing));
        date(&cache, name(4), 40);
        cache.store(name(5), b"codecode");
        assert_eq!(cache.stats().evicted, 3);
        for (number, stays) in [(1, false), (3, false), (4, true), (5, true)] {
            assert_eq!(
                matches!(cache.find(name(number)), Found::Artifact(_)),
                stays,
                "{number}"
            );
        }
    }

    #[test]
    fn what_others_put_there_stays_and_does_not_count() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path()).unwrap();
        let hash = name(9).to_hex().as_ref().to_owned();
        let others = [format!("{hash}.txt"), "notes.artifact".to_owned()];
        let left = format!("{hash}-1-0.partial");
        for file in others.iter().chain([&left]) {
            fs::write(scratch.path().join(file), [0; 100]).unwrap();
        }
        let cache = ArtifactCache::new(scratch.path(), KEY).max_bytes((HEADER + 4) as u64);
        cache.store(name(1), b"code");
        // The half file of a process that died is one of ours.
        assert_eq!(cache.stats().evicted, 1);
        let mut expected = others.to_vec();
        expected.push(format!("{}.artifact", name(1).to_hex().as_ref()));
        expected.sort();
        assert_eq!(scratch.files(), expected);
    }

    #[test]
    fn one_that_is_too_large_evicts_nobody() {
        let scratch = Scratch::new();
        let cache = ArtifactCache::new(scratch.path(), KEY).max_bytes((HEADER + 4) as u64);
        cache.store(name(1), b"code");
        cache.store(name(2), b"codes");
        assert_eq!(code(cache.find(name(1))), b"code");
        assert_eq!((cache.stats().failures, cache.stats().evicted), (1, 0));
        // Nor is one read that somebody else put there.
        let larger = ArtifactCache::new(scratch.path(), KEY);
        larger.store(name(2), b"codes");
        assert!(matches!(cache.find(name(2)), Found::Rejected));
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_as_good_as_none() {
        let scratch = Scratch::new();
        fs::write(scratch.path(), "a file").unwrap();
        let cache = ArtifactCache::new(scratch.path().join("cache"), KEY);
        cache.store(name(1), b"one");
        assert!(matches!(cache.find(name(1)), Found::Nothing));
        assert_eq!(cache.stats().failures, 2);
        fs::remove_file(scratch.path()).unwrap();
    }
}
