use super::core::Core;
use crate::error::EncodeError;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;

/// What a job does.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) core: Core,
    pub(super) input: Bytes,
    pub(super) then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Begins the stream, with what there is to work up before the input.
    Begin,
    Wait,
    Flush,
    Finish,
}

/// What a job has done.
#[derive(Debug)]
pub(super) struct Batched {
    pub(super) core: Result<Core, EncodeError>,
    pub(super) frames: VecDeque<Bytes>,
    pub(super) then: Then,
    /// How long that took.
    pub(super) nanos: u64,
}

impl Batch {
    pub(super) fn run(self) -> Batched {
        let Self {
            mut core,
            mut input,
            then,
        } = self;
        let mut frames = VecDeque::new();
        let load = core.load(input.len(), then != Then::Wait);
        let began = core.lease.shared().clock.nanos();
        let mut run = || -> Result<(), EncodeError> {
            while !input.is_empty() {
                let step = core.step(input.len());
                core.encode(&input[..step], &mut frames)?;
                input.advance(step);
            }
            match then {
                Then::Begin => {
                    core.start()?;
                    core.ahead = 0;
                    core.lease.worker().encoder.warm_up()
                }
                Then::Wait => Ok(()),
                Then::Flush => core.flush(&mut frames),
                Then::Finish => core.finish(&mut frames),
            }
        };
        let result = run();
        let nanos = core.lease.shared().clock.nanos().saturating_sub(began);
        let core = match result {
            Ok(()) => {
                core.rate().learn(load, nanos);
                Ok(core)
            }
            Err(error) => {
                core.lease.discard();
                Err(error)
            }
        };
        Batched {
            core,
            frames,
            then,
            nanos,
        }
    }
}
