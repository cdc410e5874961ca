//! Negotiation: the rules of RFC 9110, section 12.5.3, and a naive implementation to compare with.

use cortex_compress::{Coding, Negotiated, negotiate};
use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use proptest::prelude::*;

const GZIP: Negotiated = Negotiated::Encode(Coding::Gzip);
const BR: Negotiated = Negotiated::Encode(Coding::Br);
const DEFLATE: Negotiated = Negotiated::Encode(Coding::Deflate);
const ZSTD: Negotiated = Negotiated::Encode(Coding::Zstd);
const IDENTITY: Negotiated = Negotiated::Identity;
const REFUSED: Negotiated = Negotiated::NotAcceptable;

fn headers<'a>(lines: impl IntoIterator<Item = &'a str>) -> HeaderMap {
    let lines = lines.into_iter();
    lines
        .map(|line| (ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap()))
        .collect()
}

/// Checks one line each, with zstd, br, gzip, deflate on offer.
fn check(cases: &[(&str, Negotiated)]) {
    for &(line, expected) in cases {
        assert_eq!(negotiate(&headers([line]), Coding::ALL), expected, "{line:?}");
    }
}

#[test]
fn n1_without_the_field_the_identity_is_sent() {
    assert_eq!(negotiate(&HeaderMap::new(), Coding::ALL), IDENTITY);
}

#[test]
fn n2_an_empty_field_asks_for_the_identity() {
    check(&[
        ("", IDENTITY),
        (" ", IDENTITY),
        (",", IDENTITY),
        (" , ,\t,", IDENTITY),
    ]);
}

#[test]
fn n3_all_lines_form_one_list_and_case_and_space_do_not_matter() {
    assert_eq!(negotiate(&headers(["gzip;q=0.5", "br"]), Coding::ALL), BR);
    assert_eq!(
        negotiate(&headers(["gzip", "gzip;q=0", "br;q=0.1"]), Coding::ALL),
        BR
    );
    assert_eq!(negotiate(&headers(["", "gzip"]), Coding::ALL), GZIP);
    check(&[
        ("GZIP", GZIP),
        ("gZiP;Q=0.3", GZIP),
        (",, gzip ,,", GZIP),
        ("gzip\t;\tq=0.5 , br ; q=0.4", GZIP),
        ("x-gzip", GZIP),
        ("X-GZIP;q=0.1", GZIP),
        ("x-gzip;q=0, gzip", IDENTITY),
        ("x-br", IDENTITY),
        ("compress, x-compress, x-deflate, snappy", IDENTITY),
        ("Deflate", DEFLATE),
        ("deflate, gzip", GZIP),
        ("deflate, gzip;q=0.9", DEFLATE),
    ]);
}

#[test]
fn n4_a_malformed_element_is_dropped_alone() {
    for weight in [
        ".5", "2", "0.1234", "1.5", "1.001", "-1", "", "0,5", "a", "0.a", "00", "1.0000", " 0.5", "0.5;x=1",
        "\"1\"", "+1",
    ] {
        let line = format!("br;q={weight}, gzip;q=0.1");
        assert_eq!(negotiate(&headers([line.as_str()]), Coding::ALL), GZIP, "{line}");
    }
    for element in [
        "br;",
        "br;level=1",
        "br;q",
        "br;q=",
        "br; q =1",
        "br;level=1;q=1",
        "b r",
        "br=1",
        "br gzip",
    ] {
        let line = format!("{element}, gzip;q=0.1");
        assert_eq!(negotiate(&headers([line.as_str()]), Coding::ALL), GZIP, "{line}");
    }
    check(&[
        ("br;q=0.5, gzip;q=0.50, zstd;q=0.501", ZSTD),
        ("br;q=1., gzip;q=0.9", BR),
        ("br;q=0., gzip;q=0.001", GZIP),
        ("br;q=1.000, gzip;q=0.999", BR),
    ]);
}

#[test]
fn n5_zero_refuses_and_of_duplicates_a_refusal_wins_else_the_highest() {
    check(&[
        ("gzip;q=0", IDENTITY),
        ("gzip;q=0.000", IDENTITY),
        ("gzip, gzip;q=0", IDENTITY),
        ("gzip;q=0, gzip", IDENTITY),
        ("gzip;q=0, gzip, gzip;q=0.5", IDENTITY),
        ("gzip;q=0.2, br;q=0.5, gzip;q=0.9", GZIP),
        ("gzip;q=0.9, br;q=0.5, gzip;q=0.2", GZIP),
    ]);
}

