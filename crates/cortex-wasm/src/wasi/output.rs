use super::config::Sink;
use std::fmt;
use std::sync::Arc;

/// A line that a guest has printed.
#[derive(Clone, Copy, Debug)]
pub struct OutputLine<'a> {
    stream: Stream,
    text: &'a str,
    is_cut: bool,
}

/// Where a guest prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// For results.
    Stdout,
    /// For what went wrong.
    Stderr,
}

impl<'a> OutputLine<'a> {
    /// Returns where it was printed.
    pub const fn stream(&self) -> Stream {
        self.stream
    }

    /// Returns it without its end. Whatever is not UTF-8 is replaced; other characters are as the guest has them, which
    /// may steer a terminal.
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// Tells whether there was more of it, which was too long.
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// What an instance has printed of lines that haven't ended, and which of its three files are open.
pub(crate) struct Streams {
    sink: Option<Arc<Sink>>,
    line_bytes: usize,
    lines: [Line; 2],
    open: [bool; 3],
}

#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Streams {
    pub(super) fn new(sink: Option<Arc<Sink>>, line_bytes: usize) -> Self {
        Self {
            sink,
            line_bytes,
            lines: Default::default(),
            open: [true; 3],
        }
    }

    pub(crate) fn is_open(&self, fd: u32) -> bool {
        self.open.get(fd as usize).is_some_and(|is_open| *is_open)
    }

    pub(super) fn close(&mut self, fd: u32) {
        if let Some(is_open) = self.open.get_mut(fd as usize) {
            *is_open = false;
        }
    }

    /// Prints bytes, of which there may be more that are not to be printed.
    pub(super) fn print(&mut self, stream: Stream, bytes: &[u8], is_cut: bool) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(end) => {
                    self.add(stream, end);
                    self.hand_over(stream);
                }
                None => self.add(stream, part),
            }
        }
        self.lines[stream as usize].is_cut |= is_cut;
    }

    /// Hands over what has no end yet.
    pub(crate) fn end(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = &self.lines[stream as usize];
            if line.is_cut || !line.bytes.is_empty() {
                self.hand_over(stream);
            }
        }
    }

    fn add(&mut self, stream: Stream, bytes: &[u8]) {
        let line = &mut self.lines[stream as usize];
        let room = self.line_bytes.saturating_sub(line.bytes.len()).min(bytes.len());
        line.is_cut |= room < bytes.len();
        if self.sink.is_some() {
            line.bytes.extend_from_slice(&bytes[..room]);
        }
    }

    fn hand_over(&mut self, stream: Stream) {
        let line = std::mem::take(&mut self.lines[stream as usize]);
        let Some(sink) = &self.sink else { return };
        let bytes = line.bytes.strip_suffix(b"\r").unwrap_or(&line.bytes);
        sink(&OutputLine {
            stream,
            text: &String::from_utf8_lossy(bytes),
            is_cut: line.is_cut,
        });
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
