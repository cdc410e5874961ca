//! Requests and responses that are decoded.

mod bombs;
mod cost;
mod extractors;
mod requests;
mod responses;
mod streams;
mod support;
