//! The service on real sockets.

mod addresses;
mod bounds;
#[cfg(feature = "cors")]
mod cors;
mod destructors;
#[cfg(feature = "grpc")]
mod grpc;
mod guards;
mod health;
mod lifecycle;
mod requests;
mod support;
mod untracked;
mod w3c;
