/// Returns the resident memory from `/proc/self/status`.
///
/// `/proc/self/stat` has it, too, but in pages, whose size would have to come from elsewhere.
pub(super) fn resident_bytes(content: &[u8]) -> Option<u64> {
    // The name of the program comes first, in a line of its own: its newlines are escaped here.
    let mut lines = content.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(b"VmRSS:"))?;
    let kilobytes = str::from_utf8(value).ok()?.trim_ascii().strip_suffix(" kB")?;
    kilobytes.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_found_behind_any_name() {
        let content = |name: &[u8]| {
            [
                b"Name:\t",
                name,
                b"\nState:\tR (running)\nVmSize:\t    9000 kB\nVmRSS:\t    2180 kB\nRssAnon:\t 1 kB\n",
            ]
            .concat()
        };
        for name in [&b"shop"[..], b"VmRSS:\t1 kB", b"a\\nVmRSS:\t1 kB", b"\xff) ("] {
            assert_eq!(
                resident_bytes(&content(name)),
                Some(2180 * 1024),
                "{}",
                name.escape_ascii()
            );
        }
    }

    #[test]
    fn what_is_no_size_is_nothing() {
        for content in [
            &b""[..],
            b"VmRSS:",
            b"VmRSS:\t kB",
            b"VmRSS:\t12",
            b"VmRSS:\t12 MB",
            b"VmRSS:\t-1 kB",
            b"VmRSS:\t18446744073709551615 kB",
            b"VmRSS:\t\xff kB",
            b"Name:\tzombie\nThreads:\t1\n",
        ] {
            assert_eq!(resident_bytes(content), None, "{}", content.escape_ascii());
        }
    }
}
