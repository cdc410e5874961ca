use bytes::Bytes;

use super::coding::Coding;

/// Below, what is saved on the wire is not worth the time.
const MIN_SIZE: usize = 1 << 10;

#[cfg(feature = "gzip")]
const GZIP_LEVEL: u32 = 1;
#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 1;

/// An exposition as it goes over the wire.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    pub(super) coding: Coding,
}

/// Codes an exposition, unless it is too small for that.
pub(super) fn compress(exposition: Vec<u8>, coding: Coding) -> Encoded {
    let coded = if exposition.len() < MIN_SIZE {
        None
    } else {
        match coding {
            Coding::Identity => None,
            #[cfg(feature = "gzip")]
            Coding::Gzip => gzip(&exposition),
            #[cfg(feature = "zstd")]
            Coding::Zstd => zstd(&exposition),
        }
    };
    match coded {
        Some(bytes) => Encoded {
            bytes: bytes.into(),
            coding,
        },
        None => Encoded {
            bytes: exposition.into(),
            coding: Coding::Identity,
        },
    }
}

#[cfg(feature = "gzip")]
fn gzip(exposition: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
    encoder.write_all(exposition).ok()?;
    encoder.finish().ok()
}

#[cfg(feature = "zstd")]
fn zstd(exposition: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(exposition.len()));
    zstd_safe::compress(&mut out, exposition, ZSTD_LEVEL).ok()?;
    out.shrink_to_fit(); // expositions shrink to a tenth and less, and may be kept
    Some(out)
}
