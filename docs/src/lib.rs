//! Compiles and runs every page of the documentation: a page that no longer says what the code does fails the tests.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc = include_str!("../architecture.md")]
pub mod architecture {}

/// Task by task.
pub mod guides {
    #[doc = include_str!("../guides/call-others.md")]
    pub mod call_others {}
    #[doc = include_str!("../guides/cardinality.md")]
    pub mod cardinality {}
    #[doc = include_str!("../guides/compress.md")]
    pub mod compress {}
    #[doc = include_str!("../guides/first-service.md")]
    pub mod first_service {}
    #[doc = include_str!("../guides/logs.md")]
    pub mod logs {}
    #[doc = include_str!("../guides/metric-names.md")]
    pub mod metric_names {}
    #[doc = include_str!("../guides/metric-types.md")]
    pub mod metric_types {}
    #[doc = include_str!("../guides/monitoring.md")]
    pub mod monitoring {}
    #[doc = include_str!("../guides/observe.md")]
    pub mod observe {}
    #[doc = include_str!("../guides/probes.md")]
    pub mod probes {}
    #[doc = include_str!("../guides/sampling.md")]
    pub mod sampling {}
    #[doc = include_str!("../guides/serve.md")]
    pub mod serve {}
    #[doc = include_str!("../guides/shut-down.md")]
    pub mod shut_down {}
    #[doc = include_str!("../guides/traces.md")]
    pub mod traces {}
    #[doc = include_str!("../guides/workers.md")]
    pub mod workers {}
}

/// The front page of the repository.
#[doc = include_str!("../../README.md")]
pub mod readme {}
