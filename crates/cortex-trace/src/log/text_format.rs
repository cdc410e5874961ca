use std::fmt::{self, Write};

use cortex_core::Context;
use tracing::Level;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::bounded::Bounded;
use super::format::Format;
use super::kept::Kept;
use super::plan::Kind;
use super::scratch::Ids;
use crate::printable::{self, Printable};

/// One line for people.
#[derive(Clone, Debug)]
pub(super) struct TextFormat {
    pub(super) colour: bool,
}

/// The spans that a line shows; of more, the inner ones.
const SPANS: usize = 16;

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

impl TextFormat {
    fn style(&self, out: &mut String, style: &str) {
        if self.colour {
            out.push_str(style);
        }
    }
}

impl Format for TextFormat {
    const TAKEN_IN_EVENT: &'static [&'static str] = &[];
    const TAKEN_IN_SPAN: &'static [&'static str] = &[];
    const KEYS_ARE_UNIQUE: bool = false;
    const MESSAGE_FIRST: bool = true;

    fn open(&self, out: &mut String) {
        self.style(out, DIM);
    }

    fn head(&self, out: &mut String, level: Level, target: &str) {
        self.style(out, PLAIN);
        let (style, level) = match level {
            Level::ERROR => ("\x1b[31m", " ERROR "),
            Level::WARN => ("\x1b[33m", "  WARN "),
            Level::INFO => ("\x1b[32m", "  INFO "),
            Level::DEBUG => ("\x1b[34m", " DEBUG "),
            Level::TRACE => ("\x1b[35m", " TRACE "),
        };
        self.style(out, style);
        out.push_str(level);
        self.style(out, PLAIN);
        self.style(out, DIM);
        printable(out, target);
        self.style(out, PLAIN);
        out.push(':');
    }

    fn key(&self, out: &mut String, name: &str, kind: Kind) {
        out.push(' ');
        if kind != Kind::Message {
            word(out, name);
            out.push('=');
        }
    }

    fn message(&self, out: &mut String, message: impl fmt::Display) {
        // What gives up, or is stopped, has written what it could.
        let _ = write!(Bounded::new(Shown(out)), "{message}");
    }

    fn string(&self, out: &mut String, value: &str) {
        word(out, value);
    }

    fn formatted(&self, out: &mut String, value: impl fmt::Display) {
        let start = out.len();
        let _ = write!(Bounded::new(&mut *out), "{value}");
        let text = &out[start..];
        // What `Debug` makes of structures is easier to read as it is, if it cannot be taken for another field.
        let is_clear = !text.is_empty() && !text.contains('=') || is_quoted(text);
        if !is_clear || text.contains(printable::acts) {
            let text = out.split_off(start);
            if is_clear {
                printable(out, &text);
            } else {
                quoted(out, &text);
            }
        }
    }

    fn float(&self, out: &mut String, value: f64) {
        out.push_str(ryu::Buffer::new().format(value));
    }

    fn wide(&self, out: &mut String, digits: &str) {
        out.push_str(digits);
    }

    fn secret(&self, out: &mut String) {
        out.push_str("[redacted]");
    }

    fn moved(&self, _: &mut String, _: &str) {}

    fn span_head(&self, out: &mut String, name: &str) {
        word(out, name);
    }

    fn surroundings<'a, S: LookupSpan<'a>>(
        &self,
        out: &mut String,
        _: &mut Ids,
        context: Context,
        span: Option<SpanRef<'a, S>>,
        layer: u64,
    ) {
        if span.is_none() && context.trace_id().is_none() {
            return;
        }
        self.style(out, DIM);
        if let Some(span) = span {
            self.path(out, &span, layer);
        }
        if let Some(trace) = context.trace_id() {
            out.push_str(" trace=");
            let hex = trace.to_hex();
            out.push_str(str::from_utf8(&hex[..SHORT]).unwrap_or_default());
        }
        self.style(out, PLAIN);
    }

    fn close(&self, out: &mut String) {
        out.push('\n');
    }
}

/// The digits of a trace id that are shown: people compare, machines read JSON.
const SHORT: usize = 8;

