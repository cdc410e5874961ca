//! What policies know of HTTP: which answers are failures, what they say of further attempts, and which requests may be sent
//! more than once.

mod classify;
mod classify_end;
mod grpc;
mod pushback;
mod requests;
mod vote_body;

pub use self::classify::HttpClassify;
pub use self::classify_end::ClassifyEnd;
#[cfg(feature = "tower")]
pub(crate) use self::classify_end::judge_end;
pub use self::grpc::GrpcClassify;
pub use self::pushback::{pushback, retry_after};
pub use self::requests::{HttpRequests, is_idempotent};
pub use self::vote_body::{EndVote, VoteBody};
