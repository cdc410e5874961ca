use super::decoder::Fault;
use super::error::{DecodeError, Limit};
use super::limits::{Limits, RATIO_FLOOR};
use super::pool::{FRAME, Lease};
use super::shared::Shared;
use crate::coding::Coding;
use crate::observer::Event;
use bytes::{Buf, Bytes};
use std::sync::Arc;

/// The most input that a decoder gets at a time: what comes of it may be long, or take long.
const STEP: usize = 512;

/// What a byte of input counts for, where a byte of output counts for 1: most of the work is in the output.
const INPUT_COST: usize = 2;

/// What a step counts for in itself.
const STEP_COST: usize = 64;

/// The decoders of a body, the coding that was applied last being undone first.
#[derive(Debug)]
pub(super) struct Chain {
    stages: Vec<Stage>,
    limits: Limits,
    /// The bytes of the body that the first stage has read.
    read: u64,
}

/// A decoder, with what it has written and nobody has taken: `start..end` of its buffer.
#[derive(Debug)]
struct Stage {
    lease: Lease,
    start: usize,
    end: usize,
    /// All that it has written, taken or not.
    written: u64,
    /// It filled its buffer, so that more may come without input.
    more: bool,
    /// It has come to the end of the stream.
    ended: bool,
}

/// What [`Chain::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something, which counts for so much work.
    Worked(usize),
    /// Nothing: more of the body is needed.
    Hungry,
    /// Nothing: everything is decoded.
    Ended,
}

impl Chain {
    /// Takes decoders for codings, which are in the order in which they were applied; there is at least one.
    pub(super) fn new(shared: &Arc<Shared>, codings: &[Coding]) -> Result<Self, DecodeError> {
        let mut stages = Vec::with_capacity(codings.len());
        for &coding in codings.iter().rev() {
            let mut lease = Lease::take(shared, coding);
            if let Err(fault) = lease.work(|worker| worker.decoder.start(shared.limits.members)) {
                lease.discard();
                return Err(explain(coding, fault));
            }
            if !lease.settle() {
                return Err(DecodeError::memory(coding));
            }
            stages.push(Stage {
                lease,
                start: 0,
                end: 0,
                written: 0,
                more: false,
                ended: false,
            });
        }
        Ok(Self {
            stages,
            limits: shared.limits,
            read: 0,
        })
    }

    /// Returns what is decoded and not taken yet.
    pub(super) fn ready(&self) -> &[u8] {
        self.last().ready()
    }

    /// Tells whether there is no room for more before what is ready is taken.
    pub(super) fn is_full(&self) -> bool {
        self.last().end == FRAME
    }

    /// Takes what is ready.
    pub(super) fn take(&mut self) -> Bytes {
        let last = self.stages.last_mut().expect("invariant: there is a coding");
        let taken = Bytes::copy_from_slice(last.ready());
        (last.start, last.end) = (0, 0);
        taken
    }

    /// Makes the event of a body that was decoded from so many bytes.
    pub(super) fn decoded(&self, bytes_in: u64) -> Event {
        let bytes_out = self.last().written;
        self.stages[0].lease.name(|coding| Event::Decoded {
            coding,
            bytes_in,
            bytes_out,
        })
    }

    /// Makes the error of a body that is more as it is sent than is allowed.
    pub(super) fn exceeds(&self, limit: Limit) -> DecodeError {
        self.stages[0]
            .lease
            .name(|coding| DecodeError::limit(coding, limit))
    }

