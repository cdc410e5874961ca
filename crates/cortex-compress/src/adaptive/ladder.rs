use crate::coding::Coding;

/// Returns the levels that a coding is stepped down to from this one, the first one first.
///
/// Each costs about half of what the one before costs, or what is lowest is near: measured, as all of these numbers, on
/// 10 KB of JSON. Encoders of `whole` bodies may be other ones than those of streams.
pub(crate) fn ladder(coding: Coding, level: u8, whole: bool) -> impl Iterator<Item = u8> {
    std::iter::successors(below(coding, level, whole), move |&level| {
        below(coding, level, whole)
    })
}

/// Returns how many steps there are at most.
pub(crate) fn steps(coding: Coding, level: u8) -> u8 {
    let [whole, streamed] = [true, false].map(|whole| ladder(coding, level, whole).count());
    u8::try_from(whole.max(streamed)).unwrap_or(u8::MAX)
}

fn below(coding: Coding, level: u8, whole: bool) -> Option<u8> {
    let _ = whole;
    match (coding, level) {
        #[cfg(feature = "zstd")]
        (Coding::Zstd, level) => match level {
            ..=1 => None, // the fast levels below it have numbers that are no levels of ours
            2..=4 => Some(1),
            5..=10 => Some(3),
            11..=15 => Some(7),
            _ => Some(11),
        },
        #[cfg(feature = "brotli")]
        (Coding::Br, level) => match level {
            ..=1 => None, // 0 takes as long
            2..=4 => Some(1),
            5 | 6 => Some(2),
            7..=9 => Some(5),
            _ => Some(9),
        },
        #[cfg(feature = "gzip")]
        (Coding::Gzip, level) => below_zlib(level, whole),
        #[cfg(feature = "deflate")]
        (Coding::Deflate, level) => below_zlib(level, whole),
    }
}

#[cfg(any(feature = "deflate", feature = "gzip"))]
const fn below_zlib(level: u8, whole: bool) -> Option<u8> {
    match level {
        6.. => Some(4),
        5 if whole => Some(4),
        // Whole bodies are encoded in the same way at all levels up to 4.
        3.. if !whole => Some(2), // the first of zlib-rs gives a quarter more bytes
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ladder_goes_down_to_an_end_by_levels_of_the_coding() {
        for &coding in Coding::ALL {
            for level in coding.levels() {
                for whole in [false, true] {
                    let steps: Vec<_> = ladder(coding, level, whole).collect();
                    assert!(steps.len() <= 4, "{coding} {level}: {steps:?}");
                    assert!(steps.iter().all(|step| coding.levels().contains(step)));
                    let all: Vec<_> = std::iter::once(level).chain(steps).collect();
                    assert!(
                        all.is_sorted_by(|before, after| before > after),
                        "{coding}: {all:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_levels_that_are_run_on_every_response_have_few_steps() {
        let levels = |coding, level, whole| ladder(coding, level, whole).collect::<Vec<u8>>();
        #[cfg(feature = "gzip")]
        {
            assert!(levels(Coding::Gzip, 4, true).is_empty());
            assert_eq!(levels(Coding::Gzip, 9, true), [4]);
            assert_eq!(levels(Coding::Gzip, 4, false), [2], "1 is a trap");
            assert_eq!(levels(Coding::Gzip, 9, false), [4, 2]);
        }
        #[cfg(feature = "brotli")]
        {
            assert_eq!(levels(Coding::Br, 4, false), [1]);
            assert_eq!(levels(Coding::Br, 11, true), [9, 5, 2, 1]);
        }
        #[cfg(feature = "zstd")]
        {
            assert!(levels(Coding::Zstd, 1, true).is_empty());
            assert_eq!((steps(Coding::Zstd, 1), steps(Coding::Zstd, 19)), (0, 4));
            assert_eq!(levels(Coding::Zstd, 19, true), [11, 7, 3, 1]);
        }
        let _ = levels;
    }
}
