/// The last four bytes that passed; empty lines before the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail([u8; 4]);

impl Default for Tail {
    fn default() -> Self {
        Self([b'\n'; 4])
    }
}

impl Tail {
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = *last;
        } else {
            for byte in bytes {
                self.0 = [self.0[1], self.0[2], self.0[3], *byte];
            }
        }
    }

    /// Says whether these end with an empty line, as the head of a request does (RFC 9112, section 2.2).
    #[inline]
    pub(crate) const fn ends_head(self) -> bool {
        matches!(self.0, [_, b'\n', b'\r', b'\n'] | [_, _, b'\n', b'\n'])
    }

    /// Says whether these end with an empty line, as an event does: a line ends in CR LF, LF or CR (HTML, 9.2.5).
    pub(crate) const fn ends_event(self) -> bool {
        self.ends_head() || matches!(self.0, [_, _, b'\r' | b'\n', b'\r'] | [_, b'\r', b'\n', b'\n'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(chunks: &[&str]) -> Tail {
        let mut tail = Tail::default();
        for chunk in chunks {
            tail.push(chunk.as_bytes());
        }
        tail
    }

    #[test]
    fn an_event_ends_with_an_empty_line_however_it_is_cut() {
        for (chunks, ends) in [
            (&[][..], true),
            (&["data: a"], false),
            (&["data: a\n"], false),
            (&["data: a\n\n"], true),
            (&["data: a\n", "\n"], true),
            (&["data: a\r\n"], false),
            (&["data: a\r\n\r\n"], true),
            (&["data: a\r", "\n", "\r", "\n"], true),
            (&["data: a\r\r"], true),
            (&["data: a\n\n", "d"], false),
            (&["data: a\n\n", ""], true),
            (&["a", "b", "c", "d", "\n", "\n"], true),
        ] {
            assert_eq!(after(chunks).ends_event(), ends, "{chunks:?}");
        }
    }

    #[test]
    fn a_head_ends_with_an_empty_line_of_its_own_kind() {
        for (chunks, ends) in [
            (&["host: a\r\n\r\n"][..], true),
            (&["host: a\r\n\r", "\n"], true),
            (&["host: a\n\n"], true),
            (&["host: a\r\n"], false),
            (&["host: a\r\r"], false),
            (&["host: a\r\n\r\nG"], false),
        ] {
            assert_eq!(after(chunks).ends_head(), ends, "{chunks:?}");
        }
    }
}
