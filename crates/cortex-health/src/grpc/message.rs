//! The messages of the protocol, of which there are four.
//!
//! <https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto>

use super::serving::Serving;

const VARINT: u64 = 0;
const I64: u64 = 1;
const LEN: u64 = 2;
const I32: u64 = 5;

/// What is no message: it is cut off, or a name is no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the `service` of a `HealthCheckRequest`; what else is in there is passed over.
pub(super) fn service(mut message: &[u8]) -> Result<&str, Malformed> {
    let mut service = "";
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return Err(Malformed),
            (1, LEN) => service = str::from_utf8(bytes(&mut message)?).map_err(|_| Malformed)?,
            (_, kind) => skip(&mut message, kind)?,
        }
    }
    Ok(service)
}

/// Checks that a message is well formed: a `HealthListRequest` has no fields.
pub(super) fn fields(mut message: &[u8]) -> Result<(), Malformed> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        if tag >> 3 == 0 {
            return Err(Malformed);
        }
        skip(&mut message, tag & 7)?;
    }
    Ok(())
}

/// Writes a `HealthCheckResponse`.
pub(super) const fn response(serving: Serving) -> [u8; 2] {
    [1 << 3, serving as u8]
}

/// Writes a `HealthListResponse`.
pub(super) fn list<'a>(statuses: impl Iterator<Item = (&'a str, Serving)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, serving) in statuses {
        let mut entry = Vec::with_capacity(name.len() + 8);
        put_bytes(&mut entry, 1, name.as_bytes());
        put_bytes(&mut entry, 2, &response(serving));
        put_bytes(&mut out, 1, &entry);
    }
    out
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    out.push(length.to_le_bytes()[0]);
    out.extend_from_slice(bytes);
}

fn skip(message: &mut &[u8], kind: u64) -> Result<(), Malformed> {
    match kind {
        VARINT => varint(message).map(drop),
        I64 => take(message, 8).map(drop),
        LEN => bytes(message).map(drop),
        I32 => take(message, 4).map(drop),
        _ => Err(Malformed), // groups, which nobody writes any more
    }
}

fn bytes<'a>(message: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(varint(message)?).map_err(|_| Malformed)?;
    take(message, length)
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = message.split_at_checked(length).ok_or(Malformed)?;
    *message = rest;
    Ok(taken)
}

fn varint(message: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(message, 1)? else {
            return Err(Malformed);
        };
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_names_a_service() {
        assert_eq!(service(b""), Ok(""));
        assert_eq!(service(b"\x0a\x05ready"), Ok("ready"));
        assert_eq!(service(b"\x0a\x01a\x0a\x01b"), Ok("b"), "the last one counts");
        // Fields of a later version, of each kind.
        let more = b"\x10\x96\x01\x19\x00\x00\x00\x00\x00\x00\x00\x00\x22\x02hi\x2d\x00\x00\x00\x00\x0a\x01a";
        assert_eq!(service(more), Ok("a"));
        assert_eq!(fields(more), Ok(()));
        for bad in [
            &b"\x0a"[..],
            b"\x0a\x05read",
            b"\x0a\x01\xff",
            b"\x02\x01a",
            b"\x0b",
            b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ] {
            assert_eq!(service(bad), Err(Malformed), "{bad:?}");
        }
        assert_eq!(fields(b"\x02"), Err(Malformed));
    }

    #[test]
    fn answers_are_as_protobuf_writes_them() {
        assert_eq!(response(Serving::No), *b"\x08\x02");
        let statuses = [("", Serving::Yes), ("ready", Serving::No)];
        let expected = b"\x0a\x06\x0a\x00\x12\x02\x08\x01\x0a\x0b\x0a\x05ready\x12\x02\x08\x02";
        assert_eq!(list(statuses.into_iter()), expected);
        let long = "x".repeat(200);
        let written = list([(&*long, Serving::Yes)].into_iter());
        assert_eq!(written[..6], *b"\x0a\xcf\x01\x0a\xc8\x01");
        assert_eq!(written.len(), 3 + 0xcf);
        assert_eq!(fields(&written), Ok(()));
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(message in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(service(&message).is_err() || fields(&message).is_ok(), "the stricter one took it");
        }

        #[test]
        fn a_name_is_read_back(name in "\\PC{0,50}") {
            let mut message = Vec::new();
            put_bytes(&mut message, 1, name.as_bytes());
            prop_assert_eq!(service(&message), Ok(&*name));
        }
    }
}
