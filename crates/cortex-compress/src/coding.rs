use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A content coding that this build can produce: one variant per enabled feature.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use cortex_compress::Coding;
///
/// assert_eq!(Coding::Gzip.as_str(), "gzip");
/// assert_eq!(Coding::Gzip.levels(), 1..=9);
/// assert!(Coding::ALL.contains(&Coding::Gzip));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coding {
    /// Zstandard (RFC 8878), in windows of at most 8 MiB (RFC 9659).
    #[cfg(feature = "zstd")]
    Zstd,
    /// Brotli (RFC 7932).
    #[cfg(feature = "brotli")]
    Br,
    /// Gzip (RFC 1952), which every client understands.
    #[cfg(feature = "gzip")]
    Gzip,
    /// Deflate (RFC 1951) in the zlib format (RFC 1950), as section 8.4.1.2 of RFC 9110 has it: without that it is of no
    /// use, and with it gzip is as good.
    #[cfg(feature = "deflate")]
    Deflate,
}

impl Coding {
    /// Every coding of this build, in the order of preference that [`CompressionLayer`] starts with.
    ///
    /// [`CompressionLayer`]: crate::CompressionLayer
    pub const ALL: &'static [Self] = &[
        #[cfg(feature = "zstd")]
        Self::Zstd,
        #[cfg(feature = "brotli")]
        Self::Br,
        #[cfg(feature = "gzip")]
        Self::Gzip,
        #[cfg(feature = "deflate")]
        Self::Deflate,
    ];

    /// How many codings a build can have; [`Coding::index`] stays below it.
    pub(crate) const COUNT: usize = 4;

    /// Returns the name of the coding in `Accept-Encoding` and `Content-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            #[cfg(feature = "zstd")]
            Self::Zstd => "zstd",
            #[cfg(feature = "brotli")]
            Self::Br => "br",
            #[cfg(feature = "gzip")]
            Self::Gzip => "gzip",
            #[cfg(feature = "deflate")]
            Self::Deflate => "deflate",
        }
    }

    /// Returns the levels this coding has: a higher one costs more time and gives fewer bytes.
    pub const fn levels(self) -> RangeInclusive<u8> {
        match self {
            #[cfg(feature = "zstd")]
            Self::Zstd => 1..=19,
            #[cfg(feature = "brotli")]
            Self::Br => 0..=11,
            #[cfg(feature = "gzip")]
            Self::Gzip => 1..=9,
            #[cfg(feature = "deflate")]
            Self::Deflate => 1..=9,
        }
    }

    /// Checks a level that comes from outside, such as a configuration file.
    ///
    /// # Errors
    ///
    /// The coding has no such level.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "gzip")] {
    /// use cortex_compress::{Coding, Level};
    ///
    /// assert_eq!(Coding::Gzip.level(6), Ok(Level::new(6)));
    /// let error = Coding::Gzip.level(19).unwrap_err();
    /// assert_eq!(error.to_string(), "use gzip at level 19: its levels are 1 to 9");
    /// # }
    /// ```
    pub const fn level(self, level: u8) -> Result<Level, InvalidLevel> {
        let levels = self.levels();
        if *levels.start() <= level && level <= *levels.end() {
            Ok(Level::new(level))
        } else {
            Err(InvalidLevel {
                coding: self.as_str(),
                first: *levels.start(),
                last: *levels.end(),
                level,
            })
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            #[cfg(feature = "zstd")]
            Self::Zstd => 0,
            #[cfg(feature = "brotli")]
            Self::Br => 1,
            #[cfg(feature = "gzip")]
            Self::Gzip => 2,
            #[cfg(feature = "deflate")]
            Self::Deflate => 3,
        }
    }

    /// Finds the coding with this name, in any case and with the alias of RFC 9110, section 8.4.1.3.
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        const GZIP_ALIAS: &[u8] = b"x-gzip";
        let name = if name.eq_ignore_ascii_case(GZIP_ALIAS) {
            &GZIP_ALIAS[2..]
        } else {
            name
        };
        Self::ALL
            .iter()
            .copied()
            .find(|coding| name.eq_ignore_ascii_case(coding.as_str().as_bytes()))
    }
}

