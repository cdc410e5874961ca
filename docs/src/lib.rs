//! Compiles every page.
