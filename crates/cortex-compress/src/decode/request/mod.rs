//! What a server does with encoded requests.

mod body;
mod future;
mod layer;
mod refusal;
mod service;

pub use self::body::RequestBody;
pub use self::future::RequestDecompressionFuture;
pub use self::layer::RequestDecompressionLayer;
pub use self::refusal::RefusalBody;
pub use self::service::RequestDecompression;
