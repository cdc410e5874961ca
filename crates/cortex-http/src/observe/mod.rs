//! The one service between hyper and the router: it measures, traces, bounds and guards a request.

mod event_stream;
mod exchange;
mod future;
mod place;
mod request_body;
mod response_body;
mod service;

pub use self::future::ResponseFuture;
pub use self::response_body::{BodyError, ResponseBody};
pub use self::service::Observed;
pub(crate) use self::service::PerConnection;
