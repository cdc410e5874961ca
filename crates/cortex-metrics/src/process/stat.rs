/// How many ticks Linux counts as a second in what it tells programs.
///
/// It is `USER_HZ`, part of the kernel's interface and not its timer frequency: 100 on every architecture that Rust
/// builds for; musl returns the same constant for `sysconf(_SC_CLK_TCK)`.
pub(super) const TICKS_PER_SECOND: f64 = 100.0;

/// What `/proc/self/stat` says; what is missing or no number is nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stat {
    /// In user mode and in the kernel, all threads together, those that ended included.
    pub(super) cpu_ticks: Option<u64>,
    pub(super) threads: Option<u64>,
    /// Since the machine was booted.
    pub(super) start_ticks: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
}

impl Stat {
    /// Reads `1 (name) R 0 ..`.
    ///
    /// The name is whatever the program chose, with spaces, parentheses, newlines, and bytes that are not UTF-8; only
    /// numbers come after its last parenthesis.
    pub(super) fn parse(content: &[u8]) -> Self {
        let name_end = content.iter().rposition(|&byte| byte == b')');
        let Some(numbers) = name_end.and_then(|at| str::from_utf8(&content[at + 1..]).ok()) else {
            return Self::default();
        };
        let mut fields = numbers.split_ascii_whitespace();
        // As proc_pid_stat(5) numbers them; the state, the first after the name, is 3.
        let mut next = 3;
        let mut field = |number: usize| -> Option<u64> {
            let value = fields.nth(number - next)?.parse().ok();
            next = number + 1;
            value
        };
        let (user, system) = (field(14), field(15));
        Self {
            cpu_ticks: user
                .zip(system)
                .and_then(|(user, system)| user.checked_add(system)),
            threads: field(20),
            start_ticks: field(22),
            virtual_bytes: field(23),
        }
    }
}

/// Returns the second in which the machine was booted, since the epoch, from `/proc/stat`.
pub(super) fn boot_seconds(content: &[u8]) -> Option<u64> {
    let mut lines = content.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(b"btime "))?;
    str::from_utf8(value).ok()?.trim_ascii().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NUMBERS: &str =
        "S 1 2 3 0 -1 4194304 99 0 0 0 150 50 7 8 20 0 12 0 1137066 3133440 360 18446744073709551615";

    const EXPECTED: Stat = Stat {
        cpu_ticks: Some(200),
        threads: Some(12),
        start_ticks: Some(1_137_066),
        virtual_bytes: Some(3_133_440),
    };

    fn with_name(name: &[u8]) -> Vec<u8> {
        [b"42 (", name, b") ", NUMBERS.as_bytes(), b"\n"].concat()
    }

    #[test]
    fn names_do_not_confuse() {
        for name in [
            &b"plain"[..],
            b"",
            b"two words",
            b"a) R 9 9 (b",
            b"((()))",
            b") ",
            b"line\nend",
            b"\xff\xfe\x80",
        ] {
            assert_eq!(Stat::parse(&with_name(name)), EXPECTED, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn what_is_missing_or_no_number_is_nothing() {
        for content in [
            &b""[..],
            b"42",
            b"42 (name",
            b"42 (name)",
            b"42 (name) \xff",
            b")",
        ] {
            assert_eq!(
                Stat::parse(content),
                Stat::default(),
                "{}",
                content.escape_ascii()
            );
        }
        let up_to_threads = &with_name(b"x")[..b"42 (x) ".len() + NUMBERS.find(" 1137066").unwrap()];
        let cut = Stat::parse(up_to_threads);
        assert_eq!((cut.cpu_ticks, cut.threads), (Some(200), Some(12)));
        assert_eq!((cut.start_ticks, cut.virtual_bytes), (None, None));

        let odd = NUMBERS.replace(" 150 ", " many ").replace(" 3133440 ", " -1 ");
        let odd = Stat::parse(format!("42 (x) {odd}").as_bytes());
        assert_eq!((odd.cpu_ticks, odd.virtual_bytes), (None, None));
        assert_eq!((odd.threads, odd.start_ticks), (Some(12), Some(1_137_066)));

        let huge = NUMBERS.replace(" 150 ", &format!(" {} ", u64::MAX));
        assert_eq!(Stat::parse(format!("42 (x) {huge}").as_bytes()).cpu_ticks, None);
        // Newer kernels may add more.
        assert_eq!(
            Stat::parse(format!("42 (x) {NUMBERS} 1 2 x y").as_bytes()),
            EXPECTED
        );
    }

    #[test]
    fn the_boot_is_found_among_counts() {
        let content = b"cpu  1 2 3\nintr 9 btime 3\nctxt 4\nbtime 1753700000\nprocesses 5\n";
        assert_eq!(boot_seconds(content), Some(1_753_700_000));
        assert_eq!(boot_seconds(b"btime 7"), Some(7));
        for content in [
            &b""[..],
            b"btime \n",
            b"btime x\n",
            b"btime -1\n",
            b"xbtime 1\n",
            b"btime \xff\n",
        ] {
            assert_eq!(boot_seconds(content), None, "{}", content.escape_ascii());
        }
    }

    /// The auxiliary vector, which the kernel gives each program, says how many ticks this machine counts.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[test]
    fn this_machine_counts_as_many_ticks() {
        const AT_CLKTCK: u64 = 17;
        let vector = std::fs::read("/proc/self/auxv").unwrap();
        let words: Vec<u64> = vector
            .as_chunks::<8>()
            .0
            .iter()
            .map(|word| u64::from_ne_bytes(*word))
            .collect();
        let entry = words
            .as_chunks::<2>()
            .0
            .iter()
            .find(|entry| entry[0] == AT_CLKTCK);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small whole number"
        )]
        let expected = TICKS_PER_SECOND as u64;
        assert_eq!(entry.unwrap()[1], expected);
    }

    proptest! {
        #[test]
        fn any_name_is_skipped(name in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(Stat::parse(&with_name(&name)), EXPECTED);
        }

        #[test]
        fn nothing_panics(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&content);
            let _ = boot_seconds(&content);
        }
    }
}
