use std::collections::BTreeMap;
use std::fmt;
use std::mem::take;
use std::ops::Range;

use wasmer::sys::wasmparser::{
    Chunk, ExternalKind, FuncToValidate, FuncValidatorAllocations, FunctionBody, OperatorsReader, Parser,
    Payload, TypeRef, ValType, ValidPayload, Validator, ValidatorResources, types::TypesRef,
};
use wasmer::{FunctionType, Type};

use super::error::printable;
use super::features::ENABLED;
use super::limits::check;
use super::reset_plan::{Reasons, ResetPlan, Why};
use super::strip::Strip;
use super::{Abi, CompileError, ModuleLimits};

/// What begins a module: the magic number and the version.
const HEADER: [u8; 8] = *b"\0asm\x01\0\0\0";

const PAGE: u64 = 1 << 16;

/// The exports by name.
pub(crate) type Exports = BTreeMap<Box<str>, Export>;

/// What is known of a module before it runs: found in one pass over its bytes, which also validates them.
#[derive(Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "the statistics tell them"))]
pub(crate) struct Facts {
    /// How long the module is.
    pub(crate) bytes: usize,
    /// Its functions; imported ones come first.
    pub(crate) functions: u32,
    pub(crate) imported_functions: u32,
    /// Its globals, imported ones among them: a global that is added while compiling has this index.
    pub(crate) globals: u32,
    /// Its memories; imported ones come first.
    pub(crate) memories: Box<[Size]>,
    /// Its tables; imported ones come first.
    pub(crate) tables: Box<[Size]>,
    pub(crate) imports: Box<[Import]>,
    pub(crate) exports: Exports,
    /// The function that runs while it is instantiated.
    pub(crate) start: Option<u32>,
    pub(crate) abi: Abi,
    pub(crate) reset_plan: ResetPlan,
    /// What need not be compiled.
    pub(super) dispensable: Box<[Range<usize>]>,
}

/// How large a memory (in pages) or a table (in elements) is at first and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) minimum: u64,
    pub(crate) maximum: Option<u64>,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) module: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) kind: Kind,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&format!("{}.{}", self.module, self.name)))
    }
}

/// What an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Function,
    Global,
    Memory,
    Table,
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    Function { index: u32, signature: FunctionType },
    Global { index: u32 },
    Memory { index: u32 },
    Table { index: u32 },
}

impl Facts {
    /// Reads and validates a module.
    pub(crate) fn read(wasm: &[u8], limits: &ModuleLimits) -> Result<Self, CompileError> {
        let length = wasm.len() as u64;
        check("bytes", limits.bytes, length)?;
        let truncated = CompileError::Truncated { length };
        if !wasm.starts_with(&HEADER[..4]) {
            let is_cut = !wasm.is_empty() && HEADER.starts_with(wasm);
            return Err(if is_cut { truncated } else { CompileError::NotWasm });
        }
        let mut parser = Parser::new(0);
        parser.set_features(ENABLED);
        let mut reading = Reading::new(limits);
        let mut at = 0;
        loop {
            let rest = &wasm[at..];
            // The parser asks for more if a section is longer than the rest, and fails at the very end if one is
            // missing.
            let (payload, end) = match parser.parse(rest, rest.is_empty()) {
                Ok(Chunk::Parsed { consumed, payload }) => (payload, at + consumed),
                Ok(Chunk::NeedMoreData(_)) => return Err(truncated),
                Err(_) if rest.is_empty() => return Err(truncated),
                Err(error) => return Err(error.into()),
            };
            reading.limit(&payload)?;
            match reading.validator.payload(&payload)? {
                ValidPayload::End(types) => return reading.finish(wasm.len(), types.as_ref()),
                ValidPayload::Func(function, body) => {
                    check(
                        "bytes in one function",
                        limits.function_bytes,
                        body.as_bytes().len() as u64,
                    )?;
                    reading.function(function, &body)?;
                }
                _ => reading.section(payload, at..end)?,
            }
            at = end;
        }
    }

