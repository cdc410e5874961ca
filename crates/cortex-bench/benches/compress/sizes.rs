use std::io::Write;
use std::process::{Command, Stdio};

use cortex_bench::Record;
use cortex_compress::CompressionLayer;
use http_body_util::Full;
use tower_layer::Layer;

use crate::service::{Json, answer};
use crate::{CODINGS, Failure, SIZES, body, report};

/// The lengths of our bodies, beside what the program gzip makes of them at level 6, its default.
pub(crate) fn measure(record: Option<&Record>) -> Result<(), Failure> {
    let layer = CompressionLayer::new();
    for (size, name) in SIZES {
        let body = body(size);
        let mut ours = layer.layer(Json(Full::new(body.clone())));
        for coding in CODINGS {
            let length = answer(&mut ours, Some(coding));
            report(record, &format!("{coding}-{name}-bytes/cortex"), float(length))?;
        }
        report(record, &format!("gzip-{name}-bytes/gzip-6"), float(gzip(&body)?))?;
    }
    Ok(())
}

/// Returns the length that gzip makes of a body, without a name in its head.
fn gzip(body: &[u8]) -> Result<usize, Failure> {
    let gzip = Command::new("gzip")
        .args(["-6", "-n", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut gzip = gzip.map_err(|error| format!("failed to start gzip: {error}"))?;
    // What it makes of this fits into a pipe.
    gzip.stdin.take().ok_or("its input is piped")?.write_all(body)?;
    Ok(gzip.wait_with_output()?.stdout.len())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) const fn float(bytes: usize) -> f64 {
    bytes as f64
}
