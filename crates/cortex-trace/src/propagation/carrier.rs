use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Something that trace context can be read from: the headers of a request, of a message, of an event.
///
/// Implemented for [`HeaderMap`], for maps from names to values, and for slices and vectors of pairs. A name may stand in
/// any case, as in HTTP, and in pairs any number of times; two spellings in a map are two values, as of two lines.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::{Extractor, FieldValue, extract};
/// use http::HeaderName;
///
/// /// A message of a queue, with the headers that its client library hands out.
/// struct Message { headers: Vec<Header> }
/// struct Header { key: String, value: Vec<u8> }
///
/// impl Extractor for Message {
///     fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>> {
///         let of_field = |header: &&Header| header.key.eq_ignore_ascii_case(field.as_str());
///         self.headers.iter().filter(of_field).map(|header| FieldValue::from(&header.value[..]))
///     }
/// }
///
/// let header = Header {
///     key: "traceparent".to_owned(),
///     value: b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec(),
/// };
/// assert!(extract(&Message { headers: vec![header] }).is_some());
/// ```
pub trait Extractor {
    /// Returns all values of a field in the order in which they came.
    ///
    /// A carrier that has a field twice must show both values: which of two traces is meant cannot be guessed.
    fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>>;
}

/// Something that trace context can be written into: the headers of a request, of a message, of an event.
///
/// Implemented for [`HeaderMap`], for maps from names to values, and for vectors of pairs. Names are written in lowercase,
/// in place of all other spellings.
///
/// # Examples
///
/// ```
/// use cortex_trace::Tracer;
/// use std::collections::BTreeMap;
///
/// let span = Tracer::propagate_only().span("publish").start();
/// let mut attributes: BTreeMap<String, String> = BTreeMap::new();
/// span.inject(&mut attributes);
/// assert_eq!(attributes["traceparent"].len(), 55);
///
/// let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
/// span.inject(&mut headers);
/// assert_eq!(headers[0].0, "traceparent");
/// ```
pub trait Injector {
    /// Sets a field to this one value, in place of all that it had.
    fn set(&mut self, field: &HeaderName, value: &str);

    /// Removes all values of a field.
    fn remove(&mut self, field: &HeaderName);

    /// Sets a field to a value that is there already; carriers of HTTP headers take it without a copy.
    ///
    /// The value is visible ASCII, spaces and tabs.
    fn set_shared(&mut self, field: &HeaderName, value: &HeaderValue) {
        if let Ok(value) = value.to_str() {
            self.set(field, value);
        }
    }
}

/// A value that an [`Extractor`] found: bytes that may be anything.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::FieldValue;
///
/// assert_eq!(FieldValue::from("1").as_bytes(), b"1");
/// assert_eq!(FieldValue::from(&b"\xff"[..]).as_bytes(), b"\xff");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FieldValue<'a> {
    source: Source<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Bytes(&'a [u8]),
    /// Can be kept without a copy.
    Header(&'a HeaderValue),
}

impl<'a> FieldValue<'a> {
    /// Returns the bytes.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        match self.source {
            Source::Bytes(bytes) => bytes,
            Source::Header(value) => value.as_bytes(),
        }
    }

    /// Returns the value as one of HTTP, if it can be one.
    #[inline]
    pub(super) fn to_header_value(self) -> Option<HeaderValue> {
        match self.source {
            Source::Bytes(bytes) => HeaderValue::from_bytes(bytes).ok(),
            Source::Header(value) => Some(value.clone()),
        }
    }
}

impl<'a> From<&'a str> for FieldValue<'a> {
    fn from(value: &'a str) -> Self {
        Self::from(value.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for FieldValue<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self {
            source: Source::Bytes(value),
        }
    }
}

impl<'a> From<&'a HeaderValue> for FieldValue<'a> {
    #[inline]
    fn from(value: &'a HeaderValue) -> Self {
        Self {
            source: Source::Header(value),
        }
    }
}

impl<E: Extractor + ?Sized> Extractor for &E {
    fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>> {
        (**self).values(field)
    }
}