    /// Finds an exported function.
    pub(crate) fn function(&self, name: &str) -> Option<&FunctionType> {
        match self.exports.get(name)? {
            Export::Function { signature, .. } => Some(signature),
            _ => None,
        }
    }
}

/// What is known so far.
struct Reading<'a> {
    limits: &'a ModuleLimits,
    validator: Validator,
    allocations: FuncValidatorAllocations,
    imports: Vec<Import>,
    /// Name, kind and index: the signatures are known at the end.
    exports: Vec<(Box<str>, ExternalKind, u32)>,
    imported_functions: u32,
    memories: u32,
    tables: u32,
    globals: u32,
    start: Option<u32>,
    reasons: Reasons,
    strip: Strip,
}

impl<'a> Reading<'a> {
    fn new(limits: &'a ModuleLimits) -> Self {
        Self {
            limits,
            validator: Validator::new_with_features(ENABLED),
            allocations: FuncValidatorAllocations::default(),
            imports: Vec::new(),
            exports: Vec::new(),
            imported_functions: 0,
            memories: 0,
            tables: 0,
            globals: 0,
            start: None,
            reasons: Reasons::default(),
            strip: Strip::default(),
        }
    }

    /// Looks at the count that a section begins with, before anything makes room for so many.
    fn limit(&self, payload: &Payload<'_>) -> Result<(), CompileError> {
        let limits = self.limits;
        let (what, limit, asked) = match payload {
            Payload::TypeSection(section) => ("signatures", limits.types, section.count()),
            Payload::ImportSection(section) => ("imports", limits.imports, section.count()),
            Payload::FunctionSection(section) => ("functions", limits.functions, section.count()),
            Payload::TableSection(section) => ("tables", limits.tables, section.count()),
            Payload::MemorySection(section) => ("memories", limits.memories, section.count()),
            Payload::GlobalSection(section) => ("globals", limits.globals, section.count()),
            Payload::ExportSection(section) => ("exports", limits.exports, section.count()),
            Payload::ElementSection(section) => ("element segments", limits.segments, section.count()),
            Payload::DataSection(section) => ("data segments", limits.segments, section.count()),
            _ => return Ok(()),
        };
        check(what, limit, asked.into())
    }

