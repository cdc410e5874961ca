//! A function's code, written anew with its deadline in it.

use super::checks::{Checks, Indices};
use super::code::{Code, unsigned};
use super::cost::{Kind, Plan, STRETCH, broken, kind};
use wasmer::sys::wasmparser::{FuncType, FunctionBody, Operator, ValType};

const I32: u8 = 0x7f;
const I64: u8 = 0x7e;

/// Writes the body of a function of this type, without the length before it.
///
/// # Errors
///
/// Where the code is broken or refused, and why.
pub(super) fn rewrite(
    body: &FunctionBody<'_>,
    ty: &FuncType,
    checks: Checks,
    indices: Indices,
) -> Result<Vec<u8>, (u64, String)> {
    let plan = Plan::read(body.get_operators_reader().map_err(broken)?, indices.first)?;
    let mut locals = body.get_locals_reader().map_err(broken)?;
    let groups = locals.get_count();
    let declared_from = locals.original_position();
    let mut count = u64::try_from(ty.params().len()).unwrap_or(u64::MAX);
    for _ in 0..groups {
        count = count.saturating_add(locals.read().map_err(broken)?.0.into());
    }
    let first = u32::try_from(count.saturating_add(2)).map(|first| first - 2);
    let first = first.map_err(|_| (declared_from, "it has too many locals".to_owned()))?;
    let start = body.range().start;
    let bytes = body.as_bytes();
    let at = |position: u64| usize::try_from(position - start).unwrap_or(usize::MAX);
    let declared = &bytes[at(declared_from)..at(locals.original_position())];

    let is_cached = checks.fuel && (plan.has_loops() || !plan.is_small(0));
    let needs_length = checks.fuel && plan.has_bulk;
    let mut code = Code::default();
    let added = [is_cached.then_some(I64), needs_length.then_some(I32)];
    unsigned(
        &mut code.bytes,
        u64::from(groups) + added.iter().flatten().map(|_| 1).sum::<u64>(),
    );
    code.copy(declared);
    for kind in added.into_iter().flatten() {
        code.copy(&[1, kind]);
    }
    let mut writer = Writer {
        code,
        checks,
        indices,
        cached: is_cached.then_some(first),
        length: first + u32::from(is_cached),
        wrapper: is_cached.then(|| block_kind(ty.results())).flatten(),
        plan: &plan,
        frames: Vec::new(),
        pieces: 1,
        pending: 0,
        since: 0,
    };
    writer.enter();
    let mut operators = body.get_operators_reader().map_err(broken)?;
    while !operators.eof() {
        let from = at(operators.original_position());
        let operator = operators.read().map_err(broken)?;
        writer.operator(&operator, &bytes[from..at(operators.original_position())]);
    }
    Ok(writer.code.bytes)
}

/// Returns the byte of a block that results in these values, if it takes one byte to say.
fn block_kind(results: &[ValType]) -> Option<u8> {
    match *results {
        [] => Some(Code::EMPTY),
        [ValType::I32] => Some(I32),
        [ValType::I64] => Some(I64),
        [ValType::F32] => Some(0x7d),
        [ValType::F64] => Some(0x7c),
        [ValType::V128] => Some(0x7b),
        [ValType::FUNCREF] => Some(0x70),
        [ValType::EXTERNREF] => Some(0x6f),
        _ => None,
    }
}

/// A block that is open.
struct Frame {
    is_loop: bool,
    /// The piece of the plan that what stands in it belongs to.
    piece: usize,
    /// The most operators without a test on any way that leads to its label.
    worst: u32,
    /// As many as there were where an `if` was opened whose `else` has not come.
    otherwise: Option<u32>,
}

impl Frame {
    fn new(is_loop: bool, piece: usize) -> Self {
        Self {
            is_loop,
            piece,
            worst: 0,
            otherwise: None,
        }
    }
}

struct Writer<'a> {
    code: Code,
    checks: Checks,
    indices: Indices,
    /// The local that holds the fuel while the function runs. Without one it is counted in the global.
    cached: Option<u32>,
    /// The local that holds the length of a bulk operation.
    length: u32,
    /// The kind of the block that is put around the whole function, so that all ways out of it lead to one place.
    wrapper: Option<u8>,
    plan: &'a Plan,
    frames: Vec<Frame>,
    /// How many pieces have begun.
    pieces: usize,
    /// What has been done and is not yet charged.
    pending: u32,
    /// The most operators without a test on any way that leads here.
    since: u32,
}

