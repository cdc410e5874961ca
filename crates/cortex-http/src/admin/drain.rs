use std::fmt;
use std::sync::{Arc, OnceLock};

use axum::Extension;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::refusal::Refusal;
use super::rules::Caller;

type Start = Box<dyn Fn(&'static str) -> bool + Send + Sync>;

/// Starts the drain of the service that the admin port belongs to. It is connected once there is a service to drain.
#[derive(Clone, Default)]
pub(crate) struct DrainSwitch(Arc<OnceLock<Start>>);

/// What the exit report names as the reason.
const REASON: &str = "POST /drain";

impl DrainSwitch {
    pub(super) fn connect(&self, start: impl Fn(&'static str) -> bool + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(start)); // there is one service
    }

    /// Answers `POST /drain`: 202 to who starts it, 409 to who comes after.
    pub(super) fn endpoint(self) -> MethodRouter {
        post(async move |Extension(caller): Extension<Caller>| self.answer(&caller))
    }

    fn answer(&self, caller: &Caller) -> Response {
        let Some(start) = self.0.get() else {
            let detail = "the service is still starting";
            return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .retry_after(1)
                .into_response();
        };
        if !start(REASON) {
            return Refusal::new(StatusCode::CONFLICT, "the service drains already").into_response();
        }
        tracing::info!(target: "cortex_http::admin", actor = caller.actor(), peer = %caller.peer, "the drain was asked for");
        let json = [(CONTENT_TYPE, "application/json")];
        (StatusCode::ACCEPTED, json, r#"{"phase":"draining"}"#).into_response()
    }
}

impl fmt::Debug for DrainSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainSwitch")
            .field("connected", &self.0.get().is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::RETRY_AFTER;

    #[test]
    fn until_there_is_something_to_drain_it_is_to_be_asked_again() {
        let (switch, caller) = (DrainSwitch::default(), Caller::anybody());
        let early = switch.answer(&caller);
        assert_eq!(early.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(early.headers()[RETRY_AFTER], "1");
        switch.clone().connect(|reason| reason == REASON);
        assert_eq!(switch.answer(&caller).status(), StatusCode::ACCEPTED);
        switch.connect(|_| false); // comes too late
        assert_eq!(switch.answer(&caller).status(), StatusCode::ACCEPTED);
    }
}
