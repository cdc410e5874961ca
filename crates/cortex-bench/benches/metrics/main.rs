//! What counting costs, and a scrape, beside the libraries that do the same.
//!
//! Every operation is measured on one thread and, in the groups that end in `-2t`, on two threads that hammer the same
//! metric: nanoseconds per operation of one thread. Each library is used in the fastest way that it documents, with
//! handles where it has them, and what it needs (label sets, numbers as strings) is made beforehand; in the end it must
//! have counted every operation. What it puts off until a scrape is not part of its time.

mod bench;
mod counter;
mod encode;
mod family;
mod family_dynamic;
mod family_enum;
mod histogram;
mod labels;
mod peers;

use std::error::Error;

use criterion::Criterion;

use crate::bench::Bench;
use crate::peers::Macros;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let macros = Macros::install()?;
    counter::measure(&mut Bench::new(&mut criterion, "counter"), &macros)?;
    family_enum::measure(&mut Bench::new(&mut criterion, "enum-family"))?;
    family::measure(&mut Bench::new(&mut criterion, "family"), &macros)?;
    family_dynamic::measure(&mut Bench::new(&mut criterion, "family-dynamic"), &macros)?;
    histogram::classic(&mut Bench::new(&mut criterion, "histogram"), &macros)?;
    histogram::native(&mut Bench::new(&mut criterion, "native-histogram"))?;
    encode::text(&mut criterion, "encode-10k", 10_000)?;
    encode::text(&mut criterion, "encode-100k", 100_000)?;
    encode::protobuf(&mut criterion, "encode-protobuf-10k", 10_000)?;
    criterion.final_summary();
    Ok(())
}
