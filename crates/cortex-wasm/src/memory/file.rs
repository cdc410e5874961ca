#![expect(unsafe_code, reason = "lends the bytes of a file that is mapped")]

use super::map::Map;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, MemfdFlags, SealFlags};
use rustix::io::{self, Errno};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file in memory that nobody can change any more.
#[derive(Debug)]
pub(super) struct SealedFile {
    file: OwnedFd,
    length: usize,
    id: FileId,
}

/// Which file it is, of all that this process ever had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(u64);

impl SealedFile {
    pub(super) fn new(bytes: &[u8]) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = fs::memfd_create("cortex-wasm-image", flags)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            match io::write(&file, rest) {
                Ok(0) => return Err(Errno::IO),
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fs::fcntl_add_seals(&file, seals)?;
        Ok(Self {
            file,
            length: bytes.len(),
            id: FileId(NEXT.fetch_add(1, Ordering::Relaxed)),
        })
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Maps it to be read. The file may be closed then.
    pub(super) fn read(&self) -> io::Result<FileBytes> {
        Map::of_file(self.file.as_fd(), self.length).map(FileBytes)
    }
}

impl AsFd for SealedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The bytes of a sealed file.
#[derive(Debug)]
pub(super) struct FileBytes(Map);

impl FileBytes {
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the map is readable, as long as the file, and stays as it is: the file is sealed, and nobody else
        // has the map.
        unsafe { slice::from_raw_parts(self.0.base().as_ptr(), self.0.length()) }
    }
}
