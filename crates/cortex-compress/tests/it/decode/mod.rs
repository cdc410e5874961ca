//! Requests and responses that are decoded.

mod bombs;
mod budget;
mod cost;
mod extractors;
mod hostile;
mod observed;
mod requests;
mod responses;
mod streams;
mod support;
mod wire;
