use std::collections::BTreeMap;
use std::fmt;

use wasmer::sys::wasmparser::{DataKind, Operator};

/// The most reasons that are told: each one alone is enough.
const REASONS: usize = 16;

/// How an instance of a module becomes as new.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{ResetPlan, Why};
///
/// let plan = ResetPlan::Reinstantiate([Why::TableWritten { table: 0, function: 7 }].into());
/// assert_eq!(plan.to_string(), "instantiate again: function 7 writes table 0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetPlan {
    /// Memories and globals are all that can change: they are set back.
    Restore {
        /// How many bytes its memories have at first; those of the start function come on top.
        image_bytes: u64,
    },
    /// More can change than can be set back: a new instance takes its place. Up to 16 reasons, in the order of the
    /// module.
    Reinstantiate(Box<[Why]>),
}

/// Why an instance cannot be set back in place.
///
/// Indices are those of the module, imports first. A reason is told once for each table or segment, with the first
/// function that gives it; whether that function is ever called is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// `data.drop`: the segment cannot be brought back.
    DataDropped {
        /// Which segment.
        segment: u32,
        /// In which function.
        function: u32,
    },
    /// `memory.init` of a passive segment.
    DataUsed {
        /// Which segment.
        segment: u32,
        /// In which function.
        function: u32,
    },
    /// `elem.drop`: the segment cannot be brought back.
    ElementsDropped {
        /// Which segment.
        segment: u32,
        /// In which function.
        function: u32,
    },
    /// A mutable global is imported: others may write it.
    GlobalImported {
        /// Which global.
        global: u32,
    },
    /// A mutable global holds a reference, which is no plain value to keep.
    GlobalReference {
        /// Which global.
        global: u32,
    },
    /// A memory is imported: others may write it. (A shared one is refused before: threads are off.)
    MemoryImported {
        /// Which memory.
        memory: u32,
    },
    /// A table is imported: others may write it.
    TableImported {
        /// Which table.
        table: u32,
    },
    /// `table.set`, `table.grow`, `table.fill`, `table.copy` or `table.init`.
    TableWritten {
        /// Which table.
        table: u32,
        /// In which function.
        function: u32,
    },
}

impl fmt::Display for ResetPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restore { image_bytes } => write!(f, "restore {image_bytes} bytes"),
            Self::Reinstantiate(reasons) => {
                f.write_str("instantiate again")?;
                for (i, why) in reasons.iter().enumerate() {
                    write!(f, "{}{why}", if i == 0 { ": " } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDropped { segment, function } => write!(f, "function {function} drops data {segment}"),
            Self::DataUsed { segment, function } => write!(f, "function {function} copies data {segment}"),
            Self::ElementsDropped { segment, function } => {
                write!(f, "function {function} drops elements {segment}")
            }
            Self::GlobalImported { global } => write!(f, "mutable global {global} is imported"),
            Self::GlobalReference { global } => write!(f, "mutable global {global} holds a reference"),
            Self::MemoryImported { memory } => write!(f, "memory {memory} is imported"),
            Self::TableImported { table } => write!(f, "table {table} is imported"),
            Self::TableWritten { table, function } => write!(f, "function {function} writes table {table}"),
        }
    }
}

/// Collects reasons while a module is read.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    found: Vec<Why>,
    /// The first function that copies a segment. Which segments are passive is known only later.
    data_used: BTreeMap<u32, u32>,
}

impl Reasons {
    pub(super) fn push(&mut self, why: Why) {
        if self.found.len() < REASONS && !self.found.iter().any(|found| found.is_about(&why)) {
            self.found.push(why);
        }
    }

    /// Looks at an instruction of a function.
    #[inline]
    pub(super) fn instruction(&mut self, function: u32, operator: &Operator<'_>) {
        match *operator {
            Operator::TableSet { table }
            | Operator::TableGrow { table }
            | Operator::TableFill { table }
            | Operator::TableInit { table, .. }
            | Operator::TableCopy { dst_table: table, .. } => {
                self.push(Why::TableWritten { table, function });
            }
            Operator::ElemDrop { elem_index: segment } => {
                self.push(Why::ElementsDropped { segment, function });
            }
            Operator::DataDrop { data_index: segment } => self.push(Why::DataDropped { segment, function }),
            Operator::MemoryInit { data_index, .. } => {
                self.data_used.entry(data_index).or_insert(function);
            }
            _ => {}
        }
    }

    /// Looks at a data segment, after all functions.
    pub(super) fn segment(&mut self, segment: u32, kind: &DataKind<'_>) {
        if let (DataKind::Passive, Some(&function)) = (kind, self.data_used.get(&segment)) {
            self.push(Why::DataUsed { segment, function });
        }
    }

    pub(super) fn plan(self, image_bytes: u64) -> ResetPlan {
        if self.found.is_empty() {
            return ResetPlan::Restore { image_bytes };
        }
        ResetPlan::Reinstantiate(self.found.into())
    }
}

impl Why {
    /// Whether both say the same of the same item, though of different functions.
    fn is_about(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::TableWritten { table: a, .. }, Self::TableWritten { table: b, .. })
            | (Self::ElementsDropped { segment: a, .. }, Self::ElementsDropped { segment: b, .. })
            | (Self::DataDropped { segment: a, .. }, Self::DataDropped { segment: b, .. }) => a == b,
            _ => self == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::facts;
    use super::*;