impl TextFormat {
    /// Writes the spans from the outermost to the innermost, each with its fields.
    fn path<'a, S: LookupSpan<'a>>(&self, out: &mut String, span: &SpanRef<'a, S>, layer: u64) {
        let mut scope = span.scope();
        let mut spans: [Option<SpanRef<'a, S>>; SPANS] = [const { None }; SPANS];
        let mut depth = 0;
        for (place, span) in spans.iter_mut().zip(&mut scope) {
            *place = Some(span);
            depth += 1;
        }
        let mut separator = if depth == SPANS && scope.next().is_some() {
            " in …:"
        } else {
            " in "
        };
        for span in spans[..depth].iter().rev().flatten() {
            out.push_str(separator);
            separator = ":";
            match span.extensions().get::<Kept>().and_then(|kept| kept.of(layer)) {
                Some(fields) => {
                    out.push_str(fields.plain.head());
                    out.push('{');
                    out.push_str(fields.plain.separated());
                    out.push('}');
                }
                None => self.span_head(out, span.name()),
            }
        }
    }
}

/// Writes whatever is given to it such that a terminal shows it.
struct Shown<'a>(&'a mut String);

impl Write for Shown<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        printable(self.0, text);
        Ok(())
    }
}

fn printable(out: &mut String, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        out.push_str(text); // nearly always
    } else {
        let _ = write!(out, "{}", Printable::whole(text));
    }
}

/// Writes text bare if one sees where it begins and ends, and in quotes otherwise.
fn word(out: &mut String, text: &str) {
    let is_clear = |character: char| {
        !(character.is_whitespace()
            || matches!(character, '"' | '\\' | '=' | '{' | '}')
            || printable::acts(character))
    };
    if !text.is_empty() && text.chars().all(is_clear) {
        out.push_str(text);
    } else {
        quoted(out, text);
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for part in text.split_inclusive(['"', '\\']) {
        let plain = part.trim_end_matches(['"', '\\']);
        printable(out, plain);
        if plain.len() < part.len() {
            out.push('\\');
            out.push_str(&part[plain.len()..]);
        }
    }
    out.push('"');
}

/// Says whether text is one string in quotes, from end to end.
fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return false;
    };
    let mut is_escaped = false;
    for byte in inner.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return false,
            _ => {}
        }
    }
    !is_escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::from("x");
        write(&mut out);
        out.split_off(1)
    }

    #[test]
    fn strings_are_bare_if_that_is_clear() {
        for (text, shown) in [
            ("apples", "apples"),
            ("/carts/7?x&y", "/carts/7?x&y"),
            ("äpfel", "äpfel"),
            ("", "\"\""),
            ("red apples", "\"red apples\""),
            ("a=b", "\"a=b\""),
            ("say \"hi\\\"", "\"say \\\"hi\\\\\\\"\""),
            ("a\nb", "\"a\\nb\""),
            ("\u{1b}[2J", "\"\\u{1b}[2J\""),
            ("}", "\"}\""),
            ("a\u{a0}b", "\"a\u{a0}b\""),
        ] {
            assert_eq!(written(|out| word(out, text)), shown);
        }
    }

    #[test]
    fn what_was_formatted_cannot_be_taken_for_another_field() {
        let format = TextFormat { colour: false };
        for (text, shown) in [
            ("[1, 2]", "[1, 2]"),
            ("Point { x: 1 }", "Point { x: 1 }"),
            ("\"a=b\"", "\"a=b\""),
            ("a admin=true", "\"a admin=true\""),
            ("\"x\" admin=true y=\"z\"", "\"\\\"x\\\" admin=true y=\\\"z\\\"\""),
            ("\"x=\\\"", "\"\\\"x=\\\\\\\"\""),
            ("\"", "\""),
            ("", "\"\""),
            ("a\nb", "a\\nb"),
        ] {
            assert_eq!(written(|out| format.formatted(out, text)), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_reaches_the_terminal_that_acts(text in "(\\PC|\\p{Cc}|\\p{Cf}|[\"\\\\= ]){0,20}") {
            let format = TextFormat { colour: false };
            for shown in [
                written(|out| word(out, &text)),
                written(|out| format.formatted(out, &text)),
                written(|out| format.message(out, &text)),
            ] {
                prop_assert!(!shown.contains(printable::acts), "{}", shown);
            }
            let shown = written(|out| word(out, &text));
            prop_assert!(is_quoted(&shown) || shown == text);
        }
    }
}