    /// Does a bounded amount of work: one call of one decoder. Not to be called while [full](Self::is_full).
    ///
    /// `wire` is the next part of the body, `complete` tells that it is the last one.
    pub(super) fn step(&mut self, wire: &mut Bytes, complete: bool) -> Result<Step, DecodeError> {
        if complete && wire.is_empty() && self.read == 0 {
            return Ok(Step::Ended); // no body at all: many send that, and nothing can be missing
        }
        let last = self.stages.len() - 1;
        let mut at = last;
        loop {
            let (input, input_ended) = match at.checked_sub(1).map(|before| &self.stages[before]) {
                Some(before) => (before.ready(), before.ended),
                None => (&wire[..], complete),
            };
            if self.stages[at].more || !input.is_empty() {
                return self.work(at, wire).map(Step::Worked);
            }
            if input_ended {
                self.stages[at].finish()?;
                if at == last {
                    return Ok(Step::Ended);
                }
                at += 1;
            } else if at == 0 {
                return Ok(Step::Hungry);
            } else {
                at -= 1;
            }
        }
    }

    /// Lets a stage decode, which has input or output in it, and returns what that counts for.
    fn work(&mut self, at: usize, wire: &mut Bytes) -> Result<usize, DecodeError> {
        let (before, rest) = self.stages.split_at_mut(at);
        let stage = &mut rest[0];
        let cost = if let Some(before) = before.last_mut() {
            let (read, cost) = stage.decode(before.ready())?;
            before.start += read;
            if before.start == before.end {
                (before.start, before.end) = (0, 0);
            }
            cost
        } else {
            let (read, cost) = stage.decode(wire)?;
            wire.advance(read);
            self.read += read as u64;
            cost
        };
        let Limits { decoded, ratio, .. } = self.limits;
        let allowed = self.read.saturating_mul(ratio.into()).max(RATIO_FLOOR);
        let limit = if stage.written > decoded {
            Limit::DecodedSize(decoded)
        } else if stage.written > allowed {
            Limit::Ratio(ratio)
        } else {
            return Ok(cost);
        };
        Err(stage.lease.name(|coding| DecodeError::limit(coding, limit)))
    }

    /// Drops the decoders: after an error their states are not to be trusted.
    pub(super) fn discard(mut self) {
        for stage in &mut self.stages {
            stage.lease.discard();
        }
    }

    fn last(&self) -> &Stage {
        self.stages.last().expect("invariant: there is a coding")
    }
}

impl Stage {
    fn ready(&self) -> &[u8] {
        &self.lease.out()[self.start..self.end]
    }

    /// Decodes some of the input into the free part of the buffer; returns how much it read, and what that counts
    /// for.
    fn decode(&mut self, input: &[u8]) -> Result<(usize, usize), DecodeError> {
        let given = &input[..input.len().min(STEP)];
        let mut rest = given;
        let end = self.end;
        let written = self
            .lease
            .work(|worker| worker.decoder.decode(&mut rest, &mut worker.out[end..]))
            .map_err(|fault| self.lease.name(|coding| explain(coding, fault)))?;
        if !self.lease.settle() {
            return Err(self.lease.name(DecodeError::memory));
        }
        let read = given.len() - rest.len();
        if read == 0 && written == 0 && !given.is_empty() {
            let stuck = |coding| DecodeError::corrupt(coding, "the decoder makes no progress");
            return Err(self.lease.name(stuck));
        }
        self.end += written;
        self.written += written as u64;
        self.more = self.end == FRAME;
        // Who stops with input and room left has done as much as may be done between two looks at the clock.
        let counted = if rest.is_empty() || self.more { read } else { STEP };
        Ok((read, written + INPUT_COST * counted + STEP_COST))
    }

    /// Notes that there is neither input nor output any more.
    fn finish(&mut self) -> Result<(), DecodeError> {
        if !self.lease.is_complete() {
            return Err(self.lease.name(DecodeError::truncated));
        }
        self.ended = true;
        Ok(())
    }
}

fn explain(coding: Coding, fault: Fault) -> DecodeError {
    match fault {
        Fault::Corrupt(what) => DecodeError::corrupt(coding, what),
        Fault::Trailing => DecodeError::trailing(coding),
        Fault::Limit(limit) => DecodeError::limit(coding, limit),
    }
}
