//! Measures HTTP, served or called, as a tower layer, under the names of OpenTelemetry's semantic conventions.
//!
//! | metric | labels |
//! |---|---|
//! | `http_server_request_duration_seconds` | `http_request_method`, `http_route`, `http_response_status_code`, `error_type` |
//! | `http_server_active_requests` | `http_request_method`, `url_scheme` |
//! | `http_server_response_body_size_bytes`, [if asked for](MetricsLayerBuilder::response_sizes) | as the duration |
//! | `http_client_request_duration_seconds` | `http_request_method`, `server_address`, `server_port`, `url_template`, `http_response_status_code`, `error_type` |
//! | `http_client_active_requests` | `http_request_method`, `server_address`, `server_port` |
//! | `http_client_response_body_size_bytes`, [if asked for](MetricsLayerBuilder::response_sizes) | as the duration |
//!
//! # What a request's duration is
//!
//! From the call of the service to the end of the response's body: its last frame, the last of the bytes that its
//! length declares, or its drop. A response without a body ends with its head: to `HEAD`, or with the status 1xx, 204
//! or 304, or when its body says it has ended. A request is active for as long.
//!
//! # How a request can end
//!
//! Every request is counted once, however it ends. A label that is empty is one that Prometheus does not see.
//!
//! | end | status, served | status, called | `error_type`, served | `error_type`, called |
//! |---|---|---|---|---|
//! | the response was whole | as sent | as received | the status if 5xx | the status if 4xx or 5xx |
//! | the future was dropped | 499 | empty | `client_cancel` | `cancelled` |
//! | the response's body was dropped | as sent | as received | `aborted` | as if it were whole |
//! | the response's body failed | as sent | as received | `aborted` | `aborted` |
//! | a panic | 500, or as sent | empty, or as received | `panic` | `panic` |
//! | the service failed | 500 | empty | as [`ErrorType`] says | as [`ErrorType`] says |
//!
//! On the server's side 499 and 500 stand for answers this layer did not see, as they do in `cortex-http`: so a query
//! for 5xx finds panics. What the client gets is decided by the layers outside.
//!
//! A panic goes on as it came: this layer does not stop it. A method that HTTP does not know is `_OTHER`.
//!
//! # Where to put it
//!
//! Outside of what gives up on a request, such as a timeout: what is dropped from outside looks like a client that
//! left. But inside an axum router, with `Router::layer`, because only there the route is known.

mod body;
mod builder;
mod during;
mod error_type;
mod exchange;
mod future;
mod instruments;
mod method;
mod metrics_layer;
mod origin;
mod route;
mod service;
mod shared;

pub use self::body::ResponseBody;
pub use self::builder::MetricsLayerBuilder;
pub use self::error_type::ErrorType;
pub use self::future::ResponseFuture;
pub use self::metrics_layer::MetricsLayer;
pub use self::route::Route;
pub use self::service::MetricsService;