    fn plan(wat: &str) -> ResetPlan {
        facts(wat).reset_plan
    }

    fn reasons(wat: &str) -> Vec<Why> {
        match plan(wat) {
            ResetPlan::Reinstantiate(reasons) => reasons.into(),
            plan @ ResetPlan::Restore { .. } => panic!("{plan}: {wat}"),
        }
    }

    #[test]
    fn memories_and_globals_of_its_own_are_restored() {
        let guest = r#"(module
            (import "host" "f" (func))
            (import "host" "g" (global i32))
            (memory 2 10) (memory 3)
            (table 4 funcref) (elem (i32.const 0) func 0)
            (global (mut i64) (i64.const 1)) (global funcref (ref.func 0))
            (data (i32.const 8) "active") (data "passive, and never used")
            (func (param i32)
                (global.set 1 (i64.const 2))
                (memory.copy (i32.const 0) (i32.const 8) (i32.const 4))
                (memory.fill (i32.const 0) (i32.const 8) (i32.const 4))
                (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 0))
                (drop (table.get 0 (i32.const 0)))
                (call_indirect (i32.const 0)))
            (start 0))"#;
        let image_bytes = 5 << 16;
        assert_eq!(plan(guest), ResetPlan::Restore { image_bytes });
        assert_eq!(plan("(module)"), ResetPlan::Restore { image_bytes: 0 });
    }

    #[test]
    fn every_writer_of_a_table_is_a_reason() {
        for (body, table) in [
            ("(table.set 1 (i32.const 0) (ref.null func))", 1),
            ("(drop (table.grow 1 (ref.null func) (i32.const 1)))", 1),
            ("(table.fill 0 (i32.const 0) (ref.null func) (i32.const 1))", 0),
            ("(table.copy 1 0 (i32.const 0) (i32.const 0) (i32.const 1))", 1),
            ("(table.init 1 0 (i32.const 0) (i32.const 0) (i32.const 1))", 1),
        ] {
            let guest = format!(
                r#"(module (import "host" "f" (func)) (table 1 funcref) (table 1 funcref)
                    (elem func 0) (func) (func {body}))"#
            );
            let found = reasons(&guest);
            assert_eq!(found, [Why::TableWritten { table, function: 2 }], "{body}");
        }
    }

    #[test]
    fn dropped_and_passive_segments_are_reasons() {
        let guest = r#"(module (memory 1) (table 1 funcref)
            (func (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 1)))
            (func (data.drop 0) (elem.drop 0) (data.drop 0))
            (elem func 0) (data (i32.const 0) "x") (data "y"))"#;
        assert_eq!(
            reasons(guest),
            [
                Why::DataDropped {
                    segment: 0,
                    function: 1
                },
                Why::ElementsDropped {
                    segment: 0,
                    function: 1
                },
                Why::DataUsed {
                    segment: 1,
                    function: 0
                },
            ]
        );
    }

    #[test]
    fn what_others_may_write_is_a_reason() {
        let guest = r#"(module
            (import "host" "m" (memory 1))
            (import "host" "t" (table 1 funcref))
            (import "host" "g" (global (mut i32)))
            (import "host" "c" (global i32))
            (global (mut externref) (ref.null extern)))"#;
        assert_eq!(
            reasons(guest),
            [
                Why::MemoryImported { memory: 0 },
                Why::TableImported { table: 0 },
                Why::GlobalImported { global: 0 },
                Why::GlobalReference { global: 2 },
            ]
        );
    }

    #[test]
    fn reasons_are_bounded_and_told_once() {
        let twice = "(func (table.set 0 (i32.const 0) (ref.null func)))".repeat(2);
        assert_eq!(
            reasons(&format!("(module (table 1 funcref) {twice})")),
            [Why::TableWritten {
                table: 0,
                function: 0
            }]
        );
        let globals = "(global (mut funcref) (ref.null func))".repeat(100);
        assert_eq!(reasons(&format!("(module {globals})")).len(), REASONS);
    }

    #[test]
    fn each_names_item_and_index() {
        let function = 7;
        for (why, text) in [
            (
                Why::DataDropped { segment: 1, function },
                "function 7 drops data 1",
            ),
            (Why::DataUsed { segment: 1, function }, "function 7 copies data 1"),
            (
                Why::ElementsDropped { segment: 1, function },
                "function 7 drops elements 1",
            ),
            (Why::GlobalImported { global: 2 }, "mutable global 2 is imported"),
            (
                Why::GlobalReference { global: 2 },
                "mutable global 2 holds a reference",
            ),
            (Why::MemoryImported { memory: 3 }, "memory 3 is imported"),
            (Why::TableImported { table: 4 }, "table 4 is imported"),
            (
                Why::TableWritten { table: 4, function },
                "function 7 writes table 4",
            ),
        ] {
            assert_eq!(why.to_string(), text);
        }
        assert_eq!(
            ResetPlan::Restore { image_bytes: 9 }.to_string(),
            "restore 9 bytes"
        );
    }
}
