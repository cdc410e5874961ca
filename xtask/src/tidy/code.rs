//! Reads Rust just well enough for the rules: what is a comment, what is text, where an item ends.

/// Blanks comments and the insides of literals out; lines stay where they are.
pub(crate) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = token(&chars, at);
        let hidden = end > at + 1;
        for &c in &chars[at..end] {
            out.push(if hidden && c != '\n' { ' ' } else { c });
        }
        if hidden && matches!(chars[at], '"' | 'r' | 'b' | 'c' | '\'') {
            // Something stays, so that a literal is not taken for nothing.
            let last = out.len() - 1;
            if out.ends_with(' ') {
                out.replace_range(last.., "0");
            }
        }
        at = end;
    }
    out
}

/// Returns where the comment or literal that starts at `at` ends, or `at + 1` if there is none.
fn token(chars: &[char], at: usize) -> usize {
    let peek = |n: usize| chars.get(at + n).copied().unwrap_or('\0');
    match peek(0) {
        '/' if peek(1) == '/' => find(chars, at, |rest| rest[0] == '\n'),
        '/' if peek(1) == '*' => block_comment(chars, at),
        '"' => string(chars, at + 1),
        '\'' => char_literal(chars, at),
        'b' | 'c' | 'r' if !at.checked_sub(1).is_some_and(|before| is_word(chars[before])) => {
            prefixed(chars, at)
        }
        _ => at + 1,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn find(chars: &[char], from: usize, is_end: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len())
        .find(|&at| is_end(&chars[at..]))
        .unwrap_or(chars.len())
}

fn block_comment(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut at = at;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// Finds the end of a string whose opening quote lies before `at`.
fn string(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// Tells a character from a lifetime or a label.
fn char_literal(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => (find(chars, at + 3, |rest| rest[0] == '\'') + 1).min(chars.len()),
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

/// Finds the end of `b".."`, `c".."`, `r".."`, `br#".."#` and `b'x'`.
fn prefixed(chars: &[char], at: usize) -> usize {
    let letters = chars[at..]
        .iter()
        .take(2)
        .take_while(|c| "bcr".contains(**c))
        .count();
    let raw = chars[at..at + letters].contains(&'r');
    let start = at + letters;
    let hashes = if raw {
        chars[start..].iter().take_while(|c| **c == '#').count()
    } else {
        0
    };
    match chars.get(start + hashes) {
        Some('"') if raw => {
            let closes = |rest: &[char]| {
                rest[0] == '"' && rest[1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
            };
            (find(chars, start + hashes + 1, closes) + 1 + hashes).min(chars.len())
        }
        Some('"') => string(chars, start + 1),
        Some('\'') if !raw && letters == 1 => char_literal(chars, start),
        _ => at + 1,
    }
}

/// Removes each item that is marked `#[cfg(test)]`, together with its lines.
///
/// Takes and returns code whose literals are blanked out.
pub(super) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let line = rest[..at].rfind('\n').map_or(0, |line| line + 1);
        out += &rest[..line];
        let after = &rest[at + MARK.len()..];
        let after = &after[item(after)..];
        rest = after.strip_prefix('\n').unwrap_or(after);
    }
    out + rest
}

/// Returns the length of the item at the start of `code`: up to its `;`, or the end of its braces.
pub(super) fn item(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' && !is_use(code) {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The braces of a `use` do not end it.
fn is_use(code: &str) -> bool {
    let mut words = code.split_whitespace();
    words
        .find(|word| !word.starts_with("pub") && !word.ends_with(')'))
        .is_some_and(|word| word == "use")
}

/// Splits code, whose literals are blanked out, into its items, without attributes.
pub(super) fn items(code: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut rest = code.trim_start();
    while !rest.is_empty() {
        if let Some(after) = attribute(rest) {
            rest = after.trim_start();
            continue;
        }
        let (item, after) = rest.split_at(item(rest));
        items.push(item.trim());
        rest = after.trim_start();
    }
    items
}

/// Returns what follows the attribute at the start of `code`, if there is one.
fn attribute(code: &str) -> Option<&str> {
    let open = code.strip_prefix("#!").or_else(|| code.strip_prefix('#'))?;
    let mut depth = 0_usize;
    for (at, c) in open.char_indices() {
        match c {
            '[' => depth += 1,
            ']' if depth == 1 => return Some(&open[at + 1..]),
            ']' => depth -= 1,
            _ => {}
        }
    }
    Some("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_comments_and_literals() {
        for (text, blanked) in [
            ("a // b \"\nc", "a       \nc"),
            ("a /* b /* c */ \n d */ e", "a              \n      e"),
            (r#"f("x\"}", 1)"#, "f(     0, 1)"),
            (r##"r#"{"}"# + b"{""##, "       0 +    0"),
            ("'{' + '\\'' + b'}'", "  0 +    0 +    0"),
            ("fn f<'a>(x: &'a u8) {}", "fn f<'a>(x: &'a u8) {}"),
            ("for_each(b) + r#type", "for_each(b) + r#type"),
            ("\"open", "    0"),
            ("/* open", "       "),
        ] {
            assert_eq!(blank(text), blanked, "{text}");
        }
    }

    #[test]
    fn a_literal_of_the_last_kind_ends_at_the_end() {
        for text in ["'", "'\\", "b'", "r#", "r#\"", "b\"", "c", "\"\\"] {
            let _ = blank(text);
        }
    }

    #[test]
    fn removes_tests_and_nothing_else() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { c(); }\n}\nfn d() {}\n";
        assert_eq!(without_tests(code), "fn a() {}\nfn d() {}\n");
        let code = "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nuse a::{b, c};\nfn d() {}\n";
        assert_eq!(without_tests(code), "fn d() {}\n");
        let code = "#[cfg(feature = 0)]\nfn a() {}\n";
        assert_eq!(without_tests(code), code);
    }

    #[test]
    fn splits_into_items() {
        let code = "#![x]\nmod a;\n#[cfg(y[0])]\npub use b::{c, d};\npub(crate) use e::{f};\nfn g() { h(); }\nstruct I;\n";
        assert_eq!(
            items(code),
            [
                "mod a;",
                "pub use b::{c, d};",
                "pub(crate) use e::{f};",
                "fn g() { h(); }",
                "struct I;"
            ]
        );
    }
}
