//! The service on real sockets.

mod bounds;
mod lifecycle;
mod requests;
mod support;
