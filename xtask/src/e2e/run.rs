use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::project::Project;

pub(crate) fn run(_project: &Project, _filter: Option<&str>) -> Result<ExitCode> {
    bail!("there is no scenario yet")
}
