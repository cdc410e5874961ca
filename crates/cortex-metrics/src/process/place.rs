use std::fs;
use std::path::PathBuf;

/// Where the files are: `/proc`, or what a test puts in its place.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    /// Whether the size of `fd`, if there is one, counts its entries.
    counted: bool,
}

impl Place {
    /// Returns the place in this system, unless it has none.
    pub(super) fn system() -> Option<Self> {
        cfg!(any(target_os = "linux", target_os = "android")).then(|| Self {
            root: PathBuf::from("/proc"),
            counted: true,
        })
    }

    /// Reads a file, whole and as bytes: the kernel does not promise text.
    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.root.join(path)).ok()
    }

    /// Counts the open file descriptors.
    ///
    /// Since Linux 6.2 the size of the folder is their number: one call whatever it is, also allowed to a process
    /// whose files belong to root because it may not be dumped. Before, the folder has no size and is read.
    pub(super) fn open_fds(&self) -> Option<u64> {
        let folder = self.root.join("self/fd");
        match fs::metadata(&folder).ok()?.len() {
            count @ 1.. if self.counted => Some(count),
            _ => Some((fs::read_dir(&folder).ok()?.count() as u64).saturating_sub(1)), // without the one that reads
        }
    }

    #[cfg(test)]
    pub(super) fn folder(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            counted: false,
        }
    }
}
