//! Responses through the compression middleware, beside tower-http's, actix-web's, nginx, Caddy and the codecs alone.
//!
//! `gzip-10k`, `stream-gzip` and the like: ours, tower-http's with its defaults and the codec alone (`raw`) in this process,
//! around the same service. tower-http is helped there: in one build its gzip uses zlib-rs, three times as fast as the
//! `miniz_oxide` that it has alone. `stream-*` is a body of 1 MB that comes in frames; `longest-*` is the longest time
//! that such a response keeps its thread to itself before others may run. `zstd-1-*` and `zstd-3-*`: both at that level.
//!
//! `default-*`: ours and tower-http's with its own backend, in a process that is built apart from the workspace (`peers`).
//! `served-*`: the processor's time per response of real servers over loopback, each of them on core 0. `stalled-bytes`:
//! the memory that a client costs who stops reading. Groups that end in `-bytes` are bytes, of bodies or of memory.

mod peers;
mod raw;
mod served;
mod service;
mod sizes;
mod stalled;

use std::error::Error;

use axum::body::Bytes;
use cortex_bench::{Record, catalogue};
use cortex_compress::{Coding, CompressionLayer, Level};
use criterion::Criterion;
use http_body_util::Full;
use tower_http::CompressionLevel;
use tower_layer::Layer;

use crate::raw::Raw;
use crate::service::{FRAME, Frames, Json, answer, longest};

const CODINGS: [&str; 3] = ["gzip", "zstd", "br"];

const SIZES: [(usize, &str); 3] = [(1_000, "1k"), (10_000, "10k"), (100_000, "100k")];

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut criterion = Criterion::default().configure_from_args();
    whole(&mut criterion);
    levels(&mut criterion);
    streamed(&mut criterion);
    idle(&mut criterion);
    criterion.final_summary();
    // As criterion does: without `--bench`, so under `cargo test --benches`, only see that it runs.
    if std::env::args().any(|argument| argument == "--bench") {
        let record = Record::from_env();
        sizes::measure(record.as_ref())?;
        let program = peers::build()?;
        peers::compare(&program, record.as_ref())?;
        stalled::measure(&program, record.as_ref())?;
        served::measure(&program, record.as_ref())?;
    }
    Ok(())
}

fn body(size: usize) -> Bytes {
    catalogue(size).into()
}

/// Bodies that are there as a whole.
fn whole(criterion: &mut Criterion) {
    let ours = CompressionLayer::new();
    let theirs = tower_http::compression::CompressionLayer::new();
    for (size, name) in SIZES {
        let body = body(size);
        let handler = Json(Full::new(body.clone()));
        let (mut ours, mut theirs) = (ours.layer(handler.clone()), theirs.layer(handler));
        for coding in CODINGS {
            let sizes = [answer(&mut ours, Some(coding)), answer(&mut theirs, Some(coding))];
            assert!(
                fairly_small(sizes, 108),
                "{coding} {name}: time must not be bought with size, but ours and theirs are {sizes:?} bytes"
            );
            let mut raw = Raw::whole(coding, size);
            let mut group = criterion.benchmark_group(format!("{coding}-{name}"));
            group.bench_function("cortex", |b| b.iter(|| answer(&mut ours, Some(coding))));
            group.bench_function("tower-http", |b| b.iter(|| answer(&mut theirs, Some(coding))));
            group.bench_function("raw", |b| b.iter(|| raw.encode(&[&body])));
        }
    }
}

/// zstd at the same level.
fn levels(criterion: &mut Criterion) {
    for level in [1_u8, 3] {
        let ours = CompressionLayer::new().coding(Coding::Zstd, Level::new(level));
        let theirs = tower_http::compression::CompressionLayer::new();
        let theirs = theirs.quality(CompressionLevel::Precise(level.into()));
        for (size, name) in SIZES {
            let body = body(size);
            let handler = Json(Full::new(body.clone()));
            let (mut ours, mut theirs) = (ours.layer(handler.clone()), theirs.layer(handler));
            let mut raw = Raw::zstd(level, size);
            let mut group = criterion.benchmark_group(format!("zstd-{level}-{name}"));
            group.bench_function("cortex", |b| b.iter(|| answer(&mut ours, Some("zstd"))));
            group.bench_function("tower-http", |b| b.iter(|| answer(&mut theirs, Some("zstd"))));
            group.bench_function("raw", |b| b.iter(|| raw.encode(&[&body])));
        }
    }
}

fn streamed(criterion: &mut Criterion) {
    let body = body(1_000_000);
    let handler = Json(Frames::new(&body));
    let frames: Vec<_> = body.chunks(FRAME).collect();
    let mut ours = CompressionLayer::new().layer(handler.clone());
    let mut theirs = tower_http::compression::CompressionLayer::new().layer(handler);
    for coding in CODINGS {
        let mut raw = Raw::stream(coding);
        let sizes = [answer(&mut ours, Some(coding)), answer(&mut theirs, Some(coding))];
        assert!(
            fairly_small(sizes, 110),
            "{coding}: time must not be bought with size, but ours and theirs are {sizes:?} bytes"
        );
        let sizes = [answer(&mut ours, Some(coding)), raw.encode(&frames)];
        assert!(
            fairly_small(sizes, 103) && fairly_small([sizes[1], sizes[0]], 103),
            "{coding}: ours and the codec alone are {sizes:?} bytes, so they are not set alike: see raw.rs"
        );
        let mut group = criterion.benchmark_group(format!("stream-{coding}"));
        group.bench_function("cortex", |b| b.iter(|| answer(&mut ours, Some(coding))));
        group.bench_function("tower-http", |b| b.iter(|| answer(&mut theirs, Some(coding))));
        group.bench_function("raw", |b| b.iter(|| raw.encode(&frames)));
        group.finish();
        let mut group = criterion.benchmark_group(format!("longest-{coding}"));
        group.bench_function("cortex", |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| longest(&mut ours, coding)).sum());
        });
        group.bench_function("tower-http", |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| longest(&mut theirs, coding)).sum());
        });
    }
}

/// A client that accepts no coding.
fn idle(criterion: &mut Criterion) {
    let mut bare = Json(Full::new(body(10_000)));
    let mut ours = CompressionLayer::new().layer(bare.clone());
    let mut theirs = tower_http::compression::CompressionLayer::new().layer(bare.clone());
    let mut group = criterion.benchmark_group("idle");
    group.bench_function("bare", |b| b.iter(|| answer(&mut bare, None)));
    group.bench_function("cortex", |b| b.iter(|| answer(&mut ours, None)));
    group.bench_function("tower-http", |b| b.iter(|| answer(&mut theirs, None)));
}

/// Our defaults are faster levels than theirs, and windows of streams are of 64 KB, so that a slow reader does not hold
/// megabytes; their output may be smaller, but not by much.
const fn fairly_small([ours, theirs]: [usize; 2], percent: usize) -> bool {
    ours * 100 <= theirs * percent
}

/// Prints a result, and records it if `cargo xtask bench` asked for it.
#[expect(clippy::print_stdout, reason = "a bench prints its result")]
fn report(record: Option<&Record>, id: &str, value: f64) -> Result<(), Failure> {
    println!("{id:<36} {value:>10.0}");
    record.map_or(Ok(()), |record| record.save(id, value))?;
    Ok(())
}