impl<I: Injector + ?Sized> Injector for &mut I {
    fn set(&mut self, field: &HeaderName, value: &str) {
        (**self).set(field, value);
    }

    fn remove(&mut self, field: &HeaderName) {
        (**self).remove(field);
    }

    fn set_shared(&mut self, field: &HeaderName, value: &HeaderValue) {
        (**self).set_shared(field, value);
    }
}

impl Extractor for HeaderMap {
    #[inline]
    fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>> {
        self.get_all(field).into_iter().map(FieldValue::from)
    }
}

impl Injector for HeaderMap {
    #[inline]
    fn set(&mut self, field: &HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.insert(field, value);
        }
    }

    #[inline]
    fn remove(&mut self, field: &HeaderName) {
        Self::remove(self, field);
    }

    #[inline]
    fn set_shared(&mut self, field: &HeaderName, value: &HeaderValue) {
        self.insert(field, value.clone());
    }
}

impl<K, V, S> Extractor for HashMap<K, V, S>
where
    K: Borrow<str> + Hash + Eq,
    V: AsRef<[u8]>,
    S: BuildHasher,
{
    fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>> {
        let of_field = move |(name, value): (&'a K, &'a V)| {
            is_named(name, field).then(|| FieldValue::from(value.as_ref()))
        };
        self.iter().filter_map(of_field)
    }
}

impl<K, V, S> Injector for HashMap<K, V, S>
where
    K: Borrow<str> + Hash + Eq + for<'s> From<&'s str>,
    V: for<'s> From<&'s str>,
    S: BuildHasher,
{
    fn set(&mut self, field: &HeaderName, value: &str) {
        self.retain(|name, _| name.borrow() == field.as_str() || !is_named(name, field));
        self.insert(field.as_str().into(), value.into());
    }

    fn remove(&mut self, field: &HeaderName) {
        self.retain(|name, _| !is_named(name, field));
    }
}

impl<K, V> Extractor for BTreeMap<K, V>
where
    K: Borrow<str> + Ord,
    V: AsRef<[u8]>,
{
    fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>> {
        let of_field = move |(name, value): (&'a K, &'a V)| {
            is_named(name, field).then(|| FieldValue::from(value.as_ref()))
        };
        self.iter().filter_map(of_field)
    }
}

impl<K, V> Injector for BTreeMap<K, V>
where
    K: Borrow<str> + Ord + for<'s> From<&'s str>,
    V: for<'s> From<&'s str>,
{
    fn set(&mut self, field: &HeaderName, value: &str) {
        self.retain(|name, _| name.borrow() == field.as_str() || !is_named(name, field));
        self.insert(field.as_str().into(), value.into());
    }

    fn remove(&mut self, field: &HeaderName) {
        self.retain(|name, _| !is_named(name, field));
    }
}

impl<K: AsRef<str>, V: AsRef<[u8]>> Extractor for [(K, V)] {
    fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>> {
        let of_field = move |(name, value): &'a (K, V)| {
            is_named(name.as_ref(), field).then(|| FieldValue::from(value.as_ref()))
        };
        self.iter().filter_map(of_field)
    }
}

impl<K: AsRef<str>, V: AsRef<[u8]>, const N: usize> Extractor for [(K, V); N] {
    fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>> {
        self.as_slice().values(field)
    }
}

impl<K: AsRef<str>, V: AsRef<[u8]>> Extractor for Vec<(K, V)> {
    fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>> {
        self.as_slice().values(field)
    }
}

impl<K, V> Injector for Vec<(K, V)>
where
    K: AsRef<str> + for<'s> From<&'s str>,
    V: for<'s> From<&'s str>,
{
    fn set(&mut self, field: &HeaderName, value: &str) {
        Injector::remove(self, field);
        self.push((field.as_str().into(), value.into()));
    }

    fn remove(&mut self, field: &HeaderName) {
        self.retain(|(name, _)| !is_named(name.as_ref(), field));
    }
}

