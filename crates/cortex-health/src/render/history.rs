use super::json::Object;
use crate::history::{Run, Transition};

/// Writes the last runs of a check, oldest first.
pub(super) fn write_runs(object: &mut Object<'_>, runs: impl ExactSizeIterator<Item = Run>) {
    object.list("runs", runs, |out, run| {
        let mut object = Object::open(out);
        object.time("time", run.at());
        object.string("status", run.status().as_str());
        object.string("result", run.result().as_str());
        object.millis("latencyMs", run.latency());
        object.close();
    });
}

/// Writes the last transitions of some checks, oldest first.
pub(super) fn write_transitions<'a>(
    object: &mut Object<'_>,
    transitions: impl Iterator<Item = &'a Transition>,
) {
    object.list("transitions", transitions, |out, transition| {
        let mut object = Object::open(out);
        object.string("check", transition.check());
        object.string("from", transition.from().as_str());
        object.string("to", transition.to().as_str());
        object.time("time", transition.at());
        object.millis("afterMs", transition.after());
        object.flag("flapping", transition.is_flapping());
        object.names("causes", transition.causes());
        if let Some(message) = transition.message() {
            object.string("output", message);
        }
        object.close();
    });
}
