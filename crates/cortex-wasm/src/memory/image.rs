use super::costs::Way;
use super::file::{FileBytes, SealedFile};
use super::linear::LinearHandle;
use super::slot::{PAGE, WRITTEN};
use crate::error::Error;
use wasmer::AsStoreMut;

/// The granule in which changes are known: a page of the processor, or a part of one.
pub(crate) const GRANULE: usize = 4096;

/// What a memory was: its length, and its bytes up to the last one that isn't zero.
#[derive(Debug)]
pub(crate) struct Image {
    content: Content,
    length: usize,
}

#[derive(Debug)]
enum Content {
    /// A copy.
    Bytes(Box<[u8]>),
    /// A file, which lies below the memories of all instances that have the image.
    File(SealedFile, FileBytes),
}

/// What restoring took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restored {
    /// The way that was gone.
    pub(crate) way: Way,
    /// So many bytes were beyond the image's length, and are gone.
    pub(crate) shrunk: u64,
}

impl Image {
    /// Takes what is in a memory now.
    ///
    /// More than 512 KiB go to a file in memory, which is laid below the guest's: so much is not copied at each reset.
    ///
    /// # Errors
    ///
    /// [`Error::Paging`] if the kernel doesn't give us the file.
    pub(crate) fn capture(memory: &LinearHandle, store: &mut impl AsStoreMut) -> Result<Self, Error> {
        let all = memory.all(store);
        let length = all.len();
        let used = used(all);
        let content = if used <= WRITTEN {
            Content::Bytes(all[..used].into())
        } else {
            let used = used.next_multiple_of(PAGE);
            let file = SealedFile::new(&all[..used]).map_err(Error::paging)?;
            let bytes = file.read().map_err(Error::paging)?;
            memory.lay(store, &file)?;
            Content::File(file, bytes)
        };
        Ok(Self { content, length })
    }

    /// Tells whether a memory is just like the image, and if so, makes the image its own one too.
    ///
    /// Instances of a module begin alike, unless they ask for the time or for random numbers: they need one image, and
    /// have the pages of a file in common until they write.
    ///
    /// # Errors
    ///
    /// As for [`capture`](Self::capture).
    pub(crate) fn adopt(&self, memory: &LinearHandle, store: &mut impl AsStoreMut) -> Result<bool, Error> {
        let all = memory.all(store);
        let is_alike = all.len() == self.length && {
            let (kept, rest) = all.split_at(self.len());
            kept == self.bytes() && used(rest) == 0
        };
        if let (true, Content::File(file, _)) = (is_alike, &self.content) {
            memory.lay(store, file)?;
        }
        Ok(is_alike)
    }

    /// Returns how many bytes are kept.
    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Returns the ways back to it, that which is likely the cheapest first.
    ///
    /// That of known pages isn't among them: whoever knows them goes it.
    pub(crate) fn ways(&self) -> &'static [Way] {
        match self.content {
            Content::Bytes(_) => &[Way::Copy],
            Content::File(..) => &[Way::Discard, Way::Copy],
        }
    }

    /// Makes the memory what it was, and as long.
    ///
    /// [`Way::Discard`] needs the image's file below, and [`Way::Copy`] is gone if that isn't there.
    ///
    /// # Errors
    ///
    /// [`Error::Paging`] if the kernel refuses, or [`Error::Quota`] if the memory is shorter than it was and may not
    /// grow. It is not what it was then, and must not be used.
    pub(crate) fn restore(
        &self,
        memory: &LinearHandle,
        store: &mut impl AsStoreMut,
        way: Way,
    ) -> Result<Restored, Error> {
        let shrunk = self.fit(memory, store)?;
        let is_done = match (way, &self.content) {
            (Way::Discard, Content::File(file, _)) => memory.discard(store, file)?,
            _ => false,
        };
        let way = if is_done {
            Way::Discard
        } else {
            let bytes = self.bytes();
            memory.all_mut(store)[..bytes.len()].copy_from_slice(bytes);
            memory.zero(store, bytes.len()..self.length)?;
            Way::Copy
        };
        Ok(Restored { way, shrunk })
    }

    /// Makes those parts of the memory what they were that have changed, each 4 KiB long and told by its number, and
    /// the memory as long.
    ///
    /// What changed and isn't told stays: the next guest finds it.
    ///
    /// # Errors
    ///
    /// As for [`restore`](Self::restore).
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for whoever knows which pages have changed")
    )]
    pub(crate) fn restore_pages(
        &self,
        memory: &LinearHandle,
        store: &mut impl AsStoreMut,
        changed: impl IntoIterator<Item = usize>,
    ) -> Result<Restored, Error> {
        let shrunk = self.fit(memory, store)?;
        let bytes = self.bytes();
        let all = memory.all_mut(store);
        for number in changed {
            let start = number.saturating_mul(GRANULE);
            let end = start.saturating_add(GRANULE).min(all.len());
            // What is beyond was gone with the length.
            let Some(page) = all.get_mut(start..end) else {
                continue;
            };
            let kept = bytes.get(start..).unwrap_or_default();
            let kept = &kept[..kept.len().min(page.len())];
            let (copied, zeroed) = page.split_at_mut(kept.len());
            copied.copy_from_slice(kept);
            zeroed.fill(0);
        }
        Ok(Restored {
            way: Way::Pages,
            shrunk,
        })
    }

    /// Makes the memory as long as it was, and returns how many bytes are gone.
    fn fit(&self, memory: &LinearHandle, store: &mut impl AsStoreMut) -> Result<u64, Error> {
        let length = memory.all(store).len();
        if length < self.length {
            let pages = (self.length - length) / PAGE;
            memory.grow(store, u32::try_from(pages).unwrap_or(u32::MAX))?;
        } else if length > self.length {
            memory.shrink(store, self.length)?;
        }
        Ok(length.saturating_sub(self.length) as u64)
    }

    fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Bytes(bytes) => bytes,
            Content::File(_, bytes) => bytes.bytes(),
        }
    }
}