fn is_named(name: &(impl Borrow<str> + ?Sized), field: &HeaderName) -> bool {
    name.borrow().eq_ignore_ascii_case(field.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: HeaderName = HeaderName::from_static("tracestate");

    fn read(carrier: &(impl Extractor + ?Sized)) -> Vec<&[u8]> {
        carrier.values(&FIELD).map(|value| value.as_bytes()).collect()
    }

    #[test]
    fn pairs_are_read_in_order_and_in_any_case() {
        let pairs = [
            ("TraceState", &b"a=1"[..]),
            ("other", b"x"),
            ("TRACESTATE", b"\xff"),
            ("tracestate", b""),
        ];
        let expected: Vec<&[u8]> = vec![b"a=1", b"\xff", b""];
        assert_eq!(read(&pairs), expected);
        assert_eq!(read(&pairs[..]), expected);
        assert_eq!(read(&&pairs.to_vec()), expected);
    }

    #[test]
    fn maps_are_read_in_any_case() {
        let tree: BTreeMap<&str, Vec<u8>> =
            [("TraceState", vec![0xff]), ("tracestat", vec![]), ("z", vec![])].into();
        assert_eq!(read(&tree), [b"\xff"]);
        let hash: HashMap<&str, &str> = [("TRACESTATE", "a=1"), ("other", "x")].into();
        assert_eq!(read(&hash), [b"a=1"]);
        assert!(read(&BTreeMap::<String, String>::new()).is_empty());
    }

    #[test]
    fn two_spellings_in_a_map_are_two_values() {
        let pairs = [("tracestate", "a=1"), ("TraceState", "b=2")];
        assert_eq!(read(&BTreeMap::from(pairs)), [b"b=2", b"a=1"]);
        let hash = HashMap::from(pairs);
        let mut values = read(&hash);
        values.sort_unstable();
        assert_eq!(values, [b"a=1", b"b=2"]);
    }

    #[test]
    fn what_other_spellings_say_does_not_stay_beside_ours() {
        let stale = ["TraceState", "TRACESTATE", "x"].map(|name| (name.to_owned(), "old".to_owned()));
        let mut tree = BTreeMap::from(stale.clone());
        tree.set(&FIELD, "a=1");
        let names: Vec<_> = tree.keys().map(String::as_str).collect();
        assert_eq!((names, read(&tree)), (vec!["tracestate", "x"], vec![&b"a=1"[..]]));
        let mut hash = HashMap::from(stale.clone());
        hash.set(&FIELD, "a=1");
        assert_eq!((hash.len(), read(&hash)), (2, vec![&b"a=1"[..]]));
        let (mut tree, mut hash) = (BTreeMap::from(stale.clone()), HashMap::from(stale));
        Injector::remove(&mut tree, &FIELD);
        Injector::remove(&mut hash, &FIELD);
        assert_eq!((tree.len(), hash.len()), (1, 1));
    }

    /// Every carrier says the same after the same calls.
    fn written(mut carrier: impl Injector + Extractor) {
        let other = HeaderName::from_static("b3");
        carrier.set(&FIELD, "a=1");
        carrier.set(&other, "0");
        carrier.set_shared(&FIELD, &HeaderValue::from_static("b=2"));
        assert_eq!(read(&carrier), [b"b=2"]);
        let mut borrowed = &mut carrier;
        Injector::set(&mut borrowed, &FIELD, "c=3");
        Injector::set_shared(&mut borrowed, &FIELD, &HeaderValue::from_static("d=4"));
        assert_eq!(read(&carrier), [b"d=4"]);
        let mut borrowed = &mut carrier;
        Injector::remove(&mut borrowed, &FIELD);
        assert!(read(&carrier).is_empty());
        assert_eq!(carrier.values(&other).count(), 1);
        carrier.remove(&other);
        assert_eq!(carrier.values(&other).count(), 0);
    }

    #[test]
    fn all_carriers_replace_and_remove() {
        written(HeaderMap::new());
        written(HashMap::<String, String>::new());
        written(BTreeMap::<Box<str>, Vec<u8>>::new());
        written(Vec::<(String, Vec<u8>)>::new());
        let stale = vec![("TraceState", "x=1"), ("tracestate", "y=2")];
        let stale = stale
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        written(stale.collect::<Vec<(String, String)>>());
    }
}
