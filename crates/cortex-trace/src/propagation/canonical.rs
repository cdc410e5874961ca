//! The fast way to say yes to a `tracestate`: as most senders write it, in one pass over its bytes.

use super::tracestate::{KEY, KEY_FIRST, LENGTH, MEMBERS, VALUE, class};

/// Says whether a header value can be sent on as it is: valid members with keys that differ, joined with commas, without
/// white space around them and without empty ones.
///
/// May say no to a value that is fine, as it does not compare keys but only a sketch of each.
pub(super) fn is_canonical(list: &[u8]) -> bool {
    let mut rest = list;
    let mut seen = 0_u64;
    for _ in 0..MEMBERS {
        let Some((key, after)) = cut(rest, KEY) else {
            return false;
        };
        let sketch = 1_u64 << sketch(key);
        let [b'=', after @ ..] = after else {
            return false;
        };
        if class(key[0]) & KEY_FIRST == 0 || seen & sketch != 0 {
            return false;
        }
        seen |= sketch;
        match cut(after, VALUE) {
            Some(([.., b' '], _)) | None => return false,
            Some((_, [])) => return true,
            Some((_, [b',', next @ ..])) => rest = next,
            Some(_) => return false,
        }
    }
    false
}

/// Cuts off the 1 to 256 bytes of a class that a list starts with.
#[inline]
fn cut(list: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let length = list
        .iter()
        .position(|byte| class(*byte) & wanted == 0)
        .unwrap_or(list.len());
    (1..=LENGTH).contains(&length).then(|| list.split_at(length))
}

/// Returns one of 64 numbers, the same for the same key.
#[inline]
fn sketch(key: &[u8]) -> u32 {
    let (first, last) = (key[0], key[key.len() - 1]);
    let middle = key[key.len() / 2];
    let mixed = u32::from_le_bytes([first, last, middle, key.len().to_le_bytes()[0]]);
    mixed.wrapping_mul(0x9e37_79b1) >> 26 // the highest bits depend on all others
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn says_yes_to_what_is_usual() {
        let most = (0..MEMBERS).map(|n| format!("{}=v", "k".repeat(n + 1)));
        for list in [
            "a=1",
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "ot=th:c;rv:d2000000000000,b=x",
            "a=  1,0@b= !~",
            &format!("{}={}", "k".repeat(256), "v".repeat(256)),
            &most.take(8).collect::<Vec<_>>().join(","),
        ] {
            assert!(is_canonical(list.as_bytes()), "{list}");
        }
    }

    #[test]
    fn says_no_to_what_has_to_be_changed_or_refused() {
        for list in [
            "",
            ",",
            " a=1",
            "a=1 ",
            "a=1,",
            ",a=1",
            "a=1,,b=2",
            "a=1, b=2",
            "a=1 ,b=2",
            "a=1\t",
            "a=1,a=2",
            "a",
            "a=",
            "=1",
            "a=1=2",
            "a =1",
            "_a=1",
            "A=1",
            "a=é",
            &format!("{}=1", "k".repeat(257)),
            &format!("a={}", "v".repeat(257)),
        ] {
            assert!(!is_canonical(list.as_bytes()), "{list}");
        }
        assert!(!is_canonical(b"a=\xff"));
        assert!(!is_canonical(&b",".repeat(64 << 10)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// What it says yes to has members with one `=` each, keys that differ, and bytes that the grammar allows.
        #[test]
        fn a_yes_is_right(members in proptest::collection::vec("[ab@]{0,2}=?[ab =]{0,2}", 0..5)) {
            let list = members.join(",");
            let parts: Vec<Vec<&str>> = list.split(',').map(|member| member.split('=').collect()).collect();
            let keys: std::collections::HashSet<_> = parts.iter().map(|member| member[0]).collect();
            let fine = |member: &Vec<&str>| {
                member.len() == 2
                    && member[0].starts_with(|c: char| c.is_ascii_lowercase())
                    && !member[0].contains(' ')
                    && !member[1].is_empty()
                    && !member[1].ends_with(' ')
            };
            let right = keys.len() == parts.len() && parts.iter().all(fine);
            prop_assert!(right || !is_canonical(list.as_bytes()), "{:?}", list);
        }
    }
}
