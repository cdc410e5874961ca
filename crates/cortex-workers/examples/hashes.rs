//! Prints the SHA-256 of files as `sha256sum` does, with a bar of its progress on stderr:
//! `cargo run --release -p cortex-workers --features rayon --example hashes -- FILE..`. Without files it reads the sources of this crate.
#![expect(clippy::print_stdout, reason = "the hashes are its answer")]

use cortex_workers::{CpuPool, Drain};
use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if paths.is_empty() {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths)?;
        paths.sort();
    }
    for (path, hash) in paths.iter().zip(hash_all(paths.clone())?) {
        match hash {
            Ok(hash) => println!("{hash}  {}", path.display()),
            Err(error) => eprint(format_args!("{}: {error}\n", path.display())),
        }
    }
    Ok(())
}

fn hash_all(paths: Vec<PathBuf>) -> Result<Vec<io::Result<String>>, Box<dyn Error>> {
    let cpu = CpuPool::builder("hashes").queue(4).build_blocking()?;
    let hashes = cpu.map_chunks(paths, 1, |file| hash_file(&file[0]));
    let hashes = hashes.progress(bar).wait()?;
    eprint(format_args!("\n"));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let report = runtime.block_on(cpu.shutdown(Drain::within(Duration::from_secs(1))));
    if report.is_complete() {
        Ok(hashes)
    } else {
        Err("some work was left".into())
    }
}

/// Finds all files below a directory.
fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in directory.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// Draws how much is done.
fn bar(done: usize, total: usize) {
    let width = 40;
    let full = done * width / total.max(1);
    let (full, rest) = ("#".repeat(full), ".".repeat(width - full));
    eprint(format_args!("\r[{full}{rest}] {done}/{total}"));
}

/// Writes to stderr; that nobody reads it is no reason to stop.
fn eprint(text: std::fmt::Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sha.hex()),
            count => sha.update(&buffer[..count]),
        }
    }
}

/// SHA-256, FIPS 180-4.
struct Sha256 {
    state: [u32; 8],
    block: Vec<u8>,
    bytes: u64,
    keys: [u32; 64],
}

/// The first 32 bits of the fractional parts of a root (section 5.3.3 and 4.2.2) of the first primes.
fn fractions<const N: usize>(root: impl Fn(u128, u128) -> bool) -> [u32; N] {
    let mut primes = (2_u128..).filter(|&number| (2..number).all(|divisor| number % divisor != 0));
    std::array::from_fn(|_| {
        let prime = primes.next().unwrap_or_default();
        // The largest number whose power is not above the prime, with 32 bits after the point.
        let mut found = 0_u128;
        for bit in (0..40).rev() {
            if root(found | 1 << bit, prime) {
                found |= 1 << bit;
            }
        }
        u32::try_from(found & u128::from(u32::MAX)).unwrap_or_default()
    })
}

impl Sha256 {
    fn new() -> Self {
        Self {
            state: fractions(|number, prime| number * number <= prime << 64),
            block: Vec::with_capacity(64),
            bytes: 0,
            keys: fractions(|number, prime| (number * number) * number <= prime << 96),
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(64 - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == 64 {
                self.compress();
                self.block.clear();
            }
        }
    }

    fn hex(mut self) -> String {
        let bits = self.bytes * 8;
        let zeros = (119 - self.block.len()) % 64;
        let mut end = vec![0x80];
        end.resize(1 + zeros, 0);
        end.extend_from_slice(&bits.to_be_bytes());
        self.update(&end);
        let words = self.state.iter();
        words.fold(String::new(), |text, word| text + &format!("{word:08x}"))
    }

    #[expect(clippy::many_single_char_names, reason = "the names of the standard")]
    fn compress(&mut self) {
        let mut words = [0_u32; 64];
        for (word, bytes) in words.iter_mut().zip(self.block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, &byte| word << 8 | u32::from(byte));
        }
        for at in 16..64 {
            let (two, fifteen) = (words[at - 2], words[at - 15]);
            let small_0 = fifteen.rotate_right(7) ^ fifteen.rotate_right(18) ^ fifteen >> 3;
            let small_1 = two.rotate_right(17) ^ two.rotate_right(19) ^ two >> 10;
            let sum = words[at - 16].wrapping_add(small_0).wrapping_add(words[at - 7]);
            words[at] = sum.wrapping_add(small_1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = self.state;
        for (word, key) in words.iter().zip(&self.keys) {
            let large_1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = (e & f) ^ (!e & g);
            let first = [large_1, choice, *key, *word]
                .into_iter()
                .fold(h, u32::wrapping_add);
            let large_0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = (a & b) ^ (a & c) ^ (b & c);
            (h, g, f, e) = (g, f, e, d.wrapping_add(first));
            (d, c, b, a) = (c, b, a, first.wrapping_add(large_0).wrapping_add(majority));
        }
        for (word, more) in self.state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(bytes: &[u8]) -> String {
        let mut sha = Sha256::new();
        sha.update(bytes);
        sha.hex()
    }

    #[test]
    fn the_hashes_are_those_of_the_standard() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha(b"abc"), abc);
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha(b""), empty);
        let two_blocks = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
        assert_eq!(
            sha(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            two_blocks
        );
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(sha(&vec![b'a'; 1_000_000]), million);
    }

    #[test]
    fn files_are_hashed_in_their_order_and_those_that_are_not_there_have_an_error() {
        let mut paths = Vec::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths).unwrap();
        assert!(paths.len() > 20);
        paths.push(PathBuf::from("no such file"));
        let hashes = hash_all(paths.clone()).unwrap();
        for (path, hash) in paths.iter().zip(hashes) {
            assert_eq!(hash.ok(), std::fs::read(path).ok().map(|bytes| sha(&bytes)));
        }
    }
}