/// Reads the name of a coding, as in a configuration file, in any case.
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "gzip", feature = "zstd"))] {
/// use cortex_compress::{Coding, CompressionLayer, Level, UnknownCoding};
///
/// fn layer(preference: &str) -> Result<CompressionLayer, UnknownCoding> {
///     let mut names = preference.split(',');
///     names.try_fold(CompressionLayer::new(), |layer, name| {
///         Ok(layer.coding(name.trim().parse()?, Level::DEFAULT))
///     })
/// }
/// assert!(format!("{:?}", layer("gzip, zstd").unwrap()).contains("[gzip 4, zstd 1]"));
/// assert!(layer("gzip, snappy").is_err());
/// # }
/// ```
impl FromStr for Coding {
    type Err = UnknownCoding;

    fn from_str(name: &str) -> Result<Self, UnknownCoding> {
        Self::from_name(name.as_bytes()).ok_or_else(|| UnknownCoding { name: name.into() })
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much effort an encoder makes, on the scale of its coding.
///
/// The scales have nothing in common: brotli 5 costs three times what zstd 5 costs. That is why a level is always
/// given together with its [`Coding`].
///
/// # Examples
///
/// ```
/// use cortex_compress::Level;
///
/// assert_ne!(Level::new(6), Level::DEFAULT);
/// assert_eq!(Level::default(), Level::DEFAULT);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Level(Option<u8>);

impl Level {
    /// The level that is safe to run on every response: see [`CompressionLayer::coding`].
    ///
    /// [`CompressionLayer::coding`]: crate::CompressionLayer::coding
    pub const DEFAULT: Self = Self(None);

    /// Makes a level on the scale of the coding it will be used with.
    ///
    /// [`CompressionLayer::coding`] checks it; use [`Coding::level`] for one that may be wrong.
    ///
    /// [`CompressionLayer::coding`]: crate::CompressionLayer::coding
    pub const fn new(level: u8) -> Self {
        Self(Some(level))
    }

    /// Returns the number to give to the encoder.
    pub(crate) const fn resolve(self, coding: Coding) -> u8 {
        match self.0 {
            Some(level) => level,
            None => match coding {
                #[cfg(feature = "zstd")]
                Coding::Zstd => 1,
                #[cfg(feature = "brotli")]
                Coding::Br => 4,
                #[cfg(feature = "gzip")]
                Coding::Gzip => 4,
                #[cfg(feature = "deflate")]
                Coding::Deflate => 4,
            },
        }
    }
}

/// A coding has no such level.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "zstd")] {
/// use cortex_compress::Coding;
///
/// let error = Coding::Zstd.level(0).unwrap_err();
/// assert_eq!(error.to_string(), "use zstd at level 0: its levels are 1 to 19");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidLevel {
    coding: &'static str,
    level: u8,
    first: u8,
    last: u8,
}

impl fmt::Display for InvalidLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            coding,
            level,
            first,
            last,
        } = self;
        write!(
            f,
            "use {coding} at level {level}: its levels are {first} to {last}"
        )
    }
}

impl Error for InvalidLevel {}

/// This build has no coding of such a name.
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))] {
/// use cortex_compress::Coding;
///
/// let error = "brotli".parse::<Coding>().unwrap_err();
/// assert_eq!(error.to_string(), "use the coding \"brotli\": there are zstd, br, gzip, deflate");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCoding {
    name: Box<str>,
}

impl fmt::Display for UnknownCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "use the coding {:?}: there ", self.name)?;
        let Some((first, rest)) = Coding::ALL.split_first() else {
            return f.write_str("is none in this build");
        };
        write!(f, "are {first}")?;
        rest.iter().try_for_each(|coding| write!(f, ", {coding}"))
    }
}

impl Error for UnknownCoding {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_with_their_alias() {
        for &coding in Coding::ALL {
            assert_eq!(coding.as_str().parse(), Ok(coding));
            assert_eq!(coding.as_str().to_uppercase().parse(), Ok(coding));
        }
        #[cfg(feature = "gzip")]
        assert_eq!("x-gzip".parse(), Ok(Coding::Gzip));
        for name in ["", "identity", "*", "gzip ", "zstd,br", "compress"] {
            let error = name.parse::<Coding>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("use the coding {name:?}: there ")),
                "{error}"
            );
        }
    }

    #[test]
    fn each_coding_has_an_index_of_its_own() {
        for (at, coding) in Coding::ALL.iter().enumerate() {
            assert!(coding.index() < Coding::COUNT);
            assert!(
                Coding::ALL[..at]
                    .iter()
                    .all(|other| other.index() != coding.index())
            );
        }
    }
}
