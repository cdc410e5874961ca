use super::time::Rfc3339;
use crate::published::Verdict;
use crate::report::{CheckReport, root_causes};
use crate::respond::Detail;
use crate::status::{Criticality, Status};
use std::fmt::{self, Write};

/// Writes the verdict and a line per check: `[+]db up 3.1ms`.
pub(super) fn write<'a>(
    out: &mut String,
    detail: Detail,
    verdict: Verdict,
    checks: impl ExactSizeIterator<Item = &'a CheckReport> + Clone,
) {
    let _ = try_write(out, detail, verdict, checks); // a String takes everything
}

fn try_write<'a>(
    out: &mut String,
    detail: Detail,
    verdict: Verdict,
    checks: impl Iterator<Item = &'a CheckReport> + Clone,
) -> fmt::Result {
    out.push_str(verdict.status.as_str());
    if detail == Detail::None {
        out.push('\n');
        return Ok(());
    }
    if let Some(refusal) = verdict.refusal {
        write!(out, ": {}", refusal.as_str())?;
    }
    out.push('\n');
    let roots = root_causes(checks.clone());
    if !roots.is_empty() {
        writeln!(out, "root causes: {}", roots.join(", "))?;
    }
    for check in checks {
        let mark = match check.status() {
            Status::Up => '+',
            Status::Degraded => '~',
            Status::Down | Status::Skipped => '-',
            Status::Unknown => '?',
        };
        write!(out, "[{mark}]{} {}", check.name(), check.status())?;
        if let Some(latency) = check.latency()
            && check.status() != Status::Skipped
        {
            write!(out, " {latency:.1?}")?;
        }
        if check.criticality() != Criticality::Critical {
            write!(out, " ({})", check.criticality())?;
        }
        if check.is_stale() {
            out.push_str(" stale");
        }
        if check.is_flapping() {
            out.push_str(" flapping");
        }
        for (index, cause) in check.causes().enumerate() {
            out.push_str(if index == 0 { " because of " } else { ", " });
            out.push_str(cause);
        }
        if detail == Detail::Full {
            if let Some(hung) = check.hung_since() {
                write!(out, " running since {}", Rfc3339(hung))?;
            }
            if let Some((value, unit)) = check.observed() {
                write!(out, " {value} ")?;
                push_line(out, unit);
            }
            for (key, value) in check.details() {
                for part in [" ", key, "=", value] {
                    push_line(out, part);
                }
            }
            if let Some(message) = check.message()
                && check.status() != Status::Skipped
            {
                out.push_str(": ");
                push_line(out, message);
            }
        }
        out.push('\n');
    }
    Ok(())
}

/// Adds what a check said without leaving the line.
fn push_line(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
}
