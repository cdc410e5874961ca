//! A module, written anew with its deadline in it.

use super::code::{Code, unsigned};
use super::cost::broken;
use super::function;
use crate::Error;
use std::borrow::Cow;
use std::ops::Range;
use wasmer::sys::wasmparser::{
    BinaryReader, ExportSectionReader, FuncType, FunctionBody, FunctionSectionReader, ImportSectionReader,
    SectionLimited, TypeRef, TypeSectionReader,
};

/// What a module's code looks at while it runs.
///
/// With both, a call looks for a stop each time it has used up a slice of fuel, which takes about a millisecond, so
/// that both cost no more than fuel alone. A host function that takes long should ask
/// [`Meter::is_over`](super::meter::Meter::is_over).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Checks {
    /// How much it has done.
    pub(crate) fuel: bool,
    /// Whether it was told to stop.
    pub(crate) stop: bool,
}

impl Checks {
    /// Names the way in which code is written; it changes with whatever changes the code, for keys of caches.
    pub(crate) const VERSION: u32 = 1;

    /// How much fuel is handed out at a time where a stop is to be noticed: the call looks for one when it is used
    /// up.
    pub(crate) const SLICE: i64 = 1 << 20;

    /// Returns how many globals are put in: the fuel; the call to stop, the one that runs, the one that has stopped;
    /// and with both, how many slices are left.
    pub(crate) const fn globals(self) -> u32 {
        match (self.fuel, self.stop) {
            (false, false) => 0,
            (true, false) => 1,
            (false, true) => 3,
            (true, true) => 5,
        }
    }
}

/// Where the globals are that were put in, among all globals of the module: behind those that it has itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indices {
    /// The first of them.
    pub(crate) first: u32,
    /// How much the call may still do, or may do before it looks for more; below nought when that was too little.
    pub(crate) fuel: u32,
    /// The call that is told to stop, or nought.
    pub(crate) stop: u32,
    /// The call that runs.
    pub(crate) call: u32,
    /// The call that has stopped because it was told to.
    pub(crate) hit: u32,
    /// How often the call may still have a slice of fuel.
    pub(crate) slices: u32,
}

/// A module whose code keeps a deadline.
#[derive(Debug)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the tests hold it against what a host finds by itself")
)]
pub(crate) struct Checked<'a> {
    /// What is to be compiled.
    pub(crate) wasm: Cow<'a, [u8]>,
    /// The globals that were put in, by their indices among all globals of the module: behind those that it has
    /// itself. They are the meter's; a reset leaves them alone.
    pub(crate) globals: Range<u32>,
    /// How many globals the module imports, which come before those that it makes.
    pub(crate) imported_globals: u32,
    /// The export to call after the instantiation, and before all others: what was the start function. An
    /// instantiation runs no code of the guest.
    pub(crate) start: Option<String>,
}

/// Writes a module anew, which should be valid: the compiler gets to see only what is returned.
///
/// # Errors
///
/// [`Error::Unmeterable`] if it is broken, or does what lets no deadline hold.
pub(crate) fn instrument(wasm: &[u8], checks: Checks) -> Result<Checked<'_>, Error> {
    if checks == Checks::default() {
        return Ok(Checked {
            wasm: Cow::Borrowed(wasm),
            globals: 0..0,
            imported_globals: 0,
            start: None,
        });
    }
    Rewriter::new(checks)
        .run(wasm)
        .map_err(|(offset, reason)| Error::Unmeterable { offset, reason })
}

/// Code that is nothing but loops would grow more than this, and is none that anybody needs.
const MOST_GROWTH: usize = 8;

const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const GLOBALS: u8 = 6;
const EXPORTS: u8 = 7;
const START: u8 = 8;
const CODE: u8 = 10;

/// Where a section stands among the others; those of tools stand anywhere.
fn rank(id: u8) -> Option<u8> {
    let order = [
        TYPES, IMPORTS, FUNCTIONS, 4, 5, 13, GLOBALS, EXPORTS, START, 9, 12, CODE, 11,
    ];
    order
        .iter()
        .position(|&other| other == id)
        .and_then(|rank| u8::try_from(rank).ok())
}

