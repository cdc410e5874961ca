//! `grpc.health.v1.Health` over HTTP/2, on any server that takes a tower service.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

mod body;
mod call;
mod code;
mod frame;
mod message;
mod service;
mod serving;
mod watching;

pub use self::body::GrpcBody;
pub use self::service::GrpcHealth;