#[test]
fn n6_the_star_covers_what_is_not_named() {
    check(&[
        ("*", ZSTD),
        ("*;q=0.1", ZSTD),
        ("zstd;q=0, *", BR),
        ("zstd;q=0, br;q=0, *;q=0.2", GZIP),
        ("zstd;q=0, br;q=0, x-gzip;q=0, *;q=0.2", DEFLATE),
        ("gzip;q=0.5, *;q=0.1", GZIP),
        ("gzip, *;q=0", GZIP),
        ("*;q=0, *", REFUSED),
    ]);
}

#[test]
fn n7_the_highest_weight_wins_then_the_order_of_the_server() {
    check(&[
        ("gzip, br, zstd", ZSTD),
        ("gzip, br", BR),
        ("gzip;q=0.9, br;q=0.8, zstd;q=0.7", GZIP),
        ("identity;q=1, gzip;q=0.5", IDENTITY),
        ("identity, gzip", GZIP),
        ("identity;q=0.5, gzip;q=0.5", GZIP),
        ("identity;q=0.6, *;q=0.5", IDENTITY),
        ("identity;q=0.001", IDENTITY),
    ]);
    let all = headers(["gzip, br, zstd"]);
    assert_eq!(negotiate(&all, &[Coding::Gzip, Coding::Zstd]), GZIP);
    assert_eq!(negotiate(&all, &[Coding::Br, Coding::Zstd]), BR);
}

#[test]
fn n8_and_n9_the_identity_is_refused_by_name_or_by_the_star() {
    check(&[
        ("identity;q=0", REFUSED),
        ("*;q=0", REFUSED),
        ("compress, identity;q=0", REFUSED),
        ("*;q=0, identity", IDENTITY),
        ("*;q=0, identity;q=0.1", IDENTITY),
        ("identity;q=0, gzip;q=0.1", GZIP),
        ("identity;q=0, *", ZSTD),
        ("gzip;q=0, *;q=0, identity;q=0", REFUSED),
    ]);
    assert_eq!(negotiate(&headers(["gzip"]), &[]), IDENTITY);
    assert_eq!(negotiate(&headers(["gzip, identity;q=0"]), &[]), REFUSED);
}

/// What 64 KiB of a head can hold, and what is found in it.
pub(crate) fn garbage() -> Vec<(&'static str, HeaderMap, Negotiated)> {
    const SIZE: usize = 64 << 10;
    let filled = |member: &str, last: &str| {
        let line = member.repeat(SIZE / member.len()) + last;
        headers([line.as_str()])
    };
    let lines = |member: &str, last: &str| {
        let many = std::iter::repeat_n(member, SIZE / 32);
        headers(many.chain([last]))
    };
    vec![
        ("unknown codings", filled("a,", "br"), BR),
        ("bad weights", filled("gzip;q=1.5,", "br;q=0.1"), BR),
        ("long weights", filled("gzip;q=0.00000000001,", "br;q=0.1"), BR),
        ("empty members", filled(",", "br"), BR),
        ("blanks", filled(" \t", ",br"), BR),
        ("one long name", filled("x", ",br"), BR),
        ("one long parameter", filled(";q=1", ",br"), BR),
        ("a quote without end", filled("\"a,", "br"), BR),
        ("the same again", filled("gzip;q=0.2,", "br;q=0.1"), GZIP),
        ("refused at last", filled("gzip,", "gzip;q=0"), IDENTITY),
        ("all refused at last", filled("gzip,", "gzip;q=0,*;q=0"), REFUSED),
        ("stars", filled("*;q=0.1,", "gzip"), GZIP),
        ("thousands of lines", lines("gzip;q=0.001", "br"), BR),
        ("thousands of empty lines", lines("", "zstd"), ZSTD),
    ]
}

#[test]
fn garbage_is_read_to_its_end_and_hides_nothing() {
    for (what, headers, expected) in garbage() {
        assert_eq!(negotiate(&headers, Coding::ALL), expected, "{what}");
    }
    // A stray quote is a part of one member only: the field has no quoted strings.
    check(&[
        ("a\"b, gzip", GZIP),
        ("\", gzip", GZIP),
        ("br;q=\"1, gzip;q=0.1", GZIP),
        ("br;q=\"1,gzip\"", IDENTITY),
    ]);
    let bytes = HeaderValue::from_bytes(b"\xff\xfe, br;q=\xb1, gzip").unwrap();
    assert_eq!(
        negotiate(&HeaderMap::from_iter([(ACCEPT_ENCODING, bytes)]), Coding::ALL),
        GZIP
    );
}

