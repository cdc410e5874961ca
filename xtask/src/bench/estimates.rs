use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Reads the medians that criterion left below `home`, in nanoseconds, by `group/function`.
pub(super) fn read(home: &Path) -> Result<BTreeMap<String, f64>> {
    let mut medians = BTreeMap::new();
    walk(home, "", &mut medians)
        .with_context(|| format!("failed to read the estimates in {}", home.display()))?;
    Ok(medians)
}

fn walk(folder: &Path, id: &str, medians: &mut BTreeMap<String, f64>) -> Result<()> {
    let file = folder.join("new/estimates.json");
    if file.is_file() {
        let median = median(&fs::read_to_string(&file)?).with_context(|| id.to_owned())?;
        medians.insert(id.to_owned(), median);
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let name = entry.file_name();
        let name = name.to_str().context("a folder's name is not UTF-8")?;
        let id = if id.is_empty() {
            name.to_owned()
        } else {
            format!("{id}/{name}")
        };
        walk(&entry.path(), &id, medians)?;
    }
    Ok(())
}

/// Takes the median out of an `estimates.json`.
fn median(json: &str) -> Result<f64> {
    let value: Value = serde_json::from_str(json)?;
    let median = value.pointer("/median/point_estimate").and_then(Value::as_f64);
    median
        .filter(|median| *median > 0.0)
        .context("there is no positive median.point_estimate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use xshell::Shell;

    /// The shape criterion 0.8 writes, shortened to two statistics.
    const CRITERION: &str = r#"{"mean":{"confidence_interval":{"confidence_level":0.95,"lower_bound":7.39,
        "upper_bound":7.41},"point_estimate":7.404,"standard_error":0.003},"median":{"confidence_interval":
        {"confidence_level":0.95,"lower_bound":7.37,"upper_bound":7.38},"point_estimate":7.375,"standard_error":0.002}}"#;

    #[test]
    fn reads_the_median_and_not_the_mean() {
        assert!((median(CRITERION).unwrap() - 7.375).abs() < 1e-9);
    }

    #[test]
    fn refuses_what_cannot_be_compared() {
        for bad in [
            "{",
            "{}",
            r#"{"median":{"point_estimate":0.0}}"#,
            r#"{"median":{"point_estimate":null}}"#,
        ] {
            assert!(median(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn finds_every_benchmark_below_a_folder() {
        let shell = Shell::new().unwrap();
        let home = shell.create_temp_dir().unwrap();
        for id in ["attach/cortex", "attach/tracing", "encode/cortex/10000"] {
            shell
                .write_file(home.path().join(id).join("new/estimates.json"), CRITERION)
                .unwrap();
            shell
                .write_file(home.path().join(id).join("base/estimates.json"), "{}")
                .unwrap();
        }
        shell
            .write_file(home.path().join("attach/report/index.html"), "")
            .unwrap();
        let found = read(home.path()).unwrap();
        let ids: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(ids, ["attach/cortex", "attach/tracing", "encode/cortex/10000"]);
    }

    #[test]
    fn names_the_folder_that_is_not_there() {
        let error = format!("{:#}", read(Path::new("/nonexistent/home")).unwrap_err());
        assert!(error.contains("/nonexistent/home"), "{error}");
    }
}
