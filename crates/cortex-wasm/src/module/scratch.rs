use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{env, fs, process};

/// A place for a directory of one test, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let path = env::temp_dir().join(format!("cortex-wasm-{}-{number}", process::id()));
        drop(fs::remove_dir_all(&path)); // of a process before us that had the same number
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the names of its files, in order.
    pub(super) fn files(&self) -> Vec<String> {
        let files = fs::read_dir(&self.0).expect("the directory was made");
        let names = files.map(|file| {
            file.expect("it can be read")
                .file_name()
                .into_string()
                .expect("text")
        });
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