#[derive(Clone, Debug)]
struct Element {
    name: &'static str,
    /// As it is written, and in thousandths unless it is malformed.
    weight: Option<(String, Option<u32>)>,
}

fn element() -> impl Strategy<Value = Element> {
    let name = prop::sample::select(vec![
        "gzip", "br", "zstd", "identity", "*", "x-gzip", "GZip", "deflate", "Identity", "compress",
    ]);
    let weight = prop_oneof![
        (0..=1000_u32).prop_map(|q| {
            let text = if q == 1000 {
                "1.000".into()
            } else {
                format!("0.{q:03}")
            };
            (text, Some(q))
        }),
        prop::sample::select(vec![
            ("0", Some(0)),
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("0.", Some(0)),
            ("1.", Some(1000)),
            (".5", None),
            ("2", None),
            ("1.1", None),
            ("0.0001", None),
            ("x", None),
        ])
        .prop_map(|(text, q)| (text.to_owned(), q)),
    ];
    (name, prop::option::of(weight)).prop_map(|(name, weight)| Element { name, weight })
}

/// The rules once more, by brute force over the parsed list.
fn oracle(elements: &[Element], offers: &[Coding]) -> Negotiated {
    let weight_of = |name: &str| -> Option<u32> {
        let mentions: Vec<u32> = elements
            .iter()
            .filter(|element| {
                let canonical = element.name.to_lowercase().replace("x-gzip", "gzip");
                canonical == name
            })
            .filter_map(|element| match &element.weight {
                None => Some(1000),
                Some((_, q)) => *q,
            })
            .collect();
        if mentions.contains(&0) {
            Some(0)
        } else {
            mentions.into_iter().max()
        }
    };
    let acceptable: Vec<(Coding, u32)> = offers
        .iter()
        .map(|&offer| {
            (
                offer,
                weight_of(offer.as_str()).or_else(|| weight_of("*")).unwrap_or(0),
            )
        })
        .filter(|&(_, weight)| weight > 0)
        .collect();
    let highest = acceptable.iter().map(|&(_, weight)| weight).max();
    let identity = weight_of("identity");
    match highest {
        Some(highest) if identity.is_some_and(|identity| identity > highest) => Negotiated::Identity,
        Some(highest) => {
            let first = acceptable.iter().find(|&&(_, weight)| weight == highest).unwrap();
            Negotiated::Encode(first.0)
        }
        None if identity == Some(0) || (identity.is_none() && weight_of("*") == Some(0)) => {
            Negotiated::NotAcceptable
        }
        None => Negotiated::Identity,
    }
}

proptest! {
    #[test]
    fn negotiation_agrees_with_the_oracle(
        elements in prop::collection::vec(element(), 0..7),
        lines in 1..4_usize,
        separator in prop::sample::select(vec![",", ", ", " ,\t", ",,"]),
        offers in prop::sample::subsequence(Coding::ALL, 0..=Coding::ALL.len()).prop_shuffle(),
    ) {
        let written: Vec<String> = elements
            .iter()
            .map(|Element { name, weight }| match weight {
                None => (*name).to_owned(),
                Some((weight, _)) => format!("{name};q={weight}"),
            })
            .collect();
        let per_line = written.len().div_ceil(lines).max(1);
        let joined: Vec<String> = written.chunks(per_line).map(|line| line.join(separator)).collect();
        let headers = headers(joined.iter().map(String::as_str));
        prop_assert_eq!(negotiate(&headers, &offers), oracle(&elements, &offers), "{:?}", joined);
    }

    #[test]
    fn negotiation_takes_any_bytes(lines in prop::collection::vec(prop::collection::vec(32..=255_u8, 0..40), 0..4)) {
        let headers: HeaderMap = lines
            .iter()
            .filter_map(|line| Some((ACCEPT_ENCODING, HeaderValue::from_bytes(line).ok()?)))
            .collect();
        if let Negotiated::Encode(coding) = negotiate(&headers, Coding::ALL) {
            prop_assert!(Coding::ALL.contains(&coding));
        }
    }
}
