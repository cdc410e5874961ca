//! The service on real sockets.

mod addresses;
mod bounds;
mod destructors;
mod health;
mod lifecycle;
mod requests;
mod support;
mod untracked;
mod w3c;
