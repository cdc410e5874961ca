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

pub use self::body::ScrapeBody;
pub use self::future::ResponseFuture;
#[cfg(feature = "axum")]
pub use self::router::router;
pub use self::service::ScrapeService;
