use super::body::Page;
use super::time::Rfc3339;
use crate::history::Transition;
use crate::report::{CheckReport, root_causes};
use crate::respond::Detail;
use crate::status::{Criticality, Status};
use std::fmt::{self, Write};

/// Writes the verdict and a line per check: `[+]db up 3.1ms`; `verbose` at full detail with what happened of late.
pub(super) fn write<'a, C>(out: &mut String, page: &Page<'a, C>, verbose: bool)
where
    C: ExactSizeIterator<Item = &'a CheckReport> + Clone,
{
    let _ = try_write(out, page, verbose && page.detail == Detail::Full); // a String takes everything
}

fn try_write<'a, C>(out: &mut String, page: &Page<'a, C>, verbose: bool) -> fmt::Result
where
    C: ExactSizeIterator<Item = &'a CheckReport> + Clone,
{
    let Page { detail, verdict, .. } = *page;
    out.push_str(verdict.told().as_str());
    if detail == Detail::None {
        out.push('\n');
        return Ok(());
    }
    if let Some(refusal) = verdict.refusal {
        write!(out, ": {}", refusal.as_str())?;
    }
    out.push('\n');
    let roots = root_causes(page.checks.clone());
    if !roots.is_empty() {
        writeln!(out, "root causes: {}", roots.join(", "))?;
    }
    for check in page.checks.clone() {
        write!(
            out,
            "[{}]{} {}",
            mark(check.status()),
            check.name(),
            check.status()
        )?;
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
        }
        write_causes(out, check.causes());
        if detail == Detail::Full
            && let Some(message) = check.message()
            && check.status() != Status::Skipped
        {
            out.push_str(": ");
            push_line(out, message);
        }
        out.push('\n');
        if verbose && check.runs().len() > 0 {
            out.push_str("    runs ");
            out.extend(check.runs().map(|run| mark(run.status())));
            out.push('\n');
        }
    }
    if verbose {
        for (index, transition) in page.transitions().enumerate() {
            if index == 0 {
                out.push_str("transitions\n");
            }
            write_transition(out, transition)?;
        }
    }
    Ok(())
}

fn write_transition(out: &mut String, transition: &Transition) -> fmt::Result {
    let (at, after) = (Rfc3339(transition.at()), transition.after());
    let (check, from, to) = (transition.check(), transition.from(), transition.to());
    write!(out, "{at} {check} {from} -> {to} after {after:.1?}")?;
    if transition.is_flapping() {
        out.push_str(" flapping");
    }
    write_causes(out, transition.causes());
    if let Some(message) = transition.message()
        && transition.to() != Status::Skipped
    {
        out.push_str(": ");
        push_line(out, message);
    }
    out.push('\n');
    Ok(())
}

fn write_causes<'a>(out: &mut String, causes: impl Iterator<Item = &'a str>) {
    for (index, cause) in causes.enumerate() {
        out.push_str(if index == 0 { " because of " } else { ", " });
        out.push_str(cause);
    }
}

const fn mark(status: Status) -> char {
    match status {
        Status::Up => '+',
        Status::Degraded => '~',
        Status::Down | Status::Skipped => '-',
        Status::Unknown => '?',
    }
}

/// Adds what a check said without leaving the line.
fn push_line(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
}
