#[cfg(unix)]
use std::fs::Metadata;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::rotate::{finish, rotate};
use super::{Exporter, ExporterStart, otlp_json};
use crate::{ExportError, Resource, SpanData};

/// Appends spans to a file as OTLP/JSON lines, and starts a new file before one grows too large.
///
/// Each line is an OTLP export request of its own, `{"resourceSpans":[..]}`, and always whole: what a full disk or a
/// crash cut off is taken back. The full file `traces.jsonl` becomes `traces.jsonl.1`, that one `.2`, and so on.
/// A write that fails is tried again once, on a file opened afresh, before its spans count as failed; shutting down
/// waits until everything is on the disk.
///
/// A full file that cannot be moved away, as it is mounted alone or somebody holds it open, takes more until it is
/// twice as large as it should be; only then spans fail. [`Tracer::last_errors`](crate::Tracer::last_errors) tells at
/// once, and each batch tries again. No older file goes for a rotation that fails, nor for one that a crash cuts off:
/// `traces.jsonl.rotating`, if it is there, gets its number next time.
///
/// Keep two processes from writing to one path: each would move the other's files away.
///
/// # Examples
///
/// ```
/// use cortex_trace::{OtlpJsonFile, Tracer};
/// use std::time::Duration;
///
/// let path = std::env::temp_dir().join(format!("cortex-{}-doc.jsonl", std::process::id()));
/// let tracer = Tracer::builder("shop")
///     .export(OtlpJsonFile::rotating(&path, 64 << 20, 5)?)
///     .build()?;
/// tracer.span("restock").start().end();
/// tracer.shutdown_blocking(Duration::from_secs(60))?;
/// assert!(std::fs::read_to_string(&path)?.starts_with(r#"{"resourceSpans":[{"resource":"#));
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct OtlpJsonFile {
    path: PathBuf,
    max_bytes: u64,
    keep: usize,
    resource: Resource,
    /// Closed after an error, and opened again by the next batch.
    file: Option<Lines>,
    line: String,
    /// What went wrong with the batch: of what failed, or of moving a full file away.
    error: Option<io::Error>,
}

impl OtlpJsonFile {
    /// Opens `path` for appending; before it grows beyond `max_bytes` it is moved away, and the newest `keep` of the
    /// moved files stay. Only a single span that is larger than `max_bytes` makes a larger file.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or `max_bytes` is zero.
    pub fn rotating(path: impl Into<PathBuf>, max_bytes: u64, keep: usize) -> io::Result<Self> {
        if max_bytes == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a file needs more than 0 bytes",
            ));
        }
        let path = path.into();
        let file = Lines::open(&path)?;
        // If this fails, the next rotation tries again, and tells.
        let _ = finish(&path, keep);
        Ok(Self {
            file: Some(file),
            path,
            max_bytes,
            keep,
            resource: Resource::default(),
            line: String::new(),
            error: None,
        })
    }

    /// Writes a batch as one line, or as several if that were larger than a file; returns how many spans failed.
    fn write(&mut self, batch: &[&SpanData]) -> u64 {
        self.line.clear();
        otlp_json::line(&mut self.line, &self.resource, batch);
        if self.line.len() as u64 > self.max_bytes && batch.len() > 1 {
            let (first, second) = batch.split_at(batch.len() / 2);
            return self.write(first) + self.write(second);
        }
        let written = self.append().or_else(|_| {
            self.file = None;
            self.append()
        });
        match written {
            Ok(()) => 0,
            Err(error) => {
                self.error = Some(error);
                batch.len() as u64
            }
        }
    }

    fn append(&mut self) -> io::Result<()> {
        // Whoever moves or removes the file, an operator or a log rotation, wants a new one.
        let mut file = match self.file.take().filter(|file| file.is_at(&self.path)) {
            Some(file) => file,
            None => Lines::open(&self.path)?,
        };
        if file.length > 0 && file.length + self.line.len() as u64 > self.max_bytes {
            file.file.sync_data()?;
            drop(file);
            let rotated = rotate(&self.path, self.keep);
            file = Lines::open(&self.path)?;
            if let Err(error) = rotated {
                let error = io::Error::new(error.kind(), format!("move the full file away: {error}"));
                let most = self.max_bytes.saturating_mul(2);
                if file.length > 0 && file.length + self.line.len() as u64 > most {
                    return Err(error);
                }
                self.error = Some(error);
            }
        }
        file.append(self.line.as_bytes())?;
        self.file = Some(file);
        Ok(())
    }
}

impl Exporter for OtlpJsonFile {
    fn name(&self) -> &'static str {
        "otlp json file"
    }

    fn begin(&mut self, start: ExporterStart<'_>) {
        self.resource.clone_from(start.resource);
    }

    fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
        let failed = self.write(batch);
        match self.error.take() {
            None => Ok(()),
            Some(error) => Err(ExportError::from(error).only(failed, 0)),
        }
    }

    fn shutdown(&mut self) -> Result<(), ExportError> {
        match &self.file {
            Some(file) => Ok(file.file.sync_all()?),
            None => Ok(()), // what failed has been counted
        }
    }
}

/// A file of whole lines.
#[derive(Debug)]
struct Lines {
    file: File,
    length: u64,
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        refuse_what_is_not_ours(&mut file)?;
        let length = whole_lines(&mut file)?;
        file.set_len(length)?;
        Ok(Self { file, length })
    }

    /// Says whether this is still the file that the path names.
    #[cfg(unix)]
    fn is_at(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;

        let same = |ours: Metadata, named: Metadata| (ours.dev(), ours.ino()) == (named.dev(), named.ino());
        self.file
            .metadata()
            .and_then(|ours| Ok(same(ours, std::fs::metadata(path)?)))
            .unwrap_or(false)
    }

    /// Says whether the path names a file; elsewhere than on Unix an open one cannot be moved.
    #[cfg(not(unix))]
    fn is_at(&self, path: &Path) -> bool {
        path.exists()
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        match self.file.write_all(line) {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // If this fails too, opening the file again takes the rest back.
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }
}

/// Fails for a file that does not begin as ours do: its last line would be cut off.
fn refuse_what_is_not_ours(file: &mut File) -> io::Result<()> {
    const BEGINNING: &[u8] = br#"{"resourceSpans":"#;
    let mut beginning = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    Read::by_ref(file)
        .take(BEGINNING.len() as u64)
        .read_to_end(&mut beginning)?;
    if BEGINNING.starts_with(&beginning) {
        return Ok(());
    }
    let message = "the file holds something else than spans: name another one";
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// Returns the length up to and with the last line end.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        file.seek(SeekFrom::Start(start))?;
        let block = &mut block[..usize::try_from(end - start).expect("invariant: at most a block")];
        file.read_exact(block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
