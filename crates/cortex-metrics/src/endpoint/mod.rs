//! The endpoint that scrapers ask.

mod answer;
mod body;
mod coding;
mod compress;
mod flight;
mod future;
mod limit;
mod observe;
#[cfg(feature = "axum")]
mod router;
mod service;
mod timeout;
mod transfer;

pub use self::body::{ScrapeBody, ScrapeBodyError};
pub use self::future::ResponseFuture;
#[cfg(feature = "axum")]
pub use self::router::router;
pub use self::service::ScrapeService;
