xflags::xflags! {
    /// Builds, checks and measures Cortex.
    cmd xtask {
        /// Prints the commands, a line each.
        default cmd overview {}

        /// Prints the commands, a line each.
        cmd help {}

        /// Runs every test that needs only cargo.
        cmd test {
            /// Goes on after a failure.
            optional --keep-going
        }

        /// Checks the rules of the repository: tiers, facade, features, budgets, files, licences.
        cmd tidy {}

        /// Runs every check that a change must pass.
        cmd ci {
            /// Only what takes less than two minutes: fmt, clippy, test, tidy.
            optional --fast
            /// Goes on after a failure.
            optional --keep-going
        }

        /// Runs some steps of ci by name, such as `fmt`, `features` or `test/workspace`; lists them if none is named.
        cmd step {
            /// The name of a step or of a group of steps.
            repeated name: String
            /// Goes on after a failure.
            optional --keep-going
        }

        /// Checks each library with every set of features that its source can tell apart.
        cmd features {
            /// A library. All of them if there is none.
            optional package: String
        }

        /// Measures the line coverage of the libraries; fails below 90 %.
        cmd cover {}

        /// Runs the benches, peers beside ours, and prints a table for each area.
        cmd bench {
            /// An area: a file of crates/cortex-bench/benches. All of them if there is none.
            optional area: String
            /// Fails if a bound of crates/cortex-bench/budget.toml does not hold.
            optional --check
        }

        /// Builds every example and runs its smoke test.
        cmd examples {
            /// Goes on after a failure.
            optional --keep-going
        }

        /// Builds the guests of cortex-wasm from their sources; fails if one is not the `.wasm` that lies there.
        cmd guests {
            /// The name of a guest. All of them if there is none.
            optional name: String
            /// Replaces the files and pins them.
            optional --update
        }

        /// Drives the storefront and examples with real programs: curl, wrk, Prometheus, Python, Node, Chromium.
        cmd e2e {
            /// Runs only the scenarios whose name contains this.
            optional filter: String
            /// Takes minutes where a look takes seconds: a million requests, more restarts.
            optional --long
        }

        /// Has several threads at pools of workers for a minute, as `ci` does, or longer.
        cmd stress {
            /// For so many seconds.
            optional --seconds seconds: u64
        }

        /// Runs the tests of the libraries under the address, leak and thread sanitizers.
        cmd sanitize {
            /// `address`, `leak` or `thread`. All of them if there is none.
            optional sanitizer: String
            /// Goes on after a failure.
            optional --keep-going
        }
    }
}

impl Xtask {
    /// Lists the commands, a line each.
    pub(crate) fn summary() -> String {
        let mut commands: Vec<(&str, &str)> = Vec::new();
        let mut lines = Self::HELP_.lines();
        while let Some(line) = lines.next() {
            let Some(name) = line.strip_prefix("xtask ") else {
                continue;
            };
            commands.push((name, lines.next().unwrap_or_default().trim()));
        }
        let width = commands.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let usage = "cargo xtask <command>; `cargo xtask --help` explains the options\n".to_owned();
        let lines = commands
            .into_iter()
            .map(|(name, about)| format!("  {name:<width$}  {about}"));
        std::iter::once(usage).chain(lines).collect::<Vec<_>>().join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_a_line_for_each_command() {
        let summary = Xtask::summary();
        for command in [
            "test", "tidy", "ci", "step", "features", "cover", "bench", "examples", "guests", "e2e",
            "stress", "sanitize", "help",
        ] {
            let line = summary
                .lines()
                .find(|line| line.trim_start().starts_with(&format!("{command} ")));
            assert!(
                line.is_some_and(|line| line.ends_with('.')),
                "{command}: {summary}"
            );
        }
        assert_eq!(summary.lines().count(), 15, "{summary}");
    }

    #[test]
    fn no_command_means_the_overview() {
        let flags = Xtask::from_vec(vec![]).unwrap();
        assert!(matches!(flags.subcommand, XtaskCmd::Overview(_)));
    }

    #[test]
    fn an_unknown_flag_is_named() {
        let error = Xtask::from_vec(vec!["ci".into(), "--fats".into()]).unwrap_err();
        assert!(error.to_string().contains("--fats"), "{error}");
    }
}
