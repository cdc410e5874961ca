/// Says whether a check or a group may have this name: it goes into URLs, metric labels and log lines as it is.
pub(crate) const fn is_valid(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > 64 || !bytes[0].is_ascii_alphanumeric() {
        return false;
    }
    let mut at = 1;
    while at < bytes.len() {
        if !matches!(bytes[at], b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b':') {
            return false;
        }
        at += 1;
    }
    true
}

/// The rule of [`is_valid`], for error messages.
pub(crate) const RULE: &str =
    "a name is 1 to 64 ASCII letters, digits, `_`, `-`, `.` or `:` and starts with a letter or a digit";

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn names_fit_urls_and_labels() {
        for good in ["db", "0", "db:replica-1.eu_west", &"x".repeat(64)] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            "-db",
            "..",
            "a b",
            "a/b",
            "a\"b",
            "naïve",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
