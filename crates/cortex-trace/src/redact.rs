//! Fields and parameters whose values are secret, which the names say.

use std::cmp::Ordering;
#[cfg(any(feature = "bridge", all(feature = "otlp", feature = "logs")))]
use std::{error::Error, fmt};

#[cfg(any(feature = "bridge", all(feature = "otlp", feature = "logs")))]
use tracing::field::{Field, Visit};

/// The names of the fields whose values are nobody's business.
#[derive(Clone, Debug)]
pub(crate) struct Redact {
    /// In lower case, with `_` for every `-`; sorted.
    names: Vec<Box<str>>,
    /// How the names end: most fields are told apart by that, wherever their last segment begins.
    endings: u64,
}

/// What stands in place of a secret.
#[cfg(any(feature = "bridge", all(feature = "otlp", feature = "logs")))]
const HIDDEN: &str = "[redacted]";

/// The fields of a span that are no attributes, and so no secrets.
///
/// The list stands in the documentation of `TraceLayer`, too.
#[cfg(any(feature = "bridge", all(feature = "otlp", feature = "logs")))]
const MEANINGFUL: [&str; 5] = [
    "otel.kind",
    "otel.name",
    "otel.status_code",
    "otel.status_description",
    "otel.status_message",
];

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

/// What in the query of an address is as good as a password, by the semantic conventions.
const SIGNATURES: [&str; 7] = [
    "AWSAccessKeyId",
    "Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Goog-Signature",
    "sig",
];

impl Default for Redact {
    fn default() -> Self {
        let mut redact = Self::nothing();
        redact.add(OBVIOUS);
        redact
    }
}

impl Redact {
    /// The names of the parameters in the query of an address that are secret.
    pub(crate) fn of_queries() -> Self {
        let mut redact = Self::default();
        redact.add(SIGNATURES);
        redact
    }

    pub(crate) const fn nothing() -> Self {
        Self {
            names: Vec::new(),
            endings: 0,
        }
    }

    pub(crate) fn add<N: AsRef<str>>(&mut self, names: impl IntoIterator<Item = N>) {
        for name in names {
            let name = normal(name.as_ref()).into_boxed_str();
            if let Err(at) = self.names.binary_search(&name) {
                self.endings |= known_ending(&name);
                self.names.insert(at, name);
            }
        }
    }

    /// Forgets all names and takes these.
    #[cfg(any(feature = "bridge", feature = "logs"))]
    pub(crate) fn only<N: AsRef<str>>(&mut self, names: impl IntoIterator<Item = N>) {
        *self = Self::nothing();
        self.add(names);
    }

    /// Says whether a field, whose name may be a path, is secret; allocates nothing if the name is ASCII.
    #[inline]
    pub(crate) fn covers(&self, field: &str) -> bool {
        self.endings & ending(field) != 0 && self.has(field)
    }

    /// Looks for the last segment, the last two, and so on.
    fn has(&self, field: &str) -> bool {
        let starts = field.rmatch_indices('.').map(|(dot, _)| dot + 1);
        starts.chain([0]).any(|start| self.is_known(&field[start..]))
    }

    fn is_known(&self, name: &str) -> bool {
        if !name.is_ascii() {
            let name = normal(name).into_boxed_str();
            return self.names.binary_search(&name).is_ok();
        }
        let order = |known: &str| -> Ordering { known.bytes().cmp(name.bytes().map(normal_byte)) };
        self.names.binary_search_by(|known| order(known)).is_ok()
    }
}

/// Returns where it is noted that a name ends like this, in any case of its letters.
///
/// Everywhere if two bytes don't say it: of a path they may belong to two segments, and a letter that is not ASCII may be
/// another one in lower case.
#[inline]
const fn ending(name: &str) -> u64 {
    match name.as_bytes() {
        [.., a, b] if a.is_ascii() && b.is_ascii() => 1 << (((*a & 31) * 7 + (*b & 31)) & 63),
        _ => u64::MAX,
    }
}

/// Returns how fields may end whose name this is.
fn known_ending(name: &str) -> u64 {
    match name.as_bytes() {
        [.., _, b'_'] | [.., b'_', _] => u64::MAX, // a field may have `-` there
        _ => ending(name),
    }
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
#[cfg(any(feature = "bridge", all(feature = "otlp", feature = "logs")))]
pub(crate) struct Hide<'a, V> {
    redact: &'a Redact,
    /// Whether the fields in [`MEANINGFUL`] are no attributes.
    spares_meaningful: bool,
    visitor: &'a mut V,
}

#[cfg(any(feature = "bridge", all(feature = "otlp", feature = "logs")))]
impl<'a, V: Visit> Hide<'a, V> {
    pub(crate) const fn new(redact: &'a Redact, visitor: &'a mut V) -> Self {
        Self {
            redact,
            spares_meaningful: false,
            visitor,
        }
    }

    /// Makes one for the fields of a span, some of which are no attributes but have a meaning.
    #[cfg(feature = "bridge")]
    pub(crate) const fn of_span(redact: &'a Redact, visitor: &'a mut V) -> Self {
        Self {
            redact,
            spares_meaningful: true,
            visitor,
        }
    }

    #[inline]
    fn pass(&mut self, field: &Field, pass: impl FnOnce(&mut V)) {
        let name = field.name();
        if self.redact.covers(name) && !(self.spares_meaningful && MEANINGFUL.contains(&name)) {
            self.visitor.record_str(field, HIDDEN);
        } else {
            pass(self.visitor);
        }
    }
}

#[cfg(any(feature = "bridge", all(feature = "otlp", feature = "logs")))]
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_covers_what_ends_like_it() {
        let mut redact = Redact::nothing();
        redact.add(["user.Name"]);
        let covered = [
            "user.name",
            "enduser.name",
            "end.user.NAME",
            "name",
            "user.name.first",
        ];
        assert_eq!(
            covered.map(|field| redact.covers(field)),
            [true, false, true, false, false]
        );
    }

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
            ("cart", false),
            ("lichen", false), // ends like a token
            ("user", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(redact.covers(field), is_secret, "{field}");
        }
        assert!(!Redact::nothing().covers("password"));
    }

    proptest! {
        #[test]
        fn how_a_field_ends_hides_no_secret(
            names in proptest::collection::vec("[kK_-]{0,3}|[a-cé._-]{0,4}", 0..4),
            field in "[kK\u{212a}_.-]{0,4}|[A-Ca-céÉ._-]{0,6}",
        ) {
            let mut redact = Redact::nothing();
            redact.add(&names);
            let field_is = |name: &String| {
                let (field, name) = (normal(&field), normal(name));
                field == name || field.ends_with(&format!(".{name}"))
            };
            let is_secret = names.iter().any(field_is);
            prop_assert_eq!(redact.covers(&field), is_secret);
        }
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
