use std::borrow::Cow;
use std::ops::Range;

use wasmer::sys::wasmparser::{BinaryReader, CustomSectionReader, Name, NameSectionReader};

/// Finds the custom sections that need not be compiled.
///
/// The engine keeps every one in memory for as long as the module lives, and in its artifact: the debugging information
/// of a guest can be larger than its code, and empty sections are longer there than in the module. Only names of
/// functions are used, in traces of traps.
#[derive(Debug, Default)]
pub(super) struct Strip {
    ranges: Vec<Range<usize>>,
    names: Option<Names>,
}

/// The first section of names.
#[derive(Debug)]
struct Names {
    range: Range<usize>,
    functions: u64,
}

impl Strip {
    /// Looks at a custom section, which takes up `range` of the module.
    pub(super) fn section(&mut self, section: &CustomSectionReader<'_>, range: Range<usize>) {
        if section.name() == "name" && self.names.is_none() {
            let functions = named(section);
            self.names = Some(Names { range, functions });
        } else {
            self.add(range);
        }
    }

    /// Returns what need not be compiled, in order.
    ///
    /// Names are kept if there is at most one for each function: the engine makes a string of each, and does not look
    /// whether there is such a function.
    pub(super) fn dispensable(mut self, functions: u32) -> Box<[Range<usize>]> {
        if let Some(names) = self.names.take()
            && names.functions > functions.into()
        {
            self.ranges.push(names.range);
            self.ranges.sort_by_key(|range| range.start);
        }
        self.ranges.into()
    }

    fn add(&mut self, range: Range<usize>) {
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }
}

/// Counts the names of functions. The engine goes on behind what is malformed, so this does too.
fn named(section: &CustomSectionReader<'_>) -> u64 {
    let reader = BinaryReader::new(section.data(), section.data_offset());
    let counts = NameSectionReader::new(reader)
        .filter_map(Result::ok)
        .map(|name| match name {
            Name::Function(names) => names.count().into(),
            _ => 0,
        });
    counts.sum()
}

/// Returns the module without some of its parts.
pub(super) fn without<'a>(wasm: &'a [u8], parts: &[Range<usize>]) -> Cow<'a, [u8]> {
    if parts.is_empty() {
        return Cow::Borrowed(wasm);
    }
    let mut rest = Vec::with_capacity(wasm.len());
    let mut at = 0;
    for part in parts {
        rest.extend_from_slice(&wasm[at..part.start]);
        at = part.end;
    }
    rest.extend_from_slice(&wasm[at..]);
    Cow::Owned(rest)
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::{facts, wasm};
    use super::super::{Facts, ModuleLimits};
    use super::*;

    fn stripped(wasm: &[u8]) -> Cow<'_, [u8]> {
        let facts = Facts::read(wasm, &ModuleLimits::new()).expect("the module of a test is valid");
        without(wasm, &facts.dispensable)
    }

    /// A custom section.
    fn custom(name: &str, data: &[u8]) -> Vec<u8> {
        let length = u8::try_from(1 + name.len() + data.len()).expect("a short section");
        let name_length = u8::try_from(name.len()).expect("a short name");
        [&[0, length, name_length], name.as_bytes(), data].concat()
    }

    #[test]
    fn custom_sections_go_and_nothing_else() {
        let plain = wasm("(module (memory 1) (func) (data (i32.const 0) \"x\"))");
        let (header, rest) = plain.split_at(8);
        let debug = custom(".debug_info", b"long");
        let full = [header, &debug, &debug, rest, &debug, &custom("producers", b"")].concat();
        assert_eq!(stripped(&full), plain);
        assert_eq!(stripped(&full).len() + 3 * debug.len() + 12, full.len());
        assert!(matches!(stripped(&plain), Cow::Borrowed(_)));
    }

    #[test]
    fn the_names_of_functions_stay_once() {
        let named = wasm("(module (func $first) (func $second))");
        assert_eq!(stripped(&named), named);
        // The name of the module, then those of functions: one more than there are.
        let twice = [&named[..], &custom("name", &[0, 2, 1, b'm'])].concat();
        assert_eq!(stripped(&twice), named);
        let plain = wasm("(module (func))");
        let section = |count| custom("name", &[&[1, 7, count], &[0, 1, b'a', 9, 1, b'b'][..]].concat());
        let bad = |count| [&plain[..], &custom("x", b""), &section(count)].concat();
        assert_eq!(stripped(&bad(1)), [&plain[..], &section(1)].concat());
        assert_eq!(stripped(&bad(2)), plain);
    }

    #[test]
    fn names_behind_malformed_ones_count() {
        let plain = wasm("(module (func))");
        // A subsection of names without its end, then two names.
        let names = custom("name", &[1, 1, 0x80, 1, 7, 2, 0, 1, b'a', 9, 1, b'b']);
        assert_eq!(stripped(&[&plain[..], &names].concat()), plain);
    }

    #[test]
    fn a_module_without_custom_sections_is_left_as_it_is() {
        assert!(facts("(module)").dispensable.is_empty());
    }
}
