#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(any(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd")),
    expect(
        unreachable_code,
        unused_variables,
        reason = "without codings nothing is ever encoded"
    )
)]

mod adaptive;
mod body;
#[cfg_attr(
    not(any(
        test,
        feature = "brotli",
        feature = "deflate",
        feature = "gzip",
        feature = "zstd"
    )),
    expect(dead_code, reason = "there is nothing to pad")
)]
mod breach;
mod budget;
mod cache;
mod choice;
mod coding;
mod compressor;
mod content_types;
mod decode;
mod dictionary;
mod encoder;
mod error;
mod etag;
mod flush;
mod future;
mod headers;
mod layer;
mod list;
#[cfg(feature = "metrics")]
mod metrics;
mod negotiate;
mod observer;
mod offload;
mod one_shot;
mod pool;
mod refusal;
mod rules;
mod service;
mod shared;
mod stream;
mod tally;
mod turn;

pub use self::adaptive::Adaptive;
pub use self::body::CompressBody;
pub use self::breach::BreachPolicy;
pub use self::budget::MemoryBudget;
pub use self::cache::{CacheStats, VariantCache};
pub use self::coding::{Coding, InvalidLevel, Level, UnknownCoding};
pub use self::compressor::{Compressing, Compressor, Encoding};
pub use self::content_types::{ContentTypes, InvalidContentType};
pub use self::decode::{
    DecodeError, DecodeErrorKind, DecompressBody, DecompressError, Limit, OriginalHeaders, RefusalBody,
    RequestBody, RequestDecompression, RequestDecompressionFuture, RequestDecompressionLayer,
    ResponseDecompression, ResponseDecompressionFuture, ResponseDecompressionLayer,
};
#[cfg(feature = "dictionary")]
pub use self::dictionary::{
    Dictionary, DictionaryStore, DictionaryStoreFull, InvalidDictionary, InvalidDictionaryField,
    UseAsDictionary, dictionary_link,
};
pub use self::error::{CompressError, EncodeError};
pub use self::etag::EtagPolicy;
pub use self::flush::FlushPolicy;
pub use self::future::ResponseFuture;
pub use self::layer::CompressionLayer;
#[cfg(feature = "metrics")]
pub use self::metrics::MetricsObserver;
pub use self::negotiate::{Negotiated, negotiate};
pub use self::observer::{AbortCause, EncodePath, Event, Observer, SkipReason};
#[cfg(feature = "tokio")]
pub use self::offload::SpawnBlocking;
pub use self::offload::{Job, Offload};
pub use self::refusal::NotAcceptable;
pub use self::rules::{CompressWith, NoCompress, Plan};
pub use self::service::Compress;
