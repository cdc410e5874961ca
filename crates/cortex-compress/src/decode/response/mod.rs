//! What a client does with encoded responses.

mod future;
mod layer;
mod service;

pub use self::future::ResponseDecompressionFuture;
pub use self::layer::ResponseDecompressionLayer;
pub use self::service::ResponseDecompression;
