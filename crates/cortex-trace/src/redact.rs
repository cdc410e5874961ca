//! Fields whose values are secret, which the names say.

use std::cmp::Ordering;
#[cfg(any(feature = "bridge", feature = "otlp"))]
use std::{error::Error, fmt};

#[cfg(any(feature = "bridge", feature = "otlp"))]
use tracing::field::{Field, Visit};

/// The names of the fields whose values are nobody's business.
#[derive(Clone, Debug)]
pub(crate) struct Redact {
    /// In lower case, with `_` for every `-`; sorted.
    names: Vec<Box<str>>,
    /// The first bytes of the names, by their low bits: most fields are told apart by these.
    firsts: u64,
    /// The lengths of the names, likewise.
    lengths: u64,
}

/// What stands in place of a secret.
#[cfg(any(feature = "bridge", feature = "otlp"))]
const HIDDEN: &str = "[redacted]";

/// What is secret without being told.
///
/// The list stands in the documentation of `JsonLogs`, too.
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
    pub(crate) const fn nothing() -> Self {
        Self {
            names: Vec::new(),
            firsts: 0,
            lengths: 0,
        }
    }

    pub(crate) fn add<N: AsRef<str>>(&mut self, names: impl IntoIterator<Item = N>) {
        for name in names {
            let name = normal(name.as_ref()).into_boxed_str();
            if let Err(at) = self.names.binary_search(&name) {
                self.firsts |= first_bit(&name);
                self.lengths |= length_bit(&name);
                self.names.insert(at, name);
            }
        }
    }

    /// Forgets all names and takes these.
    pub(crate) fn only<N: AsRef<str>>(&mut self, names: impl IntoIterator<Item = N>) {
        *self = Self::nothing();
        self.add(names);
    }

    /// Says whether a field, whose name may be a path, is secret; allocates nothing if the name is ASCII.
    #[inline]
    pub(crate) fn covers(&self, field: &str) -> bool {
        let start = field
            .bytes()
            .rposition(|byte| byte == b'.')
            .map_or(0, |dot| dot + 1);
        let last = &field[start..];
        self.firsts & first_bit(last) != 0 && self.has(last)
    }

    fn has(&self, name: &str) -> bool {
        if !name.is_ascii() {
            let name = normal(name).into_boxed_str();
            return self.names.binary_search(&name).is_ok();
        }
        if self.lengths & length_bit(name) == 0 {
            return false;
        }
        let order = |known: &str| -> Ordering { known.bytes().cmp(name.bytes().map(normal_byte)) };
        self.names.binary_search_by(|known| order(known)).is_ok()
    }
}

/// Returns where a name is noted by how it begins; the same for all ways to write it.
const fn first_bit(name: &str) -> u64 {
    match name.as_bytes() {
        [first, ..] if first.is_ascii() => 1 << (normal_byte(*first) & 63),
        [_, ..] => u64::MAX, // lower case may begin with another byte
        [] => 1 << 63,
    }
}

/// The same for all ways to write a name in ASCII.
const fn length_bit(name: &str) -> u64 {
    1 << (name.len() & 63)
}

const fn normal_byte(byte: u8) -> u8 {
    match byte {
        b'-' => b'_',
        byte => byte.to_ascii_lowercase(),
    }
}

fn normal(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// Passes fields on, and something else in place of the values of those that are secret.
#[cfg(any(feature = "bridge", feature = "otlp"))]
pub(crate) struct Hide<'a, V> {
    redact: &'a Redact,
    /// Names that start like this are no fields but mean something.
    meaningful: &'static str,
    visitor: &'a mut V,
}

#[cfg(any(feature = "bridge", feature = "otlp"))]
impl<'a, V: Visit> Hide<'a, V> {
    pub(crate) const fn new(redact: &'a Redact, visitor: &'a mut V) -> Self {
        Self::but(redact, "\0", visitor)
    }

    /// Leaves fields alone whose names start with `meaningful`.
    pub(crate) const fn but(redact: &'a Redact, meaningful: &'static str, visitor: &'a mut V) -> Self {
        Self {
            redact,
            meaningful,
            visitor,
        }
    }

    #[inline]
    fn pass(&mut self, field: &Field, pass: impl FnOnce(&mut V)) {
        let name = field.name();
        if self.redact.covers(name) && !name.starts_with(self.meaningful) {
            self.visitor.record_str(field, HIDDEN);
        } else {
            pass(self.visitor);
        }
    }
}

#[cfg(any(feature = "bridge", feature = "otlp"))]
impl<V: Visit> Visit for Hide<'_, V> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.pass(field, |visitor| visitor.record_f64(field, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.pass(field, |visitor| visitor.record_i64(field, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.pass(field, |visitor| visitor.record_u64(field, value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.pass(field, |visitor| visitor.record_i128(field, value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.pass(field, |visitor| visitor.record_u128(field, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.pass(field, |visitor| visitor.record_bool(field, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.pass(field, |visitor| visitor.record_str(field, value));
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.pass(field, |visitor| visitor.record_bytes(field, value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.pass(field, |visitor| visitor.record_error(field, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.pass(field, |visitor| visitor.record_debug(field, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segment_decides_in_any_case() {
        let mut redact = Redact::default();
        redact.add(["Card-Number", "ÄÖ", "key"]);
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
            ("Äö", true),
            ("\u{212a}ey", true), // the sign of kelvin is a K
            ("password.length", false),
            ("passwords", false),
            ("password_changed_at", false),
            ("tokens", false),
            ("cart", false), // begins like a cookie, and is as long as nothing
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
        assert!(OBVIOUS.is_sorted());
        for name in OBVIOUS {
            assert_eq!(normal(name), name);
            assert!(Redact::default().covers(name));
        }
    }
}
