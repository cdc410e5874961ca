//! Works together with the crate `prometheus-client`, in both directions.
//!
//! What already uses it is exposed as it is: [`Registry::prometheus`](crate::Registry::prometheus) embeds one of its
//! registries. And our metrics implement its [`EncodeMetric`](prometheus_client::encoding::EncodeMetric), so they can
//! be registered there; names of labels that need quotes, which it does not write, are escaped with
//! [`Escaping::Underscores`](crate::Escaping::Underscores) then, and a state set shows its states in the label `state`,
//! or `state_` if it has one of that name.
//!
//! # Examples
//!
//! ```
//! use cortex_metrics::prometheus::prometheus_client;
//! use cortex_metrics::{Counter, Registry};
//!
//! let ours = Counter::default();
//! let mut theirs = prometheus_client::registry::Registry::default();
//! theirs.register("jobs", "Jobs done", ours.clone());
//!
//! let registry = Registry::default();
//! registry.prometheus(theirs);
//! ours.inc();
//! assert_eq!(registry.to_text(), "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total 1\n");
//! ```

mod embed;
mod histograms;
mod implement;

/// The version of the crate that this one speaks to.
pub use prometheus_client;

pub(crate) use self::embed::gather;
