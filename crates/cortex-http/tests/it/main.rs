//! The service on real sockets.

mod access;
mod addresses;
mod admin;
mod age;
mod bounds;
#[cfg(feature = "client")]
mod client;
mod compression;
#[cfg(feature = "cors")]
mod cors;
mod destructors;
mod drain_load;
mod drain_signals;
mod drain_streams;
mod drain_subsystems;
#[cfg(feature = "grpc")]
mod grpc;
mod guards;
mod health;
mod http2;
mod lifecycle;
mod listeners;
mod policies;
mod proxy_protocol;
mod requests;
mod smuggling;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod untracked;
mod upgrade;
mod uploads;
mod w3c;
mod websocket;
