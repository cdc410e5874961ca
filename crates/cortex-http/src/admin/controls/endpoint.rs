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

use super::acted::{ActionInput, InputKind};
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

/// The most calls into parts that run at once. Threads come only when they are needed; a part that hangs keeps one.
pub(crate) const THREADS: usize = 32;

/// What is shown of parts, and what is done with them.
#[derive(Clone)]
pub(crate) struct ControlEndpoints {
    controls: Controls,
    blocking: Blocking,
}

impl ControlEndpoints {
    pub(crate) fn new(controls: Controls) -> Self {
        Self {
            controls,
            blocking: Blocking::new(THREADS),
        }
    }

    /// `GET /controls`: all of them. One that does not say how it is has an `error` instead, and is not asked again until
    /// it has come back.
    pub(crate) fn list(&self) -> MethodRouter {
        let this = self.clone();
        get(async move || {
            let until = Instant::now() + PATIENCE;
            let mut shown = Vec::new();
            for control in this.controls.all() {
                let left = until.saturating_duration_since(Instant::now());
                let is_stuck = control
                    .subject
                    .calling_for()
                    .is_some_and(|so_long| so_long >= PATIENCE_EACH);
                let state = if is_stuck {
                    Err(Unanswered::Busy)
                } else if left.is_zero() {
                    Err(Unanswered::NotAsked)
                } else {
                    this.state(&control, left.min(PATIENCE_EACH)).await
                };
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
        let input = Input::read_any(body).await?;
        let expires_after = match input.term()? {
            Term::Default => None,
            Term::For(term) => Some(term),
            Term::Unlimited => {
                let detail = "what is forced ends: `for_seconds` has to be a number, or missing";
                return Err(Refusal::new(StatusCode::BAD_REQUEST, detail));
            }
        };
        let mut told = Told::asked(&control, action, &input, caller);
        let (acting, blocking) = (Arc::clone(&control), self.blocking.clone());
        let asked = action.to_owned();
        let call = move || {
            let _call = acting.subject.call();
            told.ends("panicked"); // unless it is told otherwise
            let acted = act(&acting, &asked, expires_after, &input, &blocking);
            told.ends(if acted.is_ok() { "done" } else { "refused" });
            acted.map(|()| Shown::of(&acting))
        };
        let state = self
            .blocking
            .run(control.subject.turn(), PATIENCE, call)
            .await??;
        Ok(json(written(&control, &Ok(state))))
    }

    fn find(&self, kind: &str, name: &str) -> Result<Arc<Control>, Refusal> {
        let control = self.controls.get(kind, name);
        control.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such part"))
    }

    async fn state(&self, control: &Arc<Control>, patience: Duration) -> Result<Shown, Unanswered> {
        let asked = Arc::clone(control);
        let call = move || {
            let _call = asked.subject.call();
            Shown::of(&asked)
        };
        self.blocking.run(control.subject.turn(), patience, call).await
    }
}

/// Acts on a part, if it can do that.
fn act(
    control: &Arc<Control>,
    action: &str,
    expires_after: Option<Duration>,
    input: &Input,
    blocking: &Blocking,
) -> Result<(), Refusal> {
    let part = &*control.part;
    let actions = part.actions();
    let Some(action) = actions.iter().find(|known| **known == action) else {
        return Err(unknown_action(actions));
    };
    let mut given = ActionInput::new();
    for (name, value) in input.values(part.inputs(action))? {
        given = given.with(name, value);
    }
    if let Some(term) = expires_after {
        given = given.for_a_time(term);
    }
    control.subject.forget_what_has_changed();
    let acted = part.act_with(action, &given)?;
    control.subject.acted(control, acted.effect, blocking);
    Ok(())
}

/// An action in the log: that it is asked for, before anything is done, and how it ended, whoever still waits for that.
struct Told {
    control: Arc<Control>,
    action: String,
    /// What was given along, as far as it is short.
    input: String,
    caller: Caller,
    outcome: &'static str,
}

impl Told {
    fn asked(control: &Arc<Control>, action: &str, input: &Input, caller: &Caller) -> Self {
        // Debug, which escapes it: it is what somebody sent.
        let action: String = action.chars().take(64).collect();
        let input = input.to_string();
        tracing::info!(
            target: "cortex_http::admin", actor = caller.actor(), peer = %caller.peer, kind = &*control.kind,
            name = &*control.name, ?action, input, "an action is asked for"
        );
        Self {
            control: Arc::clone(control),
            action,
            input,
            caller: caller.clone(),
            outcome: "not begun",
        }
    }

    fn ends(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let Self {
            control,
            action,
            input,
            caller,
            outcome,
        } = self;
        tracing::info!(
            target: "cortex_http::admin", actor = caller.actor(), peer = %caller.peer, kind = &*control.kind,
            name = &*control.name, ?action, input, outcome, "an action has ended"
        );
    }
}

/// How a part is, and what it can do.
struct Shown {
    state: ControlState,
    actions: &'static [&'static str],
    inputs: Vec<(&'static str, Inputs)>,
}

/// What an action takes.
type Inputs = &'static [(&'static str, InputKind)];

impl Shown {
    fn of(control: &Control) -> Self {
        let actions = control.part.actions();
        let inputs = actions
            .iter()
            .map(|action| (*action, control.part.inputs(action)));
        Self {
            state: control.state(),
            actions,
            inputs: inputs.filter(|(_, inputs)| !inputs.is_empty()).collect(),
        }
    }

    fn write(&self, object: &mut Object) {
        self.state.write(object);
        object.texts("actions", self.actions.iter().copied());
        if self.inputs.is_empty() {
            return;
        }
        let mut all = Object::new();
        for (action, inputs) in &self.inputs {
            let mut kinds = Object::new();
            for (name, kind) in *inputs {
                kinds.text(name, kind.as_str());
            }
            all.literal(action, kinds.finish());
        }
        object.literal("inputs", all.finish());
    }
}

fn written(control: &Control, state: &Result<Shown, Unanswered>) -> String {
    let mut object = Object::new();
    object.text("kind", &control.kind);
    object.text("name", &control.name);
    match state {
        Ok(state) => state.write(&mut object),
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
