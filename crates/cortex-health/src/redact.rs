use std::borrow::Cow;

/// The most characters that are kept of a message; what an error said is bounded by nobody else.
pub(crate) const MESSAGE: usize = 512;

/// Masks what looks like a secret in what an error said, and cuts it to so many characters that it may go anywhere. What
/// checks say has gone through it.
///
/// Masked are the user information of URLs (`scheme://user:***@host`) and the values of `password=`, `passwd=`, `pwd=`,
/// `secret=`, `token=` and `apikey=`. It errs on the side of masking too much: a password may hold a `/` or an `@`.
///
/// It looks at all of the text, so that no cut can hide what makes a secret one: call it where the text comes from, and
/// not where others wait.
///
/// # Examples
///
/// ```
/// use cortex_health::redact;
///
/// let error = "connect to postgres://shop:hunter2@db:5432/shop: refused";
/// assert_eq!(redact(error, 512), "connect to postgres://shop:***@db:5432/shop: refused");
/// ```
pub fn redact(text: &str, longest: usize) -> String {
    let masked = mask_assignments(&mask_urls(text)).into_owned();
    match masked.char_indices().nth(longest) {
        Some((end, _)) => format!("{}...", &masked[..end]),
        None => masked,
    }
}

fn mask_urls(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let end = after.find(ends_url).unwrap_or(after.len());
        let (url, tail) = after.split_at(end);
        masked.push_str(&mask_user_info(url));
        rest = tail;
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')
}

/// Masks what stands before the last `@` of a URL without its scheme.
fn mask_user_info(url: &str) -> Cow<'_, str> {
    let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
    let Some(at) = url.rfind('@') else {
        return Cow::Borrowed(url);
    };
    match url[..at].find(':') {
        Some(colon) => Cow::Owned(format!("{}:***{}", &url[..colon], &url[at..])),
        None if at < authority => Cow::Owned(format!("***{}", &url[at..])), // a user alone may be a token
        None => Cow::Borrowed(url),                                         // an `@` of the path
    }
}

const KEYS: [&str; 6] = ["password", "passwd", "pwd", "secret", "token", "apikey"];

/// Masks the values of `key=value` pairs as in `host=db password=...`.
fn mask_assignments(text: &str) -> Cow<'_, str> {
    if !text.contains('=') {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let (before, after) = rest.split_at(at + 1);
        masked.push_str(before);
        rest = after;
        if is_secret(before[..at].trim_end()) {
            let value = after.trim_start();
            let end = match value.chars().next() {
                Some(quote @ ('\'' | '"')) => value[1..].find(quote).map_or(value.len(), |end| end + 2),
                _ => value
                    .find(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | ',' | '"' | '\''))
                    .unwrap_or(value.len()),
            };
            masked.push_str("***");
            rest = &value[end..];
        }
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

fn is_secret(before: &str) -> bool {
    let ends_with = |key: &str| {
        let start = before.len().checked_sub(key.len());
        start
            .and_then(|start| before.get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(key))
    };
    KEYS.iter().any(|key| ends_with(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn masks_what_looks_like_a_secret() {
        let table = [
            ("connection refused", "connection refused"),
            (
                "postgres://app:hunter2@db:5432/shop refused",
                "postgres://app:***@db:5432/shop refused",
            ),
            ("postgres://app:hun/ter@2@db/shop", "postgres://app:***@db/shop"),
            ("redis://:hunter2@cache", "redis://:***@cache"),
            ("https://0123abcd@sentry/42", "https://***@sentry/42"),
            (
                "\"amqp://u:hunter2@q\" and 'a://b:hunter2@c'",
                "\"amqp://u:***@q\" and 'a://b:***@c'",
            ),
            ("http://host/users/@me", "http://host/users/@me"),
            ("http://host:80/", "http://host:80/"),
            ("://", "://"),
            (
                "host=db password=hunter2 user=app",
                "host=db password=*** user=app",
            ),
            (
                "Server=db;Password = hunter2;Pooling=on",
                "Server=db;Password =***;Pooling=on",
            ),
            ("passwd='hunter 2' x", "passwd=*** x"),
            ("pwd='hunter2", "pwd=***"),
            (
                "http://h/?db_password=hunter2&x=1",
                "http://h/?db_password=***&x=1",
            ),
            ("token=", "token=***"),
            ("élan=1", "élan=1"),
        ];
        for (message, expected) in table {
            assert_eq!(redact(message, MESSAGE), expected);
        }
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(redact(&"é".repeat(MESSAGE), MESSAGE), "é".repeat(MESSAGE));
        assert_eq!(
            redact(&"é".repeat(MESSAGE + 1), MESSAGE),
            format!("{}...", "é".repeat(MESSAGE))
        );
    }

    proptest! {
        #[test]
        fn no_password_of_a_url_survives(
            before in "[a-z =:/@'\"]{0,20}",
            user in "[a-z]{0,8}",
            password in "[A-Z][A-Z0-9/@:#?%]{0,12}",
            after in "[a-z =:/']{0,20}",
        ) {
            let message = format!("{before} pg://{user}:{password}@host{after}");
            let masked = redact(&message, MESSAGE);
            prop_assert!(!masked.contains(&password), "{} became {}", message, masked);
        }

        #[test]
        fn any_text_is_bounded(text in "\\PC{0,700}") {
            prop_assert!(redact(&text, MESSAGE).chars().count() <= MESSAGE * 2);
        }
    }
}
