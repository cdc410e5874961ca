use std::collections::BTreeSet;

/// The names of the fields whose values are nobody's business.
#[derive(Clone, Debug)]
pub(super) struct Redact {
    /// In lower case, with `_` for every `-`.
    names: BTreeSet<Box<str>>,
}

/// What is secret without being told.
///
/// The list stands in the documentation of [`JsonLogs`](super::JsonLogs), too.
const OBVIOUS: [&str; 19] = [
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "client_secret",
    "cookie",
    "credentials",
    "id_token",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxy_authorization",
    "pwd",
    "refresh_token",
    "secret",
    "set_cookie",
    "token",
    "x_api_key",
];

impl Default for Redact {
    fn default() -> Self {
        let mut redact = Self::nothing();
        redact.add(OBVIOUS);
        redact
    }
}

impl Redact {
    pub(super) const fn nothing() -> Self {
        Self {
            names: BTreeSet::new(),
        }
    }

    pub(super) fn add<N: AsRef<str>>(&mut self, names: impl IntoIterator<Item = N>) {
        let names = names.into_iter().map(|name| normal(name.as_ref()));
        self.names.extend(names.map(String::into_boxed_str));
    }

    /// Says whether a field, whose name may be a path, is secret.
    pub(super) fn covers(&self, field: &str) -> bool {
        let last = field.rsplit('.').next().unwrap_or(field);
        self.names.contains(normal(last).as_str())
    }
}

fn normal(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segment_decides_in_any_case() {
        let mut redact = Redact::default();
        redact.add(["Card-Number", "ÄÖ"]);
        for (field, is_secret) in [
            ("password", true),
            ("PASSWORD", true),
            ("user.password", true),
            ("http.request.header.authorization", true),
            ("http.request.header.set-cookie", true),
            ("Set-Cookie", true),
            ("x-api-key", true),
            ("card_number", true),
            ("card-number", true),
            ("payment.CARD_NUMBER", true),
            ("äö", true),
            ("password.length", false),
            ("passwords", false),
            ("password_changed_at", false),
            ("tokens", false),
            ("user", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(redact.covers(field), is_secret, "{field}");
        }
        assert!(!Redact::nothing().covers("password"));
    }

    #[test]
    fn the_list_is_in_the_form_that_is_looked_up() {
        for name in OBVIOUS {
            assert_eq!(normal(name), name);
            assert!(Redact::default().covers(name));
        }
    }
}