impl Writer<'_> {
    fn enter(&mut self) {
        self.frames.push(Frame::new(false, 0));
        let fuel = self.indices.fuel;
        if let Some(cached) = self.cached {
            self.code.global_get(fuel);
            self.code.local_set(cached);
        }
        // A function that neither calls nor goes round cannot take long: whoever called it is tested.
        let is_tested = self.plan.has_calls || self.plan.has_loops();
        self.head(0, 1, is_tested);
        if let Some(kind) = self.wrapper {
            self.code.block(kind);
        }
    }

    /// Charges a piece where it begins, and tests.
    fn head(&mut self, piece: usize, extra: u32, is_tested: bool) {
        let due = if self.plan.is_small(piece) {
            self.plan.pieces[piece] + extra
        } else {
            extra
        };
        if self.checks.fuel {
            self.charge(due.max(1));
        }
        if is_tested {
            self.test();
        }
    }

    fn operator(&mut self, operator: &Operator<'_>, bytes: &[u8]) {
        let (kind, cost) = kind(operator);
        let piece = self.frames.last().map_or(0, |frame| frame.piece);
        if !self.plan.is_small(piece) {
            self.pending = self.pending.saturating_add(cost);
        }
        self.since = self.since.saturating_add(cost);
        if self.since >= STRETCH {
            self.flush();
            self.test();
        }
        match kind {
            Kind::Plain | Kind::Refused(_) => self.code.copy(bytes),
            Kind::Bulk { shift } => {
                self.bulk(shift);
                self.code.copy(bytes);
            }
            Kind::Block => {
                self.frames.push(Frame::new(false, piece));
                self.code.copy(bytes);
            }
            Kind::Loop => {
                self.flush();
                let piece = self.pieces;
                self.pieces += 1;
                self.frames.push(Frame::new(true, piece));
                self.code.copy(bytes);
                self.head(piece, 0, true);
            }
            Kind::If => {
                self.flush();
                let mut frame = Frame::new(false, piece);
                frame.otherwise = Some(self.since);
                self.frames.push(frame);
                self.code.copy(bytes);
            }
            Kind::Else => {
                self.flush();
                if let Some(frame) = self.frames.last_mut() {
                    frame.worst = frame.worst.max(self.since);
                    self.since = frame.otherwise.take().unwrap_or(self.since);
                }
                self.code.copy(bytes);
            }
            Kind::End => self.close(bytes),
            Kind::Branch { depth, always } => {
                self.flush();
                self.branch(operator, depth);
                self.code.copy(bytes);
                if always {
                    self.since = 0; // what follows is reached from elsewhere only
                }
            }
            Kind::Call => {
                self.flush();
                self.save();
                self.code.copy(bytes);
                self.load();
            }
            Kind::Leave => {
                self.flush();
                self.save();
                self.code.copy(bytes);
                self.since = 0;
            }
        }
    }

    /// Closes the innermost block; the outermost one is the function.
    fn close(&mut self, bytes: &[u8]) {
        self.flush();
        if let Some(frame) = self.frames.pop() {
            self.since = self.since.max(frame.worst).max(frame.otherwise.unwrap_or(0));
        }
        if self.frames.is_empty() {
            if self.wrapper.is_some() {
                self.code.end();
            }
            self.save();
        }
        self.code.copy(bytes);
    }

    /// Notes how far it is to the labels of a branch, and gives the fuel back if one of them is the function's end.
    fn branch(&mut self, operator: &Operator<'_>, depth: Option<u32>) {
        let mut leaves = self.note(depth);
        if let Operator::BrTable { targets } = operator {
            leaves |= self.note(Some(targets.default()));
            for depth in targets.targets().flatten() {
                leaves |= self.note(Some(depth));
            }
        }
        if leaves && self.wrapper.is_none() {
            self.save();
        }
    }

    /// Notes how far it is to a label; tells whether that is the function's end.
    fn note(&mut self, depth: Option<u32>) -> bool {
        let index = depth
            .and_then(|depth| usize::try_from(depth).ok())
            .and_then(|depth| self.frames.len().checked_sub(depth + 1));
        let Some(index) = index else { return false };
        let frame = &mut self.frames[index];
        if !frame.is_loop {
            frame.worst = frame.worst.max(self.since);
        }
        index == 0
    }

    /// Charges what has been done.
    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if self.checks.fuel && pending > 0 {
            self.charge(pending);
        }
    }

    fn charge(&mut self, units: u32) {
        self.fuel();
        self.code.i64_const(units.into());
        self.code.i64_sub();
        self.set_fuel();
    }

    /// Charges a bulk operation by its length, which is on top of the stack, and tests.
    fn bulk(&mut self, shift: u32) {
        if !self.checks.fuel {
            return;
        }
        self.code.local_tee(self.length);
        self.fuel();
        self.code.local_get(self.length);
        self.code.i64_extend_i32_u();
        if shift > 0 {
            self.code.i64_const(shift.into());
            self.code.i64_shr_u();
        }
        self.code.i64_sub();
        self.set_fuel();
        self.test_fuel();
    }

    /// Ends the call if its deadline is over.
    fn test(&mut self) {
        if self.checks.fuel {
            self.test_fuel();
        } else {
            self.test_stop();
        }
        self.since = 0;
    }

    /// Looks whether the fuel is used up, and if so, whether there is another slice of it for a call that was not
    /// stopped.
    fn test_fuel(&mut self) {
        let slices = self.indices.slices;
        if self.checks.stop {
            self.code.open_loop();
        }
        self.fuel();
        self.code.i64_const(0);
        self.code.i64_lt_s();
        self.code.open_if();
        if self.checks.stop {
            self.stop_if_told();
            self.code.global_get(slices);
            self.code.i64_const(0);
            self.code.i64_ne();
            self.code.open_if();
            self.code.global_get(slices);
            self.code.i64_const(1);
            self.code.i64_sub();
            self.code.global_set(slices);
            self.fuel();
            self.code.i64_const(Checks::SLICE);
            self.code.i64_add();
            self.set_fuel();
            self.code.br(2);
            self.code.end();
        }
        self.save();
        self.code.unreachable();
        self.code.end();
        if self.checks.stop {
            self.code.end();
        }
    }

    /// Looks whether the call was stopped. The compiler takes a global for unchanged as long as it sees no store to
    /// one, and would look only once: so the way that is hardly ever taken has such a store, and leads back to the
    /// test.
    fn test_stop(&mut self) {
        let stop = self.indices.stop;
        self.code.open_loop();
        self.code.global_get(stop);
        self.code.i64_const(0);
        self.code.i64_ne();
        self.code.open_if();
        self.stop_if_told();
        // It was meant for an earlier call.
        self.code.i64_const(0);
        self.code.global_set(stop);
        self.code.br(1);
        self.code.end();
        self.code.end();
    }

    /// Ends the call if it is this one that was stopped.
    fn stop_if_told(&mut self) {
        let Indices { stop, call, hit, .. } = self.indices;
        self.code.global_get(stop);
        self.code.global_get(call);
        self.code.i64_eq();
        self.code.open_if();
        self.code.global_get(call);
        self.code.global_set(hit);
        self.save();
        self.code.unreachable();
        self.code.end();
    }

    fn fuel(&mut self) {
        match self.cached {
            Some(local) => self.code.local_get(local),
            None => self.code.global_get(self.indices.fuel),
        }
    }

    fn set_fuel(&mut self) {
        match self.cached {
            Some(local) => self.code.local_set(local),
            None => self.code.global_set(self.indices.fuel),
        }
    }

    /// Puts the fuel where others see it.
    fn save(&mut self) {
        if let Some(local) = self.cached {
            self.code.local_get(local);
            self.code.global_set(self.indices.fuel);
        }
    }

    /// Takes the fuel that others have left.
    fn load(&mut self) {
        if let Some(local) = self.cached {
            self.code.global_get(self.indices.fuel);
            self.code.local_set(local);
        }
    }
}
