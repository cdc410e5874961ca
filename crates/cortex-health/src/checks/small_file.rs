use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most that is read of a file of the kernel; those that are read here have a few kilobytes.
const MOST: u64 = 64 << 10;

/// Reads a file of the kernel; what is longer is cut.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Returns the number in a file, if there is a file and a number in it.
pub(super) fn number(path: &Path) -> Option<u64> {
    read(path).ok()?.trim().parse().ok()
}

/// Returns the number after a word at the beginning of a line: `Word: 7 kB` or `word 7`.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        if !rest.starts_with([' ', '\t']) {
            return None; // a longer word
        }
        rest.split_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_whole_word() {
        let text = "active_file 3\nfile 7\nMemTotal:       16 kB\nodd\nbad x\n";
        assert_eq!(field(text, "file"), Some(7));
        assert_eq!(field(text, "MemTotal"), Some(16));
        for none in ["active", "odd", "bad", "Mem", "none"] {
            assert_eq!(field(text, none), None, "{none}");
        }
    }
}
