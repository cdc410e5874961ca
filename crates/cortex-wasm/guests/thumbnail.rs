//! Makes images small: a binary PPM (P6) comes out at most 64 pixels wide and high, each the mean of those it stands
//! for.

#![deny(unsafe_op_in_unsafe_fn)]

use std::alloc::Layout;
use std::{alloc, slice};

const MOST: usize = 64;

/// Returns a block of memory, or 0 if there is none.
#[no_mangle]
pub extern "C" fn alloc(size: usize) -> *mut u8 {
    match Layout::from_size_align(size.max(1), 1) {
        // SAFETY: the layout has a size.
        Ok(layout) => unsafe { alloc::alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// Frees a block.
///
/// # Safety
///
/// It must be one that `alloc` returned for the same size, and not have been freed.
#[no_mangle]
pub unsafe extern "C" fn dealloc(pointer: *mut u8, size: usize) {
    // SAFETY: `alloc` made this layout of the size.
    unsafe { alloc::dealloc(pointer, Layout::from_size_align_unchecked(size.max(1), 1)) }
}

/// Returns where the small image is, `pointer << 32 | length`, or 0 if the bytes are none. It is the caller's to
/// `dealloc`.
///
/// # Safety
///
/// There must be that many bytes at the pointer.
#[no_mangle]
pub unsafe extern "C" fn transform(pointer: *const u8, length: usize) -> u64 {
    // SAFETY: the caller says so.
    let bytes = unsafe { slice::from_raw_parts(pointer, length) };
    Image::read(bytes).map_or(0, |image| {
        let out = image.shrink().into_boxed_slice();
        let length = out.len() as u64;
        (Box::into_raw(out) as *mut u8 as u64) << 32 | length
    })
}

struct Image<'a> {
    width: usize,
    height: usize,
    /// Red, green and blue of each, by rows.
    pixels: &'a [u8],
}

impl<'a> Image<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(b"P6")?;
        let mut numbers = [0_usize; 3];
        for number in &mut numbers {
            rest = blanks(rest)?;
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (text, after) = rest.split_at(digits);
            *number = std::str::from_utf8(text).ok()?.parse().ok()?;
            rest = after;
        }
        let [width, height, most] = numbers;
        let (blank, pixels) = rest.split_first()?;
        let length = width.checked_mul(height)?.checked_mul(3)?;
        if most != 255 || length == 0 || !blank.is_ascii_whitespace() {
            return None;
        }
        Some(Self {
            width,
            height,
            pixels: pixels.get(..length)?,
        })
    }

    fn shrink(&self) -> Vec<u8> {
        // So many pixels by so many become one; those at the right and below may be of fewer.
        let by = (self.width.max(self.height) + MOST - 1) / MOST;
        let (width, height) = ((self.width + by - 1) / by, (self.height + by - 1) / by);
        let mut out = format!("P6\n{width} {height}\n255\n").into_bytes();
        out.reserve_exact(width * height * 3);
        for top in (0..self.height).step_by(by) {
            for left in (0..self.width).step_by(by) {
                let (bottom, right) = ((top + by).min(self.height), (left + by).min(self.width));
                let count = ((bottom - top) * (right - left)) as u64;
                for color in 0..3 {
                    let row = |y| (left..right).map(move |x| (y * self.width + x) * 3 + color);
                    let sum: u64 = (top..bottom)
                        .flat_map(row)
                        .map(|at| u64::from(self.pixels[at]))
                        .sum();
                    out.push(((sum + count / 2) / count) as u8);
                }
            }
        }
        out
    }
}

/// Skips blanks and comments, of which there must be some.
fn blanks(mut bytes: &[u8]) -> Option<&[u8]> {
    let before = bytes.len();
    while let [first, rest @ ..] = bytes {
        bytes = match first {
            b'#' => &rest[rest.iter().position(|&byte| byte == b'\n')?..],
            byte if byte.is_ascii_whitespace() => rest,
            _ => break,
        };
    }
    (bytes.len() < before).then(|| bytes)
}
