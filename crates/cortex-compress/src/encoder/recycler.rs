use brotli::enc::cluster::HistogramPair;
use brotli::enc::command::Command;
use brotli::enc::entropy_encode::HuffmanTree;
use brotli::enc::histogram::{ContextType, HistogramCommand, HistogramDistance, HistogramLiteral};
use brotli::enc::util::floatX;
use brotli::enc::{
    Allocator, BrotliAlloc, PDF, SliceWrapper, SliceWrapperMut, StaticCommand, ZopfliNode, s16, v8,
};

/// Memory of one type: a vector of fixed length.
pub(super) struct Block<T>(Vec<T>);

impl<T> Block<T> {
    const fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<T>()
    }
}

impl<T> Default for Block<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> SliceWrapper<T> for Block<T> {
    fn slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> SliceWrapperMut<T> for Block<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

/// The blocks of one type.
struct FreeList<T> {
    free: Vec<Block<T>>,
    /// What was allocated and is not given back to the system: of free blocks, and of those in use.
    bytes: usize,
}

impl<T> Default for FreeList<T> {
    fn default() -> Self {
        Self {
            free: Vec::new(),
            bytes: 0,
        }
    }
}

impl<T: Clone + Default> FreeList<T> {
    /// Returns a block of default values: the smallest that is free and large enough, or a new one.
    ///
    /// A new one takes the place of the largest that is too small, so that there are never more than were in use at a
    /// time.
    fn take(&mut self, length: usize) -> Block<T> {
        if length == 0 {
            return Block::default();
        }
        let sizes = || self.free.iter().map(|block| block.0.capacity()).enumerate();
        let fit = sizes()
            .filter(|&(_, size)| size >= length)
            .min_by_key(|&(_, size)| size);
        if let Some((at, _)) = fit {
            let mut block = self.free.swap_remove(at);
            block.0.clear();
            block.0.resize(length, T::default());
            return block;
        }
        if let Some((at, _)) = sizes().max_by_key(|&(_, size)| size) {
            self.bytes -= self.free.swap_remove(at).bytes();
        }
        let block = Block(vec![T::default(); length]);
        self.bytes += block.bytes();
        block
    }

    fn give(&mut self, block: Block<T>) {
        if block.0.capacity() > 0 {
            self.free.push(block);
        }
    }

    /// Forgets the blocks that are in use, as the encoder is gone that had them.
    fn settle(&mut self) {
        self.bytes = self.free.iter().map(Block::bytes).sum();
    }
}

macro_rules! recycler {
    ($($list:ident: $item:ty,)*) => {
        /// The allocator of an encoder: what one stream has freed serves the next.
        ///
        /// The encoder has no reset, and takes up to some megabytes bit by bit. From the system, which clears its
        /// pages each time, that is up to a third of the time of a body of 100 KB.
        #[derive(Default)]
        pub(super) struct Recycler {
            $($list: FreeList<$item>,)*
        }

        $(impl Allocator<$item> for Recycler {
            type AllocatedMemory = Block<$item>;

            fn alloc_cell(&mut self, length: usize) -> Block<$item> {
                self.$list.take(length)
            }

            fn free_cell(&mut self, block: Block<$item>) {
                self.$list.give(block);
            }
        })*

        impl BrotliAlloc for Recycler {}

        impl Recycler {
            /// Returns how much memory it holds, in use or free.
            pub(super) const fn bytes(&self) -> usize {
                0 $(+ self.$list.bytes)*
            }

            /// Counts anew once the encoder has freed everything: a block that it dropped instead does not come back.
            pub(super) fn settle(&mut self) {
                $(self.$list.settle();)*
            }
        }
    };
}

recycler! {
    u8s: u8,
    u16s: u16,
    i32s: i32,
    u32s: u32,
    u64s: u64,
    commands: Command,
    floats: floatX,
    float_vectors: v8,
    vectors: s16,
    distributions: PDF,
    static_commands: StaticCommand,
    literals: HistogramLiteral,
    command_histograms: HistogramCommand,
    distances: HistogramDistance,
    pairs: HistogramPair,
    contexts: ContextType,
    trees: HuffmanTree,
    nodes: ZopfliNode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_clean_to_who_needs_as_much_or_less() {
        let mut list = FreeList::<u32>::default();
        let mut block = list.take(100);
        assert_eq!((block.len(), list.bytes), (100, 400));
        block.slice_mut().fill(7);
        let there = block.slice().as_ptr();
        list.give(block);
        let block = list.take(60);
        assert_eq!((block.slice().as_ptr(), block.slice()), (there, &[0; 60][..]));
        assert_eq!(list.bytes, 400);
        list.give(block);
        assert_eq!(list.take(100).slice(), [0; 100]);
    }

    #[test]
    fn there_are_no_more_blocks_than_were_in_use_at_a_time() {
        let mut list = FreeList::<u8>::default();
        for length in 1..1000 {
            let blocks = [list.take(length), list.take(length / 2)];
            for block in blocks {
                list.give(block);
            }
        }
        assert_eq!(list.free.len(), 2);
        assert!((999 + 499..=2 * 999).contains(&list.bytes), "{}", list.bytes);
        let (small, large) = (list.take(10), list.take(999));
        list.give(large);
        drop(small);
        list.settle();
        assert_eq!(list.bytes, list.free[0].bytes());
    }

    #[test]
    fn nothing_is_no_block() {
        let mut recycler = Recycler::default();
        let none = Allocator::<u8>::alloc_cell(&mut recycler, 0);
        Allocator::<u8>::free_cell(&mut recycler, none);
        assert_eq!((recycler.bytes(), recycler.u8s.free.len()), (0, 0));
        let some = Allocator::<HuffmanTree>::alloc_cell(&mut recycler, 3);
        assert_eq!(recycler.bytes(), some.bytes());
        Allocator::<HuffmanTree>::free_cell(&mut recycler, some);
        recycler.settle();
        assert_eq!(recycler.bytes(), 3 * size_of::<HuffmanTree>());
    }
}
