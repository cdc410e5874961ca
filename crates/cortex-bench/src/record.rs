use std::path::PathBuf;
use std::{env, fs, io};

/// Hands results over to `cargo xtask bench`, in criterion's layout so that it reads one format.
///
/// `CRITERION_HOME/<group>/<name>/new/estimates.json` with the one field that is compared, the median in nanoseconds.
///
/// # Examples
///
/// ```
/// use cortex_bench::Record;
///
/// let home = std::env::temp_dir().join(format!("record-{}", std::process::id()));
/// Record::into_folder(&home).save("served/bare", 6020.5)?;
/// let text = std::fs::read_to_string(home.join("served/bare/new/estimates.json"))?;
/// assert_eq!(text, r#"{"median":{"point_estimate":6020.5}}"#);
/// # std::fs::remove_dir_all(home)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Record {
    home: PathBuf,
}

impl Record {
    /// Records where criterion does if `CRITERION_HOME` says where that is, as `cargo xtask bench` does.
    pub fn from_env() -> Option<Self> {
        env::var_os("CRITERION_HOME").map(Self::into_folder)
    }

    /// Records below `home`.
    pub fn into_folder(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into() }
    }

    /// Writes one median.
    ///
    /// # Errors
    ///
    /// It is not a finite number, or the file cannot be written.
    pub fn save(&self, id: &str, median_nanos: f64) -> io::Result<()> {
        if !median_nanos.is_finite() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a median must be finite",
            ));
        }
        let folder = self.home.join(id).join("new");
        fs::create_dir_all(&folder)?;
        let text = format!(r#"{{"median":{{"point_estimate":{median_nanos}}}}}"#);
        fs::write(folder.join("estimates.json"), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_json_cannot_hold() {
        let record = Record::into_folder("/nonexistent");
        let error = record.save("a/b", f64::NAN).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
