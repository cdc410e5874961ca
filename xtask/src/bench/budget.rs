use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What must stay true of the benches: `budget.toml`.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) bounds: Vec<Bound>,
}

/// One entry: a benchmark of ours and its limit.
#[derive(Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) area: String,
    pub(super) ours: String,
    pub(super) limit: Limit,
    pub(super) why: String,
}

#[derive(Debug, PartialEq)]
pub(super) enum Limit {
    /// At most `max` times what the peer takes in the same round.
    Ratio { peer: String, max: f64 },
    /// At most so many nanoseconds.
    Nanos(f64),
    /// At most so many bytes.
    Bytes(f64),
}

impl Budget {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let bounds = file
            .bound
            .into_iter()
            .map(|entry| {
                let named = format!("the bound of {} {}", entry.area, entry.ours);
                Bound::check(entry).context(named)
            })
            .collect::<Result<Vec<_>>>()?;
        for (n, bound) in bounds.iter().enumerate() {
            ensure!(
                !bounds[..n].iter().any(|other| other.same_as(bound)),
                "{} {} is bounded twice in the same way",
                bound.area,
                bound.ours
            );
        }
        Ok(Self { bounds })
    }

    pub(super) fn of_area(&self, area: &str) -> impl Iterator<Item = &Bound> {
        self.bounds.iter().filter(move |bound| bound.area == area)
    }
}

impl Bound {
    fn check(entry: Entry) -> Result<Self> {
        let limit = match (entry.peer, entry.max, entry.max_ns, entry.max_bytes) {
            (Some(peer), Some(max), None, None) => Limit::Ratio { peer, max },
            (None, None, Some(max), None) => Limit::Nanos(max),
            (None, None, None, Some(max)) => Limit::Bytes(max),
            _ => anyhow::bail!("needs either `peer` and `max` or `max_ns` or `max_bytes`"),
        };
        let (Limit::Ratio { max, .. } | Limit::Nanos(max) | Limit::Bytes(max)) = limit;
        ensure!(max.is_finite() && max > 0.0, "a limit of {max} cannot be kept");
        ensure!(!entry.why.trim().is_empty(), "`why` is empty");
        Ok(Self {
            area: entry.area,
            ours: entry.ours,
            limit,
            why: entry.why,
        })
    }

    fn same_as(&self, other: &Self) -> bool {
        let peer = |bound: &Self| match &bound.limit {
            Limit::Ratio { peer, .. } => Some(peer.clone()),
            Limit::Nanos(_) | Limit::Bytes(_) => None,
        };
        self.area == other.area && self.ours == other.ours && peer(self) == peer(other)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    bound: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    area: String,
    ours: String,
    peer: Option<String>,
    max: Option<f64>,
    max_ns: Option<f64>,
    max_bytes: Option<f64>,
    why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATIO: &str = r#"
        [[bound]]
        area = "core"
        ours = "attach/cortex"
        peer = "attach/tracing"
        max = 0.5
        why = "because"
    "#;

    #[test]
    fn reads_each_kind() {
        let text = RATIO.to_owned()
            + r#"
            [[bound]]
            area = "core"
            ours = "attach/cortex"
            max_ns = 10
            why = "because"
            [[bound]]
            area = "core"
            ours = "attach-bytes/cortex"
            max_bytes = 64
            why = "because"
        "#;
        let budget = Budget::parse(&text).unwrap();
        let limits: Vec<_> = budget.of_area("core").map(|bound| &bound.limit).collect();
        let peer = "attach/tracing".to_owned();
        assert_eq!(
            limits,
            [
                &Limit::Ratio { peer, max: 0.5 },
                &Limit::Nanos(10.0),
                &Limit::Bytes(64.0)
            ]
        );
        assert_eq!(budget.of_area("trace").count(), 0);
    }

    #[test]
    fn refuses_what_could_not_be_checked() {
        let errors = |text: &str| format!("{:#}", Budget::parse(text).unwrap_err());
        for (change, with, says) in [
            ("peer =", "max_ns = 3 #", "either `peer` and `max` or `max_ns`"),
            ("max = 0.5", "", "either `peer` and `max` or `max_ns`"),
            ("max = 0.5", "max = 0.5\nmax_bytes = 3", "or `max_bytes`"),
            ("max = 0.5", "max = -1", "cannot be kept"),
            ("max = 0.5", "max = nan", "cannot be kept"),
            ("\"because\"", "\" \"", "`why` is empty"),
            ("max = 0.5", "maximum = 0.5", "unknown field `maximum`"),
        ] {
            let error = errors(&RATIO.replace(change, with));
            assert!(error.contains(says), "{error}");
        }
        let error = errors(&RATIO.replace("max = 0.5", ""));
        assert!(error.contains("the bound of core attach/cortex"), "{error}");
        let error = errors(&RATIO.repeat(2));
        assert!(error.contains("bounded twice"), "{error}");
    }

    #[test]
    fn the_file_of_this_repository_is_right() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/cortex-bench/budget.toml");
        let budget = Budget::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        for area in [
            "compress",
            "core",
            "health",
            "metrics",
            "overhead",
            "resilience",
            "trace",
            "workers",
        ] {
            assert!(budget.of_area(area).count() > 0, "{area}");
        }
    }
}
