//! What is in a data point.

use std::time::SystemTime;

use super::encode::{nanos, pairs};
use crate::encode::{Labels, Message};
use crate::exemplar::Exemplar;
use crate::{HistogramSnapshot, NativeSnapshot};

/// The most buckets that one side of an exponential histogram is written with: they are dense there, and with the
/// finest schema values from 1e-300 to 1e300 are half a million apart.
const MAX_BUCKETS: i64 = 1024;

/// What all types of points say in the same way: which series it is, and since when and until when it counted.
#[derive(Debug)]
pub(super) struct Place<'a> {
    labels: Labels<'a>,
    start: u64,
    now: u64,
}

impl<'a> Place<'a> {
    pub(super) fn new(labels: Labels<'a>, created: Option<SystemTime>, now: u64) -> Self {
        // A clock that was set back must not make a start that is later than the end.
        let start = created.map_or(0, |created| nanos(created).min(now));
        Self { labels, start, now }
    }

    /// Writes it; only the field of the attributes differs by type.
    pub(super) fn write(&self, point: &mut Message<'_>, attributes: u32) {
        for rendered in [self.labels.scope, self.labels.own] {
            // To Prometheus, an empty label is none.
            for (name, value) in pairs(rendered).iter().filter(|(_, value)| !value.is_empty()) {
                write_attribute(point, attributes, name, value);
            }
        }
        if self.start != 0 {
            point.fixed(2, self.start);
        }
        point.fixed(3, self.now);
    }
}

/// Writes a `KeyValue` with a string.
pub(super) fn write_attribute(message: &mut Message<'_>, field: u32, key: &str, value: &str) {
    message.message(field, |pair| {
        pair.text(1, key);
        // As a message, because an empty string is not the same as no value.
        pair.message(2, |any| any.message(1, |text| text.append(value.as_bytes())));
    });
}

/// Writes an `Exemplar`, the ids of whose trace are not among its labels there.
pub(super) fn write_exemplar(point: &mut Message<'_>, field: u32, exemplar: &Exemplar) {
    point.message(field, |message| {
        for (name, value) in pairs(&exemplar.labels) {
            match &*name {
                "trace_id" if let Some(id) = id::<16>(&value) => message.bytes(5, &id),
                "span_id" if let Some(id) = id::<8>(&value) => message.bytes(4, &id),
                _ => write_attribute(message, 7, &name, &value),
            }
        }
        if let Some(time) = exemplar.time {
            message.fixed(2, nanos(time));
        }
        message.double(3, exemplar.value);
    });
}

/// Writes what is special about a `HistogramDataPoint`.
pub(super) fn write_histogram(point: &mut Message<'_>, snapshot: &HistogramSnapshot) {
    write_count(point, snapshot);
    point.packed_fixed(6, snapshot.counts().iter().copied());
    point.packed_fixed(7, snapshot.bounds().iter().map(|bound| bound.to_bits()));
}

/// Writes what is special about an `ExponentialHistogramDataPoint`.
pub(super) fn write_exponential(
    point: &mut Message<'_>,
    snapshot: &HistogramSnapshot,
    native: &NativeSnapshot,
) {
    write_count(point, snapshot);
    let sides = [(8, native.positive()), (9, native.negative())];
    let fits = |shift: &u8| {
        sides
            .iter()
            .all(|(_, buckets)| width(buckets, *shift) <= MAX_BUCKETS)
    };
    let shift = (0..=31)
        .find(fits)
        .expect("invariant: all fit into two buckets at last");
    point.sint(6, i64::from(native.schema()) - i64::from(shift));
    if native.zero_count() > 0 {
        point.fixed(7, native.zero_count());
    }
    for (field, buckets) in sides {
        write_side(point, field, buckets, shift);
    }
    if native.zero_threshold() > 0.0 {
        point.double(14, native.zero_threshold());
    }
}

fn write_count(point: &mut Message<'_>, snapshot: &HistogramSnapshot) {
    point.fixed(4, snapshot.count());
    // Where it may fall it has to be left out.
    if !snapshot.is_signed() {
        point.double(5, snapshot.sum());
    }
}

fn write_side(point: &mut Message<'_>, field: u32, buckets: &[(i32, u64)], shift: u8) {
    let Some((first, _)) = buckets.first() else {
        return;
    };
    let offset = index(*first, shift);
    let mut dense = Vec::new();
    for (bucket, count) in buckets {
        let at = usize::try_from(index(*bucket, shift) - offset).expect("invariant: they ascend");
        dense.resize(at + 1, 0);
        dense[at] += count;
    }
    point.message(field, |side| {
        side.sint(1, offset);
        side.packed(2, dense.iter().copied());
    });
}

fn width(buckets: &[(i32, u64)], shift: u8) -> i64 {
    match buckets {
        [] => 0,
        [(first, _), ..] => index(buckets[buckets.len() - 1].0, shift) - index(*first, shift) + 1,
    }
}

/// Returns the index that OTLP gives a bucket, after each two neighbours were merged so many times.
///
/// There, bucket i has the values in (b^i, b^(i+1)], not (b^(i-1), b^i].
fn index(bucket: i32, shift: u8) -> i64 {
    (i64::from(bucket) - 1) >> shift
}

/// Reads an id in hexadecimal digits, which must not be 0.
fn id<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut id = [0; N];
    if digits.len() != 2 * N || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in id.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (id != [0; N]).then_some(id)
}
