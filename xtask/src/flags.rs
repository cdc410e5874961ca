xflags::xflags! {
    /// Builds, checks and measures Cortex.
    cmd xtask {
        /// Runs the benches, peers beside ours, and prints a table for each area.
        cmd bench {
            /// An area: a file of crates/cortex-bench/benches. All of them if there is none.
            optional area: String
            /// Fails if a bound of crates/cortex-bench/budget.toml does not hold.
            optional --check
        }
    }
}
