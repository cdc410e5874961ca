//! A decoder of brotli (RFC 7932) that can be stopped after any byte: sections in this module are of that RFC.
//!
//! That of the `brotli` crate hands nothing out before its window is full or its input is used up. What 15 bytes
//! stand for is 16 MiB in one call then, and 50 ms, and it takes the memory for it before a byte is there.

mod bits;
mod code;
mod code_reader;
mod context;
mod decode;
mod header;
mod lengths;
mod window;

pub(super) use self::decode::Brotli;
