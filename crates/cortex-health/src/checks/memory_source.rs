use super::small_file::{field, number, read};
use std::io;
use std::path::{Component, Path, PathBuf};

/// From here on a limit of version 1 means that there is none: it writes the greatest number of pages.
const UNLIMITED: u64 = 1 << 60;

/// Where the kernel tells about memory.
#[derive(Clone, Debug)]
pub(super) struct MemorySource {
    pub(super) proc: PathBuf,
    pub(super) cgroup: PathBuf,
}

/// What is used, of what, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) used: u64,
    pub(super) limit: u64,
    pub(super) whose: &'static str,
}

impl MemorySource {
    /// Returns the usage that is nearest to its limit among the control groups, or that of the machine.
    ///
    /// A limit that the machine cannot reach is none: long before it the kernel kills for want of memory.
    pub(super) fn usage(&self) -> io::Result<Usage> {
        let folders = self.folders();
        let machine = self.machine();
        let most = machine.as_ref().map_or(u64::MAX, |machine| machine.limit);
        let groups = folders.iter().filter_map(|folder| group(folder));
        let groups = groups.filter(|group| group.limit < most);
        let nearest = groups.max_by(|a, b| {
            // a.used / a.limit against b.used / b.limit, without a division
            let (left, right) = (
                u128::from(a.used) * u128::from(b.limit),
                u128::from(b.used) * u128::from(a.limit),
            );
            left.cmp(&right)
        });
        nearest.map_or(machine, Ok)
    }

    /// Returns `some avg10` of the process's own group, or of the machine, in hundredths of a percent.
    pub(super) fn stalled_hundredths(&self) -> Option<u64> {
        let own = self
            .folders()
            .first()
            .and_then(|own| read(&own.join("memory.pressure")).ok());
        let text = own.or_else(|| read(&self.proc.join("pressure/memory")).ok())?;
        let some = text.lines().find_map(|line| line.strip_prefix("some avg10="))?;
        let (whole, rest) = some.split_whitespace().next()?.split_once('.')?;
        let hundredths = rest.get(..2)?;
        whole
            .parse::<u64>()
            .ok()?
            .checked_mul(100)?
            .checked_add(hundredths.parse().ok()?)
    }

    /// Returns the folders of the group of this process and of those around it, its own first.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let Ok(text) = read(&self.proc.join("self/cgroup")) else {
            return Vec::new();
        };
        // 4:memory:/shop is of version 1, 0::/shop of version 2. Where both are, the one with the memory has a line.
        let lines = || {
            text.lines()
                .filter_map(|line| line.split_once(':')?.1.split_once(':'))
        };
        let first = lines().find(|(names, _)| names.split(',').any(|name| name == "memory"));
        let (root, path) = match first {
            Some((_, path)) => (self.cgroup.join("memory"), path),
            None => match lines().find(|(names, _)| names.is_empty()) {
                Some((_, path)) => (self.cgroup.clone(), path),
                None => return Vec::new(),
            },
        };
        let inside: PathBuf = Path::new(path)
            .components()
            .filter(|component| matches!(component, Component::Normal(_))) // `..`: outside of a namespace
            .collect();
        inside.ancestors().map(|inside| root.join(inside)).collect()
    }

    fn machine(&self) -> io::Result<Usage> {
        let text = read(&self.proc.join("meminfo"))?;
        let bytes = |name| Some(field(&text, name)?.saturating_mul(1024));
        match (bytes("MemTotal"), bytes("MemAvailable")) {
            (Some(total), Some(available)) => Ok(Usage {
                used: total.saturating_sub(available),
                limit: total,
                whose: "the machine's memory",
            }),
            _ => Err(io::Error::other(
                "`meminfo` names no total or no available memory",
            )),
        }
    }
}

/// Reads a group that has a limit.
fn group(folder: &Path) -> Option<Usage> {
    let file = |name| number(&folder.join(name));
    let (current, limit, forgettable) = if let Some(current) = file("memory.usage_in_bytes") {
        let limit = file("memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED);
        (current, limit, "total_inactive_file")
    } else {
        // Above `high` the kernel slows the group down; at `max` it kills. `max` as a word is no number.
        let limits = [file("memory.max"), file("memory.high")];
        let limit = limits.into_iter().flatten().min();
        (file("memory.current")?, limit, "inactive_file")
    };
    let stat = read(&folder.join("memory.stat")).unwrap_or_default();
    Some(Usage {
        used: current.saturating_sub(field(&stat, forgettable).unwrap_or(0)),
        limit: limit?,
        whose: "its control group's limit",
    })
}
