use super::batch::{Batch, Batched, Then};
use crate::encoder::{Grain, MIN_SAMPLE, Rate, Size};
use crate::error::EncodeError;
use crate::offload::{Offload, Ticket, submit};
use crate::pool::{Lease, Worker};
use bytes::Bytes;
use std::collections::VecDeque;

/// The sync marker of gzip wants room, or it is written twice.
const MIN_ROOM: usize = 64;

/// The encoder and what of its output is no frame yet.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) lease: Lease,
    pub(super) size: Size,
    /// Output at the start of the worker's buffer.
    pub(super) filled: usize,
    /// Input that the encoder has collected and not worked on.
    pub(super) inside: usize,
    /// What there is to work up before the input.
    pub(super) ahead: usize,
    /// The input that is worked on at a time, and in what pieces.
    pub(super) slice: usize,
    pub(super) grain: Grain,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Core {
    pub(super) fn new(lease: Lease, size: Size) -> Self {
        let mut core = Self {
            ahead: lease.ahead(),
            lease,
            size,
            filled: 0,
            inside: 0,
            slice: 0,
            grain: Grain::Fine,
            bytes_in: 0,
            bytes_out: 0,
        };
        core.measure();
        core
    }

    /// Sets the length of a slice by what is known of the cost by now.
    pub(super) fn measure(&mut self) {
        let offer = self.lease.offer();
        let slice = offer.cost.stream.slice();
        self.grain = self.lease.grain(slice);
        self.slice = slice;
    }

    pub(super) fn rate(&self) -> &Rate {
        &self.lease.offer().cost.stream
    }

    /// Has the dictionary worked up elsewhere.
    pub(super) fn warm_up(self, offload: Option<&dyn Offload>) -> Result<Ticket<Batch, Batched>, Lease> {
        let Some(offload) = offload else {
            return Err(self.lease);
        };
        let batch = Batch {
            core: self,
            input: Bytes::new(),
            then: Then::Begin,
        };
        submit(offload, batch, Batch::run).map_err(|batch| batch.core.lease)
    }

    pub(super) fn start(&mut self) -> Result<(), EncodeError> {
        let size = self.size;
        self.lease.worker().encoder.start(size)?;
        self.lease.settle();
        Ok(())
    }

    /// Returns how much of that much input to encode next.
    pub(super) fn step(&self, most: usize) -> usize {
        match self.grain {
            Grain::Fine => {
                let step = (self.slice / 4).max(MIN_SAMPLE); // with a look at the clock in between
                if most < step + MIN_SAMPLE { most } else { step } // no rest that is not timed
            }
            Grain::Gulp(bytes) => most.min(bytes),
            Grain::Parted { cut, .. } if self.inside >= cut => 0, // it is to be flushed
            Grain::Parted { block, .. } => most.min(block - self.inside % block),
            Grain::Block(bytes) | Grain::Cut(bytes) => most.min(bytes.saturating_sub(self.inside).max(1)),
        }
    }

    /// Returns how much input will be worked on if this much is encoded, and flushed or not.
    pub(super) fn load(&self, length: usize, flush: bool) -> usize {
        let total = self.inside + length;
        let input = match self.grain {
            Grain::Fine | Grain::Gulp(_) => length,
            Grain::Parted { block, cut } => {
                let begun = self.inside % block + length;
                if flush {
                    self.grain.load(begun, total)
                } else if self.inside >= cut {
                    self.grain.load(0, total)
                } else {
                    self.grain.load(begun / block * block, 0)
                }
            }
            Grain::Block(_) | Grain::Cut(_) if flush => total,
            Grain::Block(bytes) | Grain::Cut(bytes) => total / bytes * bytes,
        };
        self.ahead + input
    }

    /// Encodes input that is no longer than a [`step`](Self::step).
    pub(super) fn encode(&mut self, input: &[u8], ready: &mut VecDeque<Bytes>) -> Result<(), EncodeError> {
        self.ahead = 0;
        if let Grain::Parted { cut, .. } = self.grain
            && self.inside >= cut
        {
            self.drain(Encoding::Flush, ready)?;
            self.measure();
        }
        let mut left = input;
        while !left.is_empty() {
            let before = left.len();
            let Worker { encoder, out } = self.lease.worker();
            let written = encoder.encode(&mut left, &mut out[self.filled..])?;
            if written == 0 && left.len() == before {
                return Err(self.stuck());
            }
            self.filled += written;
            self.emit(0, ready);
        }
        self.bytes_in += input.len() as u64;
        self.inside += input.len();
        match self.grain {
            Grain::Fine | Grain::Gulp(_) => {
                self.inside = 0;
                self.measure();
            }
            Grain::Block(bytes) if self.inside >= bytes => {
                self.inside %= bytes;
                self.measure();
            }
            Grain::Cut(bytes) if self.inside >= bytes => {
                self.drain(Encoding::Flush, ready)?;
                self.measure();
            }
            Grain::Block(_) | Grain::Cut(_) | Grain::Parted { .. } => {}
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, ready: &mut VecDeque<Bytes>) -> Result<(), EncodeError> {
        self.drain(Encoding::Flush, ready)?;
        self.emit(usize::MAX, ready);
        self.measure();
        Ok(())
    }

    pub(super) fn finish(&mut self, ready: &mut VecDeque<Bytes>) -> Result<(), EncodeError> {
        self.drain(Encoding::Finish, ready)?;
        self.emit(usize::MAX, ready);
        Ok(())
    }

    pub(super) fn drain(&mut self, how: Encoding, ready: &mut VecDeque<Bytes>) -> Result<(), EncodeError> {
        loop {
            let room = if self.grain == Grain::Fine { MIN_ROOM } else { 0 };
            self.emit(room, ready);
            let Worker { encoder, out } = self.lease.worker();
            let out = &mut out[self.filled..];
            let drained = match how {
                Encoding::Flush => encoder.flush(out)?,
                Encoding::Finish => encoder.finish(out)?,
            };
            self.filled += drained.written;
            if drained.done {
                self.inside = 0;
                self.lease.settle();
                return Ok(());
            }
            if drained.written == 0 {
                return Err(self.stuck());
            }
        }
    }

    /// Makes a frame of the output if there is no more room left than this.
    pub(super) fn emit(&mut self, room: usize, ready: &mut VecDeque<Bytes>) {
        let out = &self.lease.worker().out;
        if self.filled == 0 || self.filled.saturating_add(room) < out.len() {
            return;
        }
        let data = Bytes::copy_from_slice(&out[..self.filled]);
        self.bytes_out += data.len() as u64;
        self.filled = 0;
        ready.push_back(data);
    }

    pub(super) fn stuck(&self) -> EncodeError {
        EncodeError::new(
            self.lease.offer().coding.as_str(),
            "the encoder makes no progress",
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Flush,
    Finish,
}
