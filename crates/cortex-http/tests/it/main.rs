//! The service on real sockets.

mod bounds;
mod destructors;
mod lifecycle;
mod requests;
mod support;
mod w3c;
