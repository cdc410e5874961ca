//! The allocator, installed: a unit test cannot do that and also test that it refuses to run uninstalled.

mod alloc;
