//! W3C Trace Context, Level 1 and 2, clause by clause, through the whole service: bytes on a socket in, and out the
//! headers of the call that the handler would make.
//!
//! Clauses are anchors of <https://www.w3.org/TR/trace-context-2/>, unless they start with another document.

mod baggage;
mod hostile;
mod service;
mod traceparent;
mod tracestate;