    /// Reads the body of a function.
    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), CompileError> {
        let mut validator = function.into_validator(take(&mut self.allocations));
        let index = validator.index();
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        check(
            "locals in one function",
            self.limits.locals,
            validator.len_locals().into(),
        )?;
        reader.set_features(ENABLED);
        let mut operators = OperatorsReader::new(reader);
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            validator.op(offset, &operator)?;
            check(
                "blocks in each other",
                self.limits.nesting,
                validator.control_stack_height().into(),
            )?;
            self.reasons.instruction(index, &operator);
        }
        operators.finish()?;
        self.allocations = validator.into_allocations();
        Ok(())
    }

    /// Reads what is not the body of a function; it is valid.
    fn section(&mut self, payload: Payload<'_>, range: Range<usize>) -> Result<(), CompileError> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let kind = self.import(&import.ty);
                    self.imports.push(Import {
                        module: import.module.into(),
                        name: import.name.into(),
                        kind,
                    });
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let ty = global?.ty;
                    if ty.mutable && ty.content_type.is_reference_type() {
                        self.reasons.push(Why::GlobalReference { global: self.globals });
                    }
                    self.globals += 1;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports.push((export.name.into(), export.kind, export.index));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::DataSection(section) => {
                for (segment, data) in (0..).zip(section) {
                    self.reasons.segment(segment, &data?.kind);
                }
            }
            Payload::CustomSection(section) => self.strip.section(&section, range),
            _ => {}
        }
        Ok(())
    }

    /// Counts an import, and tells why it may prevent a reset.
    fn import(&mut self, ty: &TypeRef) -> Kind {
        match ty {
            TypeRef::Memory(_) => {
                self.reasons.push(Why::MemoryImported {
                    memory: self.memories,
                });
                self.memories += 1;
                Kind::Memory
            }
            TypeRef::Table(_) => {
                self.reasons.push(Why::TableImported { table: self.tables });
                self.tables += 1;
                Kind::Table
            }
            TypeRef::Global(ty) => {
                if ty.mutable {
                    self.reasons.push(Why::GlobalImported { global: self.globals });
                }
                self.globals += 1;
                Kind::Global
            }
            // A tag would be an exception, which are off.
            TypeRef::Func(_) | TypeRef::FuncExact(_) | TypeRef::Tag(_) => {
                self.imported_functions += 1;
                Kind::Function
            }
        }
    }

    fn finish(self, bytes: usize, types: TypesRef<'_>) -> Result<Facts, CompileError> {
        let exports = self.exports.into_iter().map(|(name, kind, index)| {
            let export = match kind {
                ExternalKind::Memory => Export::Memory { index },
                ExternalKind::Table => Export::Table { index },
                ExternalKind::Global => Export::Global { index },
                ExternalKind::Func | ExternalKind::FuncExact | ExternalKind::Tag => Export::Function {
                    index,
                    signature: signature(types, index)?,
                },
            };
            Ok((name, export))
        });
        let exports = exports.collect::<Result<Exports, CompileError>>()?;
        let memories = (0..types.memory_count()).map(|index| {
            let memory = types.memory_at(index);
            Size {
                minimum: memory.initial,
                maximum: memory.maximum,
            }
        });
        let memories: Box<[_]> = memories.collect();
        let tables = (0..types.table_count()).map(|index| {
            let table = types.table_at(index);
            Size {
                minimum: table.initial,
                maximum: table.maximum,
            }
        });
        let image_bytes = memories.iter().map(|memory| memory.minimum * PAGE).sum();
        let functions = types.function_count();
        Ok(Facts {
            bytes,
            functions,
            imported_functions: self.imported_functions,
            globals: types.global_count(),
            memories,
            tables: tables.collect(),
            imports: self.imports.into(),
            abi: Abi::of(&exports),
            exports,
            start: self.start,
            reset_plan: self.reasons.plan(image_bytes),
            dispensable: self.strip.dispensable(functions),
        })
    }
}

/// Returns the signature of a function in the engine's types.
fn signature(types: TypesRef<'_>, function: u32) -> Result<FunctionType, CompileError> {
    let ty = types[types.core_function_at(function)].unwrap_func();
    let engine = |types: &[ValType]| {
        types
            .iter()
            .copied()
            .map(engine_type)
            .collect::<Result<Box<[_]>, _>>()
    };
    Ok(FunctionType::new(engine(ty.params())?, engine(ty.results())?))
}

