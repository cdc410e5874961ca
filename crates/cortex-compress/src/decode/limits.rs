/// How much a body may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) encoded: u64,
    pub(crate) decoded: u64,
    pub(crate) ratio: u32,
    pub(crate) codings: usize,
    pub(crate) members: u32,
}

/// What a body may decode to before its ratio counts: repetitive, but honest ones are small.
pub(crate) const RATIO_FLOOR: u64 = 1 << 20;

impl Limits {
    /// For what strangers send to a server.
    pub(crate) const REQUEST: Self = Self {
        encoded: 8 << 20,
        decoded: 8 << 20,
        ratio: 200,
        codings: 2,
        members: 1024,
    };

    /// For what a client asked for.
    pub(crate) const RESPONSE: Self = Self {
        encoded: 64 << 20,
        decoded: 64 << 20,
        ..Self::REQUEST
    };
}

/// The settings that both layers have, which hold an `Arc<Shared>` as `shared`.
macro_rules! settings {
    ($size:literal) => {
        /// Decodes these codings only; all of the build by default. Each is named in `Accept-Encoding`, in this order.
        #[must_use]
        pub fn codings(mut self, codings: &[$crate::Coding]) -> Self {
            std::sync::Arc::make_mut(&mut self.shared).offer(codings);
            self
        }

        #[doc = concat!("Sets how long an encoded body may be, in bytes as they are sent; ", $size, " by default.")]
        #[must_use]
        pub fn max_encoded(mut self, bytes: u64) -> Self {
            std::sync::Arc::make_mut(&mut self.shared).limits.encoded = bytes;
            self
        }

        #[doc = concat!("Sets how many bytes a body may decode to; ", $size, " by default.")]
        ///
        /// Where there are several codings, it holds for what each of them decodes to.
        #[must_use]
        pub fn max_decoded(mut self, bytes: u64) -> Self {
            std::sync::Arc::make_mut(&mut self.shared).limits.decoded = bytes;
            self
        }

        /// Sets how many times longer the decoded bytes may be than the encoded ones; 200 by default.
        ///
        /// It counts from 1 MiB of decoded bytes on: short bodies may well be very repetitive.
        #[must_use]
        pub fn max_ratio(mut self, ratio: u32) -> Self {
            std::sync::Arc::make_mut(&mut self.shared).limits.ratio = ratio;
            self
        }

        /// Sets how many codings a body may have, one upon the other; 2 by default.
        #[must_use]
        pub fn max_codings(mut self, count: usize) -> Self {
            std::sync::Arc::make_mut(&mut self.shared).limits.codings = count;
            self
        }

        /// Sets how many members a gzip stream may have, and frames a zstd stream; 1024 by default.
        ///
        /// Frames that are to be skipped count, too: nothing else limits them while they decode to nothing.
        #[must_use]
        pub fn max_members(mut self, count: u32) -> Self {
            std::sync::Arc::make_mut(&mut self.shared).limits.members = count;
            self
        }

        /// Lets the decoders at work hold at most this many bytes of memory together; 256 MiB by default.
        ///
        /// A [`MemoryBudget`](crate::MemoryBudget) may be shared with other layers, those that compress among them, and
        /// tells how much of it is used; a number is one of its own. A body for whose window there is no memory ends
        /// with [`DecodeErrorKind::MemoryBudget`](crate::DecodeErrorKind::MemoryBudget). A decoder holds about 66 KB
        /// (gzip, deflate), what has been decoded and half as much again (br, up to 16 MiB), or 0.2 MB and the window
        /// that the frame asks for (zstd, up to 8 MiB; 2 MiB at the level that most use), from when the frame begins,
        /// however slowly it comes.
        #[must_use]
        pub fn memory_budget(mut self, budget: impl Into<$crate::MemoryBudget>) -> Self {
            std::sync::Arc::make_mut(&mut self.shared).budget = budget.into().into_inner();
            self
        }

        /// Tells an observer what becomes of each body. A second call replaces the observer: give a pair for two.
        #[must_use]
        pub fn observe(mut self, observer: impl $crate::Observer + 'static) -> Self {
            std::sync::Arc::make_mut(&mut self.shared).set_observer(std::sync::Arc::new(observer));
            self
        }

        /// Sets the clock that tells a task when to let others run; [`SystemClock`](cortex_core::SystemClock) by default.
        ///
        /// With one that stands still it is told by the bytes alone.
        #[must_use]
        pub fn clock(mut self, clock: impl cortex_core::Clock + 'static) -> Self {
            std::sync::Arc::make_mut(&mut self.shared).clock = std::sync::Arc::new(clock);
            self
        }
    };
}

pub(crate) use settings;
