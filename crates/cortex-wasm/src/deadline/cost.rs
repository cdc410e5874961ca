//! What a guest's operators cost, and what is known of a function before its code is written anew.

use wasmer::sys::wasmparser::{Error, Operator, OperatorsReader};

/// Up to so many operators, a function or a loop is charged whole at its head.
pub(super) const SMALL: u32 = 64;

/// After so many operators in a row without a test there is one, wherever it falls.
pub(super) const STRETCH: u32 = 512;

/// What an operator is to the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes on to the next one.
    Plain,
    /// Does as much as the number on top of the stack says; a unit stands for `1 << shift` of it.
    Bulk { shift: u32 },
    /// Opens a block.
    Block,
    /// Opens a loop.
    Loop,
    /// Opens the first arm of two.
    If,
    /// Goes on with the second.
    Else,
    /// Closes what was opened last.
    End,
    /// May go on elsewhere: at the label that is so far out, or at any of a table.
    Branch { depth: Option<u32>, always: bool },
    /// Runs another function and comes back.
    Call,
    /// Leaves the function for good.
    Leave,
    /// Lets no deadline hold, and why.
    Refused(&'static str),
}

/// Tells what an operator is, and what it costs.
pub(super) fn kind(operator: &Operator<'_>) -> (Kind, u32) {
    let kind = match *operator {
        Operator::Nop | Operator::Drop => return (Kind::Plain, 0),
        Operator::Block { .. } => return (Kind::Block, 0),
        Operator::Loop { .. } => return (Kind::Loop, 0),
        Operator::Else => return (Kind::Else, 0),
        Operator::End => return (Kind::End, 0),
        Operator::If { .. } => Kind::If,
        Operator::Br { relative_depth } => Kind::Branch {
            depth: Some(relative_depth),
            always: true,
        },
        Operator::BrTable { .. } => Kind::Branch {
            depth: None,
            always: true,
        },
        Operator::BrIf { relative_depth }
        | Operator::BrOnNull { relative_depth }
        | Operator::BrOnNonNull { relative_depth }
        | Operator::BrOnCast { relative_depth, .. }
        | Operator::BrOnCastFail { relative_depth, .. }
        | Operator::BrOnCastDescEq { relative_depth, .. }
        | Operator::BrOnCastDescEqFail { relative_depth, .. } => Kind::Branch {
            depth: Some(relative_depth),
            always: false,
        },
        Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => Kind::Call,
        Operator::Return
        | Operator::ReturnCall { .. }
        | Operator::ReturnCallIndirect { .. }
        | Operator::ReturnCallRef { .. }
        | Operator::Throw { .. }
        | Operator::ThrowRef
        | Operator::Unreachable => Kind::Leave,
        Operator::MemoryFill { .. } | Operator::MemoryCopy { .. } | Operator::MemoryInit { .. } => {
            Kind::Bulk { shift: 4 }
        }
        Operator::TableFill { .. }
        | Operator::TableCopy { .. }
        | Operator::TableInit { .. }
        | Operator::TableGrow { .. } => Kind::Bulk { shift: 0 },
        // What a function that throws has used would be forgotten where it is caught.
        Operator::TryTable { .. }
        | Operator::Try { .. }
        | Operator::Catch { .. }
        | Operator::CatchAll
        | Operator::Delegate { .. }
        | Operator::Rethrow { .. } => Kind::Refused("it catches exceptions"),
        Operator::MemoryAtomicWait32 { .. } | Operator::MemoryAtomicWait64 { .. } => {
            Kind::Refused("it waits for other threads")
        }
        Operator::Resume { .. }
        | Operator::ResumeThrow { .. }
        | Operator::ResumeThrowRef { .. }
        | Operator::Suspend { .. }
        | Operator::Switch { .. } => Kind::Refused("it switches stacks"),
        _ => Kind::Plain,
    };
    (kind, 1)
}

/// What is known of a function's code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// What each piece costs that control enters only at its head, without the pieces inside: the function, then its
    /// loops in the order in which they stand.
    pub(super) pieces: Vec<u32>,
    pub(super) has_bulk: bool,
    pub(super) has_calls: bool,
}

impl Plan {
    /// Reads through the code of a function of a module that has so many globals.
    ///
    /// # Errors
    ///
    /// Where it is no code, or an operator is refused, and why.
    pub(super) fn read(mut code: OperatorsReader<'_>, globals: u32) -> Result<Self, (u64, String)> {
        let mut plan = Self {
            pieces: vec![0],
            has_bulk: false,
            has_calls: false,
        };
        let mut open = vec![0]; // the piece that each open block belongs to
        while !code.eof() {
            let (operator, at) = code.read_with_offset().map_err(broken)?;
            let (kind, cost) = kind(&operator);
            let Some(&piece) = open.last() else {
                return Err((at, "its code goes on after its end".to_owned()));
            };
            if let Operator::GlobalGet { global_index } | Operator::GlobalSet { global_index } = operator
                && global_index >= globals
            {
                return Err((at, format!("it names global {global_index} of {globals}")));
            }
            plan.pieces[piece] = plan.pieces[piece].saturating_add(cost);
            match kind {
                Kind::Block | Kind::If => open.push(piece),
                Kind::Loop => {
                    open.push(plan.pieces.len());
                    plan.pieces.push(0);
                }
                Kind::End => drop(open.pop()),
                Kind::Bulk { .. } => plan.has_bulk = true,
                Kind::Call => plan.has_calls = true,
                Kind::Leave => {
                    plan.has_calls |= matches!(
                        operator,
                        Operator::ReturnCall { .. }
                            | Operator::ReturnCallIndirect { .. }
                            | Operator::ReturnCallRef { .. }
                    );
                }
                Kind::Refused(why) => return Err((at, why.to_owned())),
                Kind::Plain | Kind::Else | Kind::Branch { .. } => {}
            }
        }
        Ok(plan)
    }

    pub(super) fn has_loops(&self) -> bool {
        self.pieces.len() > 1
    }

    /// Tells whether a piece is charged whole at its head.
    pub(super) fn is_small(&self, piece: usize) -> bool {
        self.pieces[piece] <= SMALL
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn broken(error: Error) -> (u64, String) {
    (error.offset(), error.message().to_owned())
}
