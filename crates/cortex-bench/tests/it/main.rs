//! Away from the unit tests, which measure threads: these here keep all cores busy.

mod contend;
