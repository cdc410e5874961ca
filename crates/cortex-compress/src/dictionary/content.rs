use super::base64;
use super::fields::to_header;
use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Content that responses are compressed against: a raw dictionary (RFC 9842, section 2.1.4).
///
/// It is what a client has of an earlier response, decoded: an older version of a script, or text that many pages
/// have in common. Clones share it.
///
/// # Examples
///
/// ```
/// use cortex_compress::Dictionary;
///
/// let dictionary = Dictionary::new("<!doctype html><html lang=en><head><meta charset=utf-8>")?;
/// assert_eq!(dictionary.hash()[..2], [0x98, 0x64]);
/// assert!(Dictionary::new("short").is_err());
/// # Ok::<(), cortex_compress::InvalidDictionary>(())
/// ```
#[derive(Clone)]
pub struct Dictionary(Arc<Inner>);

struct Inner {
    content: Bytes,
    hash: [u8; 32],
    /// Tells its encoders from those of others.
    id: u64,
}

impl Dictionary {
    /// The longest one: 2 MiB. An encoder holds a copy.
    pub const MAX_LEN: usize = 2 << 20;

    /// The shortest one that a compressor takes note of.
    const MIN_LEN: usize = 8;

    /// What begins like this, zstd takes for a dictionary of its own format, and clients do not.
    const FORMATTED: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];

    /// Makes a dictionary of what a client has, without any content coding, and computes its SHA-256.
    ///
    /// Whoever gets a response that was compressed against it can find out what is in it, so it must hold no secret
    /// (section 9.2).
    ///
    /// # Errors
    ///
    /// It is shorter than 8 bytes, longer than [`MAX_LEN`](Self::MAX_LEN), or begins like a formatted zstd dictionary
    /// (37 A4 30 EC).
    pub fn new(content: impl Into<Bytes>) -> Result<Self, InvalidDictionary> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let content = content.into();
        if !(Self::MIN_LEN..=Self::MAX_LEN).contains(&content.len()) {
            return Err(InvalidDictionary::Length(content.len()));
        }
        if content.starts_with(&Self::FORMATTED) {
            return Err(InvalidDictionary::Formatted);
        }
        let hash = Sha256::digest(&content).into();
        Ok(Self(Arc::new(Inner {
            content,
            hash,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
        })))
    }

    /// Returns the content.
    pub fn content(&self) -> &Bytes {
        &self.0.content
    }

    /// Returns the SHA-256 of the content.
    pub fn hash(&self) -> &[u8; 32] {
        &self.0.hash
    }

    /// Returns the value of `Available-Dictionary` by which a client says that it has this one (section 2.2).
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_compress::Dictionary;
    ///
    /// let dictionary = Dictionary::new("Once upon a time")?;
    /// assert_eq!(dictionary.available_dictionary(), ":4oYiLCKexzsbxSDYhYMZFXKuDLuqZupoBTmUpeUKyHo=:");
    /// # Ok::<(), cortex_compress::InvalidDictionary>(())
    /// ```
    pub fn available_dictionary(&self) -> HeaderValue {
        to_header(format!(":{}:", base64::encode(self.hash())))
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn len(&self) -> usize {
        self.0.content.len()
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary")
            .field("hash", &base64::encode(self.hash()))
            .field("bytes", &self.len())
            .finish_non_exhaustive()
    }
}

/// Why content cannot be a [`Dictionary`].
///
/// # Examples
///
/// ```
/// use cortex_compress::Dictionary;
///
/// let error = Dictionary::new("short").unwrap_err();
/// assert_eq!(error.to_string(), "use 5 bytes as a dictionary: there have to be 8 to 2097152");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidDictionary {
    /// It is shorter than 8 bytes or longer than [`Dictionary::MAX_LEN`].
    Length(usize),
    /// It begins with 37 A4 30 EC, as a dictionary in zstd's format does; those of RFC 9842 have none.
    Formatted,
}

impl fmt::Display for InvalidDictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (Dictionary::MIN_LEN, Dictionary::MAX_LEN);
        match self {
            Self::Length(length) => {
                write!(
                    f,
                    "use {length} bytes as a dictionary: there have to be {least} to {most}"
                )
            }
            Self::Formatted => f.write_str("use a formatted zstd dictionary: it has to be raw content"),
        }
    }
}

impl Error for InvalidDictionary {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-4: the example of 448 bits.
        let dictionary = Dictionary::new("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").unwrap();
        let words: Vec<u32> = dictionary
            .hash()
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        let expected = [
            0x248d_6a61,
            0xd206_38b8,
            0xe5c0_2693,
            0x0c3e_6039,
            0xa33c_e459,
            0x64ff_2167,
            0xf6ec_edd4,
            0x19db_06c1,
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn what_is_too_short_too_long_or_formatted_is_refused() {
        for length in [0, 7, Dictionary::MAX_LEN + 1] {
            let error = Dictionary::new(vec![b'a'; length]).unwrap_err();
            assert_eq!(error, InvalidDictionary::Length(length));
        }
        for length in [8, Dictionary::MAX_LEN] {
            assert_eq!(Dictionary::new(vec![b'a'; length]).unwrap().len(), length);
        }
        let formatted = b"\x37\xa4\x30\xec and more";
        assert_eq!(
            Dictionary::new(&formatted[..]).unwrap_err(),
            InvalidDictionary::Formatted
        );
        assert!(Dictionary::new(&formatted[1..]).is_ok());
    }

    #[test]
    fn each_has_encoders_of_its_own() {
        let [one, other] = [(); 2].map(|()| Dictionary::new("the same content").unwrap());
        assert_eq!(one.hash(), other.hash());
        assert_ne!(one.id(), other.id());
        assert_eq!(one.clone().id(), one.id());
    }
}
