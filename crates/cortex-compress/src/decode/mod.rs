//! Decoding of what comes in: the requests of a server, the responses of a client.

mod body;
mod chain;
mod codings;
mod decoder;
mod error;
mod headers;
mod limits;
mod pool;
mod request;
mod response;
mod shared;
mod stream;

pub use self::body::DecompressBody;
pub use self::error::{DecodeError, DecodeErrorKind, DecompressError, Limit};
pub use self::headers::OriginalHeaders;
pub use self::request::{
    RefusalBody, RequestBody, RequestDecompression, RequestDecompressionFuture, RequestDecompressionLayer,
};
pub use self::response::{ResponseDecompression, ResponseDecompressionFuture, ResponseDecompressionLayer};
