use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::time::Instant;

use super::controllable::{ActionError, ActionErrorKind};
use super::registry::{Control, Controls};
use super::state::ControlState;
use crate::admin::blocking::{Blocking, Unanswered};
use crate::admin::input::{Input, Term};
use crate::admin::json::{Object, list};
use crate::admin::refusal::Refusal;
use crate::admin::rules::Caller;

/// The longest time that somebody waits for parts, for one or for a list of all.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time that a list waits for one of them.
const PATIENCE_EACH: Duration = Duration::from_secs(1);

/// What is shown of parts, and what is done with them.
#[derive(Clone)]
pub(crate) struct ControlEndpoints {
    controls: Controls,
    blocking: Blocking,
}

impl ControlEndpoints {
    pub(crate) fn new(controls: Controls, blocking: Blocking) -> Self {
        Self { controls, blocking }
    }

    /// `GET /controls`: all of them. One that does not say how it is has an `error` instead.
    pub(crate) fn list(&self) -> MethodRouter {
        let this = self.clone();
        get(async move || {
            let until = Instant::now() + PATIENCE;
            let mut shown = Vec::new();
            for control in this.controls.all() {
                let left = until.saturating_duration_since(Instant::now());
                let state = this.state(&control, left.min(PATIENCE_EACH)).await;
                shown.push(written(&control, &state));
            }
            let mut object = Object::new();
            list(object.member("controls"), &shown, |out, shown| {
                out.push_str(shown);
            });
            json(object.finish())
        })
    }

    /// `GET /controls/{kind}/{name}`.
    pub(crate) fn one(&self) -> MethodRouter {
        let this = self.clone();
        get(
            async move |Path((kind, name)): Path<(String, String)>| match this.shown(&kind, &name).await {
                Ok(response) => response,
                Err(refusal) => refusal.into_response(),
            },
        )
    }

    /// `POST /controls/{kind}/{name}/{action}`: answers with the state after it.
    pub(crate) fn action(&self) -> MethodRouter {
        let this = self.clone();
        post(
            async move |Path((kind, name, action)): Path<(String, String, String)>,
                        Extension(caller): Extension<Caller>,
                        body: Body| {
                match this.act(&kind, &name, &action, &caller, body).await {
                    Ok(response) => response,
                    Err(refusal) => refusal.into_response(),
                }
            },
        )
    }

    async fn shown(&self, kind: &str, name: &str) -> Result<Response, Refusal> {
        let control = self.find(kind, name)?;
        let state = self.state(&control, PATIENCE).await?;
        Ok(json(written(&control, &Ok(state))))
    }

    async fn act(
        &self,
        kind: &str,
        name: &str,
        action: &str,
        caller: &Caller,
        body: Body,
    ) -> Result<Response, Refusal> {
        let control = self.find(kind, name)?;
        let expires_after = match Input::read(body, &["for_seconds"]).await?.term()? {
            Term::Default => None,
            Term::For(term) => Some(term),
            Term::Unlimited => {
                let detail = "what is forced ends: `for_seconds` has to be a number, or missing";
                return Err(Refusal::new(StatusCode::BAD_REQUEST, detail));
            }
        };
        let acting = Arc::clone(&control);
        let asked = action.to_owned();
        let call = move || {
            let actions = acting.part.actions();
            let Some(action) = actions.iter().find(|action| **action == asked) else {
                return Err(unknown_action(actions));
            };
            acting.part.act(action, expires_after).map_err(Refusal::from)?;
            Ok((*action, acting.part.state(), actions))
        };
        let acted = self.blocking.run(&control.turn, PATIENCE, call).await;
        let outcome = match &acted {
            Ok(Ok(_)) => "done",
            Ok(Err(_)) => "refused",
            Err(unanswered) => unanswered.reason(),
        };
        // Debug, which escapes it: it is what somebody sent.
        let action: String = action.chars().take(64).collect();
        tracing::info!(
            target: "cortex_http::admin", actor = caller.actor(), peer = %caller.peer, kind, name, ?action, ?expires_after,
            outcome, "an action was asked for"
        );
        let (_, state, actions) = acted??;
        let state = Ok((state, actions));
        Ok(json(written(&control, &state)))
    }

    fn find(&self, kind: &str, name: &str) -> Result<Arc<Control>, Refusal> {
        let control = self.controls.get(kind, name);
        control.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such part"))
    }

    async fn state(&self, control: &Arc<Control>, patience: Duration) -> Result<State, Unanswered> {
        let asked = Arc::clone(control);
        let call = move || (asked.part.state(), asked.part.actions());
        self.blocking.run(&control.turn, patience, call).await
    }
}

/// How a part is, and what it can do.
type State = (ControlState, &'static [&'static str]);

fn written(control: &Control, state: &Result<State, Unanswered>) -> String {
    let mut object = Object::new();
    object.text("kind", &control.kind);
    object.text("name", &control.name);
    match state {
        Ok((state, actions)) => {
            state.write(&mut object);
            object.texts("actions", actions.iter().copied());
        }
        Err(unanswered) => object.text("error", unanswered.reason()),
    }
    object.finish()
}

fn json(body: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

fn unknown_action(actions: &[&str]) -> Refusal {
    let detail = match actions {
        [] => "this part cannot be acted on".to_owned(),
        actions => format!("this part can only `{}`", actions.join("` and `")),
    };
    Refusal::new(StatusCode::NOT_FOUND, detail)
}

impl From<ActionError> for Refusal {
    fn from(error: ActionError) -> Self {
        let status = match error.kind {
            ActionErrorKind::NotApplicable => StatusCode::CONFLICT,
            ActionErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ActionErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.reason)
    }
}
