//! Measures every crate beside its peers.