fn engine_type(ty: ValType) -> Result<Type, CompileError> {
    Ok(match ty {
        ValType::I32 => Type::I32,
        ValType::I64 => Type::I64,
        ValType::F32 => Type::F32,
        ValType::F64 => Type::F64,
        ValType::V128 => Type::V128,
        ValType::Ref(ty) if ty.is_func_ref() => Type::FuncRef,
        ValType::Ref(ty) if ty.is_extern_ref() => Type::ExternRef,
        ValType::Ref(_) => return Err(CompileError::backend("a type of reference that is off")),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn wasm(wat: &str) -> Vec<u8> {
        wat::parse_str(wat).expect("the text of a test is right")
    }

    pub(in super::super) fn facts(wat: &str) -> Facts {
        Facts::read(&wasm(wat), &ModuleLimits::new()).expect("the module of a test is valid")
    }

    fn error(bytes: &[u8]) -> CompileError {
        Facts::read(bytes, &ModuleLimits::new()).unwrap_err()
    }

    const GUEST: &str = r#"(module
        (import "host" "log" (func (param i32 i32)))
        (import "host" "base" (global i32))
        (import "host" "table" (table 2 funcref))
        (memory (export "memory") 1 3) (memory 2)
        (table 5 9 funcref)
        (global (export "top") (mut i32) (i32.const 0))
        (func $start)
        (func (export "sum") (param i64 f32) (result v128 externref) unreachable)
        (export "second" (memory 1)) (export "table" (table 1))
        (start $start))"#;

    #[test]
    fn finds_what_a_module_has() {
        let bytes = wasm(GUEST);
        let facts = Facts::read(&bytes, &ModuleLimits::new()).unwrap();
        assert_eq!(facts.bytes, bytes.len());
        assert_eq!(
            (facts.functions, facts.imported_functions, facts.globals),
            (3, 1, 2)
        );
        assert_eq!(facts.start, Some(1));
        let size = |minimum, maximum| Size { minimum, maximum };
        assert_eq!(*facts.memories, [size(1, Some(3)), size(2, None)]);
        assert_eq!(*facts.tables, [size(2, None), size(5, Some(9))]);
        let import = |name: &str, kind| Import {
            module: "host".into(),
            name: name.into(),
            kind,
        };
        assert_eq!(
            *facts.imports,
            [
                import("log", Kind::Function),
                import("base", Kind::Global),
                import("table", Kind::Table)
            ]
        );
        let signature = FunctionType::new([Type::I64, Type::F32], [Type::V128, Type::ExternRef]);
        assert_eq!(facts.function("sum"), Some(&signature));
        assert_eq!(facts.function("memory"), None);
        assert_eq!(facts.function("none"), None);
        assert_eq!(facts.exports["memory"], Export::Memory { index: 0 });
        assert_eq!(facts.exports["second"], Export::Memory { index: 1 });
        assert_eq!(facts.exports["table"], Export::Table { index: 1 });
        assert_eq!(facts.exports["top"], Export::Global { index: 1 });
        assert_eq!(facts.exports.len(), 5);
    }

    #[test]
    fn what_is_not_wasm_is_told_from_what_is_cut() {
        for bytes in [
            &b""[..],
            b"wasm",
            b"\0as\0",
            b"\x7fELF",
            b"(module)",
            b"\0ASM\x01\0\0\0",
        ] {
            assert_eq!(error(bytes), CompileError::NotWasm, "{bytes:?}");
        }
        let future = error(b"\0asm\x02\0\0\0");
        assert!(
            matches!(future, CompileError::Invalid { offset: 4, .. }),
            "{future}"
        );
    }

    #[test]
    fn a_cut_at_any_byte_is_an_error_and_no_panic() {
        let bytes = wasm(GUEST);
        let mut valid = 0;
        for end in 1..bytes.len() {
            // A module may end after any section, unless something is missing.
            match Facts::read(&bytes[..end], &ModuleLimits::new()) {
                Ok(_) => valid += 1,
                Err(error) => assert_eq!(error, CompileError::Truncated { length: end as u64 }),
            }
        }
        // After the header, the types, the imports, and the code, behind which come only names. Between, functions lack
        // their code.
        assert_eq!(valid, 4);
    }

    #[test]
    fn a_broken_rule_is_named_with_its_place() {
        // A function that promises an i32 and returns nothing.
        let bytes = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";
        let CompileError::Invalid { offset, reason } = error(bytes) else {
            panic!("invalid");
        };
        assert_eq!(offset, 24);
        assert!(reason.contains("type mismatch"), "{reason}");
    }

    #[test]
    fn every_feature_that_is_off_is_named() {
        for (wat, expected) in [
            ("(memory 1 1 shared)", "threads"),
            (
                "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
                "threads",
            ),
            ("(func $f (return_call $f))", "tail calls"),
            ("(memory i64 1)", "64-bit memories"),
            ("(tag)", "exceptions"),
            ("(func (throw_ref))", "exceptions"),
            (
                "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
                "relaxed SIMD instructions",
            ),
            (
                "(func (param i64) (drop (i64.mul_wide_u (local.get 0) (local.get 0))) (drop))",
                "wide arithmetic instructions",
            ),
            (
                "(type $t (func)) (func (param (ref $t)))",
                "typed function references",
            ),
            ("(type (struct))", "types of the GC proposal"),
            ("(memory 1 (pagesize 1))", "custom page sizes"),
        ] {
            let found = error(&wasm(&format!("(module {wat})")));
            assert!(
                matches!(found, CompileError::FeatureDisabled { feature, .. } if feature == expected),
                "{wat}: {found}"
            );
        }
        let component = error(b"\0asm\x0d\0\x01\0");
        assert!(
            matches!(
                component,
                CompileError::FeatureDisabled {
                    feature: "components",
                    ..
                }
            ),
            "{component}"
        );
    }

    #[test]
    fn features_that_are_on_pass() {
        for wat in [
            "(func (result i32 i64) (i32.const 1) (i64.const 2))",
            "(func (param v128) (result v128) (i8x16.neg (local.get 0)))",
            "(memory 1) (memory 1) (func (memory.copy 0 1 (i32.const 0) (i32.const 0) (i32.const 0)))",
            "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
            "(func (param externref) (result i32) (ref.is_null (local.get 0)))",
            "(func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0)))",
            "(func (param i32) (result i32) (i32.extend8_s (local.get 0)))",
        ] {
            facts(&format!("(module {wat})"));
        }
    }

    #[test]
    fn a_count_is_looked_at_before_room_is_made() {
        let four_billion = b"\0asm\x01\0\0\0\x01\x05\xff\xff\xff\xff\x0f";
        let expected = CompileError::TooLarge {
            what: "signatures",
            limit: 10_000,
            asked: u32::MAX.into(),
        };
        assert_eq!(error(four_billion), expected);
    }

    #[test]
    fn each_limit_holds_exactly() {
        type Setter = fn(ModuleLimits, u64) -> ModuleLimits;
        let nops = "(func nop nop nop)"; // beside them, a byte for the locals and one for the end
        let blocks = "(func block loop end end)"; // the function is a block, too
        let cases: [(&str, Setter, &str, u64); 13] = [
            ("", ModuleLimits::bytes, "bytes", 8),
            (
                "(type (func)) (type (func (param i32)))",
                ModuleLimits::types,
                "signatures",
                2,
            ),
            (
                r#"(import "a" "b" (func)) (import "a" "b" (func))"#,
                ModuleLimits::imports,
                "imports",
                2,
            ),
            (
                r#"(memory (export "a") (export "b") 1)"#,
                ModuleLimits::exports,
                "exports",
                2,
            ),
            ("(func) (func)", ModuleLimits::functions, "functions", 2),
            (nops, ModuleLimits::function_bytes, "bytes in one function", 5),
            (blocks, ModuleLimits::nesting, "blocks in each other", 3),
            (
                "(func (param i32) (local i64 i64))",
                ModuleLimits::locals,
                "locals in one function",
                3,
            ),
            (
                "(global i32 (i32.const 0)) (global i32 (i32.const 0))",
                ModuleLimits::globals,
                "globals",
                2,
            ),
            ("(memory 1) (memory 1)", ModuleLimits::memories, "memories", 2),
            (
                "(table 1 funcref) (table 1 funcref)",
                ModuleLimits::tables,
                "tables",
                2,
            ),
            (
                "(elem func) (elem func)",
                ModuleLimits::segments,
                "element segments",
                2,
            ),
            (
                r#"(data "") (data "")"#,
                ModuleLimits::segments,
                "data segments",
                2,
            ),
        ];
        for (wat, set, what, asked) in cases {
            let bytes = wasm(&format!("(module {wat})"));
            let limits = |most| set(ModuleLimits::new(), most);
            assert!(Facts::read(&bytes, &limits(asked)).is_ok(), "{wat}");
            let limit = asked - 1;
            let expected = CompileError::TooLarge { what, limit, asked };
            assert_eq!(
                Facts::read(&bytes, &limits(limit)).unwrap_err(),
                expected,
                "{wat}"
            );
        }
    }
}
