//! What policies know of HTTP: which answers are failures, what they say of further attempts, and which requests may be sent
//! more than once.

mod classify;
mod grpc;
mod pushback;
mod requests;

pub use self::classify::HttpClassify;
pub use self::grpc::GrpcClassify;
pub use self::pushback::{pushback, retry_after};
pub use self::requests::{HttpRequests, is_idempotent};