/// Returns what the export is called that [`instrument`] makes of a module's start function, without writing it anew.
pub(crate) fn start_export(wasm: &[u8]) -> Option<String> {
    let mut reader = BinaryReader::new(wasm, 0);
    reader.read_bytes(8).ok()?;
    find_start(reader).ok().flatten().map(|(_, name)| name)
}

struct Rewriter {
    checks: Checks,
    out: Vec<u8>,
    types: Vec<FuncType>,
    /// The type of each function that has code.
    functions: Vec<u32>,
    globals: u32,
    imported_globals: u32,
    has_globals: bool,
    has_exports: bool,
    start: Option<(u32, String)>,
}

impl Rewriter {
    fn new(checks: Checks) -> Self {
        Self {
            checks,
            out: Vec::new(),
            types: Vec::new(),
            functions: Vec::new(),
            globals: 0,
            imported_globals: 0,
            has_globals: false,
            has_exports: false,
            start: None,
        }
    }

    fn run<'a>(mut self, wasm: &[u8]) -> Result<Checked<'a>, (u64, String)> {
        let mut reader = BinaryReader::new(wasm, 0);
        let header = reader.read_bytes(8).map_err(broken)?;
        if header != b"\0asm\x01\0\0\0" {
            return Err((0, "it is not a WebAssembly module".to_owned()));
        }
        self.out.reserve(wasm.len() + wasm.len() / 2);
        self.out.extend_from_slice(header);
        self.start = find_start(reader.clone())?;
        while !reader.eof() {
            let id = reader.read_u8().map_err(broken)?;
            let contents = reader.read_reader().map_err(broken)?;
            self.insert_before(rank(id));
            self.section(id, contents)?;
        }
        self.insert_before(Some(u8::MAX));
        Ok(Checked {
            wasm: Cow::Owned(self.out),
            globals: self.globals..self.globals + self.checks.globals(),
            imported_globals: self.imported_globals,
            start: self.start.map(|(_, name)| name),
        })
    }

    /// Writes the sections that the module does not have, before the first one that comes after them.
    fn insert_before(&mut self, next: Option<u8>) {
        let Some(next) = next else { return };
        if !self.has_globals && Some(next) > rank(GLOBALS) {
            self.has_globals = true;
            let mut contents = Vec::new();
            unsigned(&mut contents, self.checks.globals().into());
            self.add_globals(&mut contents);
            self.write(GLOBALS, &contents);
        }
        if !self.has_exports && Some(next) > rank(EXPORTS) {
            self.has_exports = true;
            if let Some((function, name)) = &self.start {
                let mut contents = vec![1];
                add_export(&mut contents, *function, name);
                self.write(EXPORTS, &contents);
            }
        }
    }

    fn section(&mut self, id: u8, contents: BinaryReader<'_>) -> Result<(), (u64, String)> {
        let bytes = rest(contents.clone())?;
        match id {
            TYPES => {
                let types = TypeSectionReader::new(contents).map_err(broken)?;
                self.types = types
                    .into_iter_err_on_gc_types()
                    .collect::<Result<_, _>>()
                    .map_err(broken)?;
            }
            IMPORTS => {
                let imports = ImportSectionReader::new(contents).map_err(broken)?;
                for import in imports.into_imports() {
                    let import = import.map_err(broken)?;
                    self.imported_globals += u32::from(matches!(import.ty, TypeRef::Global(_)));
                }
                self.globals = few(self.imported_globals)?;
            }
            FUNCTIONS => {
                let functions = FunctionSectionReader::new(contents).map_err(broken)?;
                self.functions = functions.into_iter().collect::<Result<_, _>>().map_err(broken)?;
            }
            GLOBALS => {
                let (count, items) = counted(contents)?;
                self.globals = few(self.imported_globals.saturating_add(count))?;
                self.has_globals = true;
                let mut contents = Vec::with_capacity(items.len() + 64);
                unsigned(&mut contents, u64::from(count) + u64::from(self.checks.globals()));
                contents.extend_from_slice(items);
                self.add_globals(&mut contents);
                self.write(id, &contents);
                return Ok(());
            }
            EXPORTS => {
                self.has_exports = true;
                if let Some((function, name)) = &self.start {
                    let (count, items) = counted(contents)?;
                    let mut contents = Vec::with_capacity(items.len() + 64);
                    unsigned(&mut contents, u64::from(count) + 1);
                    contents.extend_from_slice(items);
                    add_export(&mut contents, *function, name);
                    self.write(id, &contents);
                    return Ok(());
                }
            }
            START => return Ok(()),
            CODE => {
                let contents = self.code(contents)?;
                self.write(id, &contents);
                return Ok(());
            }
            _ => {}
        }
        self.write(id, bytes);
        Ok(())
    }

