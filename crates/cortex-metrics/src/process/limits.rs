/// The soft limits in `/proc/self/limits`, those that are in force.
#[derive(Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) open_files: Option<f64>,
    pub(super) address_space: Option<f64>,
}

impl Limits {
    pub(super) fn parse(content: &[u8]) -> Self {
        Self {
            open_files: soft(content, b"Max open files "),
            address_space: soft(content, b"Max address space "),
        }
    }
}

/// Returns infinity for what is not limited.
fn soft(content: &[u8], name: &[u8]) -> Option<f64> {
    let mut lines = content.split(|&byte| byte == b'\n');
    let values = lines.find_map(|line| line.strip_prefix(name))?;
    match str::from_utf8(values).ok()?.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        #[expect(clippy::cast_precision_loss, reason = "a gauge; exact below 2^53")]
        number => number.parse().ok().map(|limit: u64| limit as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limits_are_read() {
        let content = b"\
Limit                     Soft Limit           Hard Limit           Units     \n\
Max cpu time              unlimited            unlimited            seconds   \n\
Max open files            1024                 524288               files     \n\
Max address space         unlimited            unlimited            bytes     \n\
Max nice priority         0                    0                    \n";
        let expected = Limits {
            open_files: Some(1024.0),
            address_space: Some(f64::INFINITY),
        };
        assert_eq!(Limits::parse(content), expected);
    }

    #[test]
    fn a_bad_limit_leaves_the_other() {
        for bad in [
            &b""[..],
            b"Max open files",
            b"Max open files  \n",
            b"Max open files   -1 5 files\n",
            b"Max open files   0x10 5 files\n",
            b"Max open files   99999999999999999999 5 files\n",
            b"Max open files   \xff 5 files\n",
            b"max open files   1 5 files\n",
        ] {
            let content = [bad, b"\nMax address space 4096 unlimited bytes"].concat();
            let expected = Limits {
                open_files: None,
                address_space: Some(4096.0),
            };
            assert_eq!(Limits::parse(&content), expected, "{}", bad.escape_ascii());
        }
    }
}
