//! Serves labels, help and examples that somebody chose to do harm, on a port that is free, and prints where:
//! `cargo run -p cortex-metrics --features tower,protobuf --example hostile`.
//!
//! Each text has its bytes beside it in hexadecimal digits, so that who reads it can tell whether it is what was meant.
#![expect(clippy::print_stdout, reason = "it tells where to ask")]

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;

use cortex_metrics::{
    Buckets, Counter, DynamicFamily, Gauge, Histogram, LabelValues, Registry, ScrapeService,
};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

const TEXTS: [&str; 20] = [
    "two\nlines",
    "a \"quoted\" word",
    "back\\slash",
    "not a line\\n",
    "no quote\\\"",
    "ends with a \\",
    "ends with \\\\",
    "\"} 1\nforged_total{x=\"",
    "a=\"b\",c=\"d\"} 2 # {e=\"f\"} 3",
    "one\n# EOF\nmore",
    "# HELP hostile_total two",
    "\u{e9}t\u{e9} \u{6f22}\u{5b57} \u{1f980}",
    "rtl \u{202e}txt, joined \u{200d}x",
    "separators \u{2028} and \u{2029} and \u{85}.",
    "tab\tand return\r.",
    "zero\0and\u{1}\u{1b}[31m\u{7f}.",
    "{}",
    ",",
    "NaN",
    "\u{feff}mark",
];

/// Returns the bytes of a text as it is shown.
fn hex(text: &str) -> String {
    let text = text.replace('\0', "\u{fffd}");
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a string takes everything
        hex
    })
}

fn hostile() -> Result<Registry, Box<dyn Error>> {
    let registry = Registry::default();
    let long = ["\n", "\"", "\\", "\u{e9}", "\u{1f980}", "x"].map(|text| text.repeat(300));
    let texts: Vec<&str> = TEXTS.into_iter().chain(long.iter().map(String::as_str)).collect();

    let counted = DynamicFamily::new(["text", "hex", "bytes"], Counter::default);
    for text in &texts {
        let kept = &text[..text.floor_char_boundary(LabelValues::MAX_BYTES)];
        // As much of it as fits.
        let shown = hex(kept);
        counted.with([text, &*shown, &*(shown.len() / 2).to_string()], Counter::inc);
    }
    registry.register("hostile", "Texts that labels have.", counted)?;
    let cases = Gauge::default();
    cases.set(i64::try_from(texts.len())?);
    registry.register("hostile_cases", "How many there are.", cases)?;

    let examples = DynamicFamily::new(["case"], || {
        Histogram::classic(&Buckets::new([1.0]).expect("invariant: one is finite"))
    });
    for (case, text) in TEXTS.into_iter().enumerate() {
        registry.register(&format!("help_{}", hex(text)), text, Gauge::default())?;
        // Python's parser takes each quote in an example for one that begins or ends a text.
        let quotes = text.matches('"').count();
        if quotes % 2 > 0 || quotes > 0 && text.contains('}') {
            continue;
        }
        let labels = [("text", text), ("hex", &*hex(text))];
        examples.with([&*case.to_string()], |histogram| {
            histogram.observe_with(0.5, &labels);
        });
    }
    registry.register("examples", "Texts that examples have.", examples)?;
    Ok(registry)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = ScrapeService::new(&hostile()?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?; // a pipe is not flushed by the end of a line
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