    fn code(&self, contents: BinaryReader<'_>) -> Result<Vec<u8>, (u64, String)> {
        let section = SectionLimited::<FunctionBody<'_>>::new(contents).map_err(broken)?;
        let most = section.range().end - section.range().start;
        let most = usize::try_from(most).map_or(usize::MAX, |most| {
            most.saturating_mul(MOST_GROWTH).saturating_add(1 << 16)
        });
        let mut written = Vec::new();
        unsigned(&mut written, section.count().into());
        let mut types = self.functions.iter();
        for body in section {
            let body = body.map_err(broken)?;
            let ty = types
                .next()
                .and_then(|&index| self.types.get(usize::try_from(index).ok()?));
            let at = body.range().start;
            let ty = ty.ok_or_else(|| (at, "it has code without a type".to_owned()))?;
            let body = function::rewrite(&body, ty, self.checks, self.indices())?;
            unsigned(&mut written, body.len() as u64);
            written.extend(body);
            if written.len() > most {
                return Err((at, "its code would grow beyond all measure".to_owned()));
            }
        }
        Ok(written)
    }

    fn indices(&self) -> Indices {
        let stop = self.globals + u32::from(self.checks.fuel);
        Indices {
            first: self.globals,
            fuel: self.globals,
            stop,
            call: stop + 1,
            hit: stop + 2,
            slices: stop + 3,
        }
    }

    /// Adds ours to the globals: 64 bits each, changing, nought at first.
    fn add_globals(&self, to: &mut Vec<u8>) {
        for _ in 0..self.checks.globals() {
            let mut value = Code::default();
            value.i64_const(0);
            value.end();
            to.extend([0x7e, 0x01]);
            to.extend(value.bytes);
        }
    }

    fn write(&mut self, id: u8, contents: &[u8]) {
        self.out.push(id);
        unsigned(&mut self.out, contents.len() as u64);
        self.out.extend_from_slice(contents);
    }
}

/// Finds the start function, and a name for it that no export has.
fn find_start(mut reader: BinaryReader<'_>) -> Result<Option<(u32, String)>, (u64, String)> {
    let mut start = None;
    let mut names = Vec::new();
    while !reader.eof() {
        let id = reader.read_u8().map_err(broken)?;
        let mut contents = reader.read_reader().map_err(broken)?;
        match id {
            START => start = Some(contents.read_var_u32().map_err(broken)?),
            EXPORTS => {
                for export in ExportSectionReader::new(contents).map_err(broken)? {
                    names.push(export.map_err(broken)?.name);
                }
            }
            _ => {}
        }
    }
    let Some(function) = start else { return Ok(None) };
    let mut name = "start".to_owned();
    while names.contains(&name.as_str()) {
        name.push('_');
    }
    Ok(Some((function, name)))
}

fn add_export(to: &mut Vec<u8>, function: u32, name: &str) {
    unsigned(to, name.len() as u64);
    to.extend_from_slice(name.as_bytes());
    to.push(0x00);
    unsigned(to, function.into());
}

/// Reads how many items a section has, and leaves them as they are.
fn counted(mut contents: BinaryReader<'_>) -> Result<(u32, &[u8]), (u64, String)> {
    let count = contents.read_var_u32().map_err(broken)?;
    Ok((count, rest(contents)?))
}

/// Passes a number of globals that any module may have.
fn few(globals: u32) -> Result<u32, (u64, String)> {
    const MOST: u32 = 1_000_000;
    if globals > MOST {
        return Err((0, format!("it has {globals} globals of at most {MOST}")));
    }
    Ok(globals)
}

fn rest(mut contents: BinaryReader<'_>) -> Result<&[u8], (u64, String)> {
    contents.read_bytes(contents.bytes_remaining()).map_err(broken)
}