/// Returns up to where there is something, in granules.
fn used(all: &[u8]) -> usize {
    let mut granules = all.chunks_exact(GRANULE);
    let empty = [0; GRANULE];
    let last = granules.rposition(|granule| granule != empty);
    last.map_or(0, |last| (last + 1) * GRANULE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::GlobalImage;
    use crate::memory::testing::{Bench, Guest, is_alone};
    use crate::quota::Quota;
    use proptest::prelude::*;
    use std::fs;

    /// Two memory pages, with something in each, and a counter that no export leads to.
    const SMALL: &str = r#"(module
        (memory (export "memory") 2 64)
        (global $count (mut i32) (i32.const 5))
        (data (i32.const 16) "image")
        (data (i32.const 70000) "more")
        (func (export "count") (result i32)
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (global.get $count))
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
        (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
        (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2))))"#;

    /// The same with an image that is too large to be copied each time.
    fn large() -> String {
        SMALL
            .replace("2 64", "20 64")
            .replace("(i32.const 70000)", "(i32.const 1179650)")
    }

    fn guest(text: &str) -> (Bench, Guest, Image) {
        let bench = Bench::new();
        let mut guest = bench.guest(text);
        let image = capture(&mut guest);
        (bench, guest, image)
    }

    fn capture(guest: &mut Guest) -> Image {
        Image::capture(&guest.made.memories[0], &mut guest.store).expect("an image")
    }

    fn restore(guest: &mut Guest, image: &Image, way: Way) -> Restored {
        image
            .restore(&guest.made.memories[0], &mut guest.store, way)
            .expect("a memory that can be restored")
    }

    #[test]
    fn no_way_leaves_anything_behind() {
        for (text, ways) in [
            (SMALL.to_owned(), vec![Way::Copy]),
            (large(), vec![Way::Discard, Way::Copy]),
        ] {
            let (bench, mut guest, image) = guest(&text);
            assert_eq!(image.ways(), ways);
            let before = guest.bytes().to_vec();
            let length = i32::try_from(before.len()).unwrap();
            for way in ways.into_iter().cycle().take(6) {
                // A secret in the image, in the rest, and beyond, up to the highest byte.
                assert_eq!(guest.call("grow", &[9]).unwrap(), length / 65_536);
                guest.call("fill", &[0, 0x5e, length + 9 * 65_536]).unwrap();
                assert_eq!(bench.account.live(), before.len() as u64 + 9 * 65_536);
                let restored = restore(&mut guest, &image, way);
                assert_eq!(
                    restored,
                    Restored {
                        way,
                        shrunk: 9 * 65_536
                    }
                );
                assert!(guest.bytes() == before, "{way:?}");
                assert_eq!(bench.account.live(), before.len() as u64);

                // It is gone, not only out of sight: the guest traps where it was, and finds zeros there once it grew.
                assert!(guest.call("load", &[length]).is_err());
                assert!(guest.call("store", &[length + 65_536, 1]).is_err());
                guest.call("grow", &[9]).unwrap();
                let all = guest.bytes();
                assert_eq!(all.len(), before.len() + 9 * 65_536);
                assert!(all[before.len()..].iter().all(|&byte| byte == 0));
                restore(&mut guest, &image, way);
            }
        }
    }

    #[test]
    fn an_image_ends_where_the_last_zeros_begin() {
        let (_bench, guest, image) = guest(SMALL);
        assert_eq!(image.len(), 72 << 10, "up to the granule of the last segment");
        assert_eq!(image.bytes(), &guest.bytes()[..72 << 10]);
        let (.., image) = self::guest(r"(module (memory 3))");
        assert_eq!(image.len(), 0);
        let (_bench, guest, image) = self::guest(&large());
        assert_eq!(image.len(), 19 << 16, "a file ends with a page");
        assert_eq!(image.bytes(), &guest.bytes()[..19 << 16]);
        let (.., image) = self::guest(r"(module (memory 0))");
        assert_eq!(image.len(), 0);
    }

    #[test]
    fn known_pages_are_restored_and_others_are_not_touched() {
        for text in [SMALL.to_owned(), large()] {
            let (_bench, mut guest, image) = guest(&text);
            let before = guest.bytes().to_vec();
            let last = i32::try_from(before.len()).unwrap() - 1;
            for at in [20, 4096, 70_001, last] {
                guest.call("store", &[at, 0x5e]).unwrap();
            }
            guest.call("grow", &[1]).unwrap();
            let changed = [
                0,
                1,
                17,
                before.len() / GRANULE - 1,
                before.len() / GRANULE,
                usize::MAX,
            ];
            let memory = &guest.made.memories[0];
            let restored = image.restore_pages(memory, &mut guest.store, changed).unwrap();
            assert_eq!(
                restored,
                Restored {
                    way: Way::Pages,
                    shrunk: 65_536
                }
            );
            assert!(guest.bytes() == before);

            guest.call("store", &[5000, 1]).unwrap();
            let memory = &guest.made.memories[0];
            image.restore_pages(memory, &mut guest.store, [0]).unwrap();
            assert_eq!(guest.bytes()[5000], 1, "nobody told of it");
        }
    }

    #[test]
    fn the_next_guest_of_a_slot_sees_nothing_of_an_image() {
        let bench = Bench::new();
        for text in [large(), SMALL.to_owned(), large()] {
            let mut guest = bench.guest(&text);
            let image = capture(&mut guest);
            guest.call("fill", &[0, 0x5e, 2 * 65_536]).unwrap();
            restore(&mut guest, &image, Way::Discard);
            guest.call("fill", &[0, 0x5e, 2 * 65_536]).unwrap();
            drop(guest);
            let empty = bench.guest("(module (memory 20))");
            assert!(empty.bytes().iter().all(|&byte| byte == 0));
            assert_eq!(bench.slots.usage().idle, 0, "it is the same slot");
        }
    }

    #[test]
    fn instances_that_are_alike_have_one_image() {
        for text in [SMALL.to_owned(), large()] {
            let (bench, first, image) = guest(&text);
            let mut second = bench.guest(&text);
            let adopted = |guest: &mut Guest| image.adopt(&guest.made.memories[0], &mut guest.store).unwrap();
            assert!(adopted(&mut second));
            for way in image.ways() {
                second.call("fill", &[0, 0x5e, 2 * 65_536]).unwrap();
                assert_eq!(restore(&mut second, &image, *way).way, *way);
                assert!(second.bytes() == first.bytes(), "{way:?}");
            }
            // The last byte of the image, one behind it, and the length make a difference.
            let kept = i32::try_from(image.len()).unwrap();
            for at in [0, kept - 1, kept, i32::try_from(first.bytes().len()).unwrap() - 1] {
                restore(&mut second, &image, Way::Copy);
                second.call("store", &[at, 0x5e]).unwrap();
                assert!(!adopted(&mut second), "{at}");
            }
            restore(&mut second, &image, Way::Copy);
            assert!(adopted(&mut second));
            second.call("grow", &[1]).unwrap();
            assert!(!adopted(&mut second));
            drop((first, image, bench));
            assert_eq!(&second.bytes()[16..21], b"image");
        }
    }

    #[test]
    fn an_image_outlives_its_guest() {
        let bench = Bench::new();
        let mut first = bench.guest(&large());
        let image = capture(&mut first);
        drop(first);
        let mut second = bench.guest("(module (memory 20 64))");
        // The file doesn't lie below this one, so that it must be copied.
        let restored = restore(&mut second, &image, Way::Discard);
        assert_eq!((restored.way, restored.shrunk), (Way::Copy, 0));
        assert_eq!(&second.bytes()[16..21], b"image");
        assert_eq!(&second.bytes()[1_179_650..1_179_654], b"more");
    }

    #[test]
    fn a_memory_that_is_too_short_grows_or_says_why_not() {
        let (_bench, _guest, image) = guest("(module (memory 9) (data (i32.const 9) \"x\"))");
        let bench = Bench::with(Quota::new().max_bytes(4 << 16));
        let mut short = bench.guest("(module (memory 1))");
        let error = image
            .restore(&short.made.memories[0], &mut short.store, Way::Copy)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "use 589824 bytes of memory where 262144 are allowed"
        );
        let bench = Bench::new();
        let mut short = bench.guest("(module (memory 1))");
        restore(&mut short, &image, Way::Copy);
        assert_eq!((short.bytes().len(), short.bytes()[9]), (9 << 16, b'x'));
    }

    /// Returns how many mappings, descriptors and resident KiB the process has.
    fn held() -> (usize, usize, usize) {
        let maps = fs::read_to_string("/proc/self/maps").expect("maps");
        let descriptors = fs::read_dir("/proc/self/fd").expect("descriptors");
        let status = fs::read_to_string("/proc/self/status").expect("a status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.expect("what is resident").trim().trim_end_matches(" kB");
        (
            maps.lines().count(),
            descriptors.count(),
            resident.parse().expect("a number"),
        )
    }

    #[test]
    fn resets_and_guests_leave_nothing_in_the_process() {
        if !is_alone("memory::image::tests::resets_and_guests_leave_nothing_in_the_process") {
            return;
        }
        let bench = Bench::new();
        let texts = [SMALL.to_owned(), large()];
        let round = |resets: usize| {
            for text in &texts {
                let mut guest = bench.guest(text);
                let image = capture(&mut guest);
                for reset in 0..resets {
                    let memory = &guest.made.memories[0];
                    memory.grow(&mut guest.store, 20).expect("pages");
                    memory.all_mut(&mut guest.store)[reset % 7 * 65_536..][..65_536].fill(0x5e);
                    let ways = image.ways();
                    restore(&mut guest, &image, ways[reset % ways.len()]);
                }
            }
        };
        let half = || {
            round(300);
            (0..20).for_each(|_| round(1));
            held()
        };
        let (first, second) = (half(), half());
        assert_eq!(first.1, second.1, "descriptors");
        // The compiler and the allocator vary by a few. A mapping of each guest would be 42, 64 KiB of each reset 37
        // MiB.
        assert!(second.0 < first.0 + 20, "mappings: {first:?} {second:?}");
        assert!(second.2 < first.2 + 8_192, "KiB: {first:?} {second:?}");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Grow(i32),
        Fill(i32, i32, i32),
        Count,
        Restore(bool),
        /// Wasmer's own reset: the memory has no length then, and what was laid below is gone.
        Empty,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..40_i32).prop_map(Step::Grow),
            (0..4_000_000_i32, 1..256_i32, 0..3_000_000_i32)
                .prop_map(|(at, byte, len)| Step::Fill(at, byte, len)),
            Just(Step::Count),
            any::<bool>().prop_map(Step::Restore),
            Just(Step::Empty),
        ];
        prop::collection::vec(step, 1..24)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever a guest did, once it is restored it is a new one, byte for byte, and does what a new one does.
        #[test]
        fn a_restored_guest_is_a_new_one(steps in steps(), is_large: bool) {
            let text = if is_large { large() } else { SMALL.to_owned() };
            let (bench, mut guest, image) = guest(&text);
            let globals = GlobalImage::capture(&guest.made.globals, &guest.store);
            let fresh = guest.bytes().to_vec();
            let mut length = fresh.len();
            let mut count = 5;
            for step in steps {
                match step {
                    Step::Grow(pages) => {
                        let grown = length + usize::try_from(pages).unwrap() * 65_536;
                        let expected = if grown <= 64 * 65_536 { length / 65_536 } else { usize::MAX };
                        let before = guest.call("grow", &[pages]).unwrap();
                        prop_assert_eq!(usize::try_from(before).unwrap_or(usize::MAX), expected);
                        length = if expected == usize::MAX { length } else { grown };
                    }
                    Step::Fill(at, byte, len) => {
                        let fits = usize::try_from(at + len).unwrap() <= length;
                        prop_assert_eq!(guest.call("fill", &[at, byte, len]).is_ok(), fits);
                    }
                    Step::Count => {
                        count += 1;
                        prop_assert_eq!(guest.call("count", &[]).unwrap(), count);
                    }
                    Step::Restore(by_copy) => {
                        restore(&mut guest, &image, if by_copy { Way::Copy } else { Way::Discard });
                        globals.restore(&mut guest.store);
                        (length, count) = (fresh.len(), 5);
                        prop_assert!(guest.bytes() == fresh);
                    }
                    Step::Empty => {
                        let memory = guest.instance.exports.get_memory("memory").unwrap().clone();
                        memory.reset(&mut guest.store).unwrap();
                        length = 0;
                    }
                }
                prop_assert_eq!(guest.bytes().len(), length);
                prop_assert_eq!(bench.account.live(), length as u64);
            }
        }
    }
}
