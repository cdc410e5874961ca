//! W3C Baggage. Clauses are anchors of <https://www.w3.org/TR/baggage/>.

use cortex_trace::propagation::Baggage;

use super::service::{Continues, New, PARENT, Service, baggage, check, following, roomy, row};

//= https://www.w3.org/TR/baggage/#header-name
//= type=test
//# In order to increase interoperability across multiple protocols and encourage successful integration, implementations SHOULD keep the header name lowercase.
#[tokio::test]
async fn the_name_comes_in_any_case() {
    let clause = "baggage/#header-name";
    let named = |name: &str, sent: &str| {
        let line = format!("{name}: a=1");
        [
            row(clause, &[&line], New, "").baggage(sent),
            row(clause, &[PARENT, &line], Continues(1), "").baggage(sent),
        ]
    };
    let known = ["baggage", "Baggage", "BAGGAGE", "bAgGaGe"].map(|name| named(name, "a=1"));
    let unknown = ["bagg-age", "baggages", "x-baggage"].map(|name| named(name, ""));
    check(known.as_flattened()).await;
    check(unknown.as_flattened()).await;
}

//= https://www.w3.org/TR/baggage/#definition
//= type=test
//# list-member            =  key OWS "=" OWS value *( OWS ";" OWS property )
//= https://www.w3.org/TR/baggage/#definition
//= type=test
//# property               =  key OWS "=" OWS value
//= https://www.w3.org/TR/baggage/#definition
//= type=test
//# property               =/ key OWS
//= https://www.w3.org/TR/baggage/#value
//= type=test
//# Parsers MUST NOT assume that the equal sign is only used to separate key and value.
#[tokio::test]
async fn members_go_through_untouched() {
    let (definition, key, value) = ("baggage/#definition", "baggage/#key", "baggage/#value");
    let octets: String = ('!'..='~').filter(|c| !"\",;\\".contains(*c)).collect();
    let token = "!#$%&'*+-.^_`|~09azAZ";
    let rows = [
        (definition, "a=1"),
        (definition, "a=1,b=2"),
        (definition, "a=1;p;q=2;p,b=2;r=%20"),
        (definition, "a=1,a=2,b=3,a=1"),
        (key, "Key=1,key=2"),
        (key, &format!("{token}=1")),
        (value, "a="),
        (value, "a=b=c,d==,e===;f=="),
        (value, &format!("a={octets};p={octets}")),
        // As they were written, though others are usual: capitals, what needs no encoding, what is no text.
        (value, "a=%20%c3%a9%C3%A9%41,b=%ff%fe,c=%C3%28"),
        (value, "a=100%,b=%,c=%zz"),
    ];
    let rows = rows.map(|(clause, list)| baggage(clause, &[list], list));
    check(rows.as_flattened()).await;
}

//= https://www.w3.org/TR/baggage/#key
//= type=test
//# Leading and trailing whitespaces (OWS) are allowed and are not considered to be a part of the key.
//= https://www.w3.org/TR/baggage/#value
//= type=test
//# Leading and trailing whitespaces (OWS) are allowed and are not considered to be a part of the value.
#[tokio::test]
async fn white_space_inside_members_stays() {
    let (key, value) = ("baggage/#key", "baggage/#value");
    check(
        [
            baggage(key, &["a = 1"], "a = 1"),
            baggage(key, &["a\t=1,b =2"], "a\t=1,b =2"),
            baggage(value, &["a=  1 ; p = 2 ;\tq ,b=2"], "a=  1 ; p = 2 ;\tq,b=2"),
            // Around members it is no part of them.
            baggage(key, &[" \t a = 1 \t , \t b=2 \t "], "a = 1,b=2"),
        ]
        .as_flattened(),
    )
    .await;
}

#[tokio::test]
async fn lines_are_one_list() {
    let clause = "baggage/#header-content";
    check(
        [
            baggage(clause, &["a=1", "b=2"], "a=1,b=2"),
            baggage(clause, &["b=2,c=3", "a=1", "b=4"], "b=2,c=3,a=1,b=4"),
            baggage(clause, &["a=1", "", "b=2", " \t", ","], "a=1,b=2"),
            baggage(clause, &["a=1,,b=2,", ", ,\t,c=3"], "a=1,b=2,c=3"),
            baggage(clause, &[""], ""),
            baggage(clause, &["", ",", " , "], ""),
        ]
        .as_flattened(),
    )
    .await;
}

//= https://www.w3.org/TR/baggage/#mutating-baggage
//= type=test
//# For example, it MAY remove an offending list-member before propagating the rest of the baggage-string, or MAY decide to not propagate the baggage-string at all.
#[tokio::test]
async fn a_bad_member_goes_alone() {
    let clause = "baggage/#mutating-baggage";
    let mut rows = Vec::new();
    for bad in [
        &b"b"[..],
        b"=2",
        b" =2",
        b"b d=2",
        b"b(d)=2",
        b"b/d=2",
        b"\"b\"=2",
        b"b\\d=2",
        b"b=2 3",
        b"b=\"2\"",
        b"b=\"",
        b"b=2\\3",
        b"b=2;",
        b"b=2;;p",
        b"b=2;=3",
        b"b=2;p q",
        b"b=2;p=\"3\"",
        b"b=2;p=\\",
        b"b=\xff",
        b"\xff=2",
        b"b=2;\xff",
        b"b=2;p=\xff",
        b"b=\xc3\x28",
        b"b=\xc3",
        "b=é".as_bytes(),
        "é=2".as_bytes(),
    ] {
        rows.extend(baggage(clause, &[bad], ""));
        rows.extend(baggage(clause, &[[b"a=1,", bad, b",c=3"].concat()], "a=1,c=3"));
        rows.extend(baggage(clause, &[b"a=1", bad, b"c=3"], "a=1,c=3"));
    }
    check(&rows).await;
}

fn numbered(members: std::ops::Range<usize>) -> String {
    let members: Vec<_> = members.map(|n| format!("k{n}={n}")).collect();
    members.join(",")
}

/// Returns a member of so many bytes.
fn of_bytes(bytes: usize) -> String {
    format!("k={}", "v".repeat(bytes - 2))
}

//= https://www.w3.org/TR/baggage/#limits
//= type=test
//# Condition 1: The resulting baggage-string contains 64 list-members or less.
//= https://www.w3.org/TR/baggage/#limits
//= type=test
//# If there are multiple baggage headers, all limits apply to the combination of all baggage headers and not each header individually.
#[tokio::test]
async fn sixty_four_members_are_carried() {
    let clause = "baggage/#limits";
    let most = numbered(0..64);
    assert_eq!(most.split(',').count(), 64);
    let with_bad_ones = most.replace(',', ", bad ,,\t,");
    check(
        [
            baggage(clause, &[&most], &most),
            baggage(clause, &[numbered(0..65)], &most),
            baggage(clause, &[numbered(0..180)], &most),
            baggage(clause, &[&with_bad_ones], &most),
            baggage(clause, &[numbered(0..40), numbered(40..64)], &most),
            baggage(clause, &[numbered(0..40), numbered(40..80)], &most),
            baggage(clause, &[numbered(0..64), numbered(64..65)], &most),
            baggage(
                clause,
                &[numbered(0..1), numbered(1..99), numbered(99..180)],
                &most,
            ),
            baggage(clause, &["a=1"; 90], &["a=1"; 64].join(",")),
        ]
        .as_flattened(),
    )
    .await;
}

//= https://www.w3.org/TR/baggage/#limits
//= type=test
//# Condition 2: The resulting baggage-string is of size 8192 bytes or less.
//= https://www.w3.org/TR/baggage/#limits
//= type=test
//# If a platform cannot propagate all baggage, it MUST NOT propagate any partial list-members.
#[tokio::test]
async fn eight_kilobytes_are_carried_in_whole_members() {
    let clause = "baggage/#limits";
    let longest = of_bytes(8192);
    let (half, rest) = (of_bytes(4096), of_bytes(4095));
    let full = format!("{half},{rest}");
    assert_eq!((longest.len(), full.len()), (8192, 8192));
    let of_200 = |members: usize| vec![of_bytes(200); members].join(",");
    assert!(of_200(40).len() <= 8192 && of_200(41).len() > 8192);
    check(
        [
            baggage(clause, &[&longest], &longest),
            baggage(clause, &[of_bytes(8193)], ""),
            baggage(clause, &[format!("{},a=1", of_bytes(8193))], "a=1"),
            baggage(clause, &[format!("{longest},a=1")], &longest),
            baggage(clause, &[&full], &full),
            baggage(clause, &[&half, &rest], &full),
            baggage(clause, &[&half, &half], &half),
            baggage(clause, &[&half, "a=1", &half], &format!("{half},a=1")),
            baggage(clause, &[of_200(60)], &of_200(40)),
            baggage(clause, &[of_200(30), of_200(30)], &of_200(40)),
        ]
        .as_flattened(),
    )
    .await;
}

/// Nothing that a caller can put into this header takes long, is kept whole, or harms the next request.
#[tokio::test]
async fn hostile_baggage_is_cut() {
    const SIZE: usize = 64 << 10;
    let clause = "baggage/#limits";
    let many = |text: &str| text.repeat(SIZE / text.len());
    let pairs = ["a=1"; 64].join(",");
    check(
        [
            baggage(clause, &[many("a=1,")], &pairs),
            baggage(clause, &[numbered(0..6000)], &numbered(0..64)),
            baggage(clause, &[format!("a=1,{}", many("v"))], "a=1"),
            baggage(clause, &[format!("a=1,b={},c=3", many("v"))], "a=1,c=3"),
            baggage(clause, &[format!("a=1,b=2{}", many(";p"))], "a=1"),
            baggage(clause, &[format!("a=1,b=2{}", many(";"))], "a=1"),
            baggage(clause, &[format!("a=1,b={}", many("%ff"))], "a=1"),
            baggage(clause, &[format!("a=1,{},b=2", many("="))], "a=1,b=2"),
            baggage(clause, &[format!("{}a=1", many(","))], "a=1"),
            baggage(clause, &[format!("a=1,{}b=2", many(" \t,"))], "a=1,b=2"),
            baggage(clause, &[many("é,")], ""),
        ]
        .as_flattened(),
    )
    .await;
    check(&baggage(
        clause,
        &[[vec![0xff; SIZE], b",a=1".to_vec()].concat()],
        "a=1",
    ))
    .await;
    check(&baggage(clause, &vec![b"\xff,\"".repeat(300); 90], "")).await;
}

//= https://www.w3.org/TR/baggage/#baggage-string
//= type=test
//# The order of duplicate entries SHOULD be preserved when mutating the list.
//= https://www.w3.org/TR/baggage/#baggage-string
//= type=test
//# Producers SHOULD try to produce a baggage-string without any list-members which duplicate the key of another list member.
//= https://www.w3.org/TR/baggage/#value
//= type=test
//# Any code points outside of the baggage-octet range MUST be percent-encoded.
#[tokio::test]
async fn a_handler_changes_what_goes_on() {
    fn change(baggage: &mut Baggage) {
        baggage.remove("secret");
        baggage.set("user", "Amélie \"A\\B\", 50%;").unwrap();
    }
    let user = "user=Am%C3%A9lie%20%22A%5CB%22%2C%2050%25%3B";
    let clause = "baggage/#mutating-baggage";
    let service = Service::changing(following(), roomy(), change).await;
    let most = numbered(0..64);
    let (fewer, _) = most.rsplit_once(',').unwrap();
    service
        .check(
            [
                baggage(clause, &[""], user),
                baggage(clause, &["a=1"], &format!("a=1,{user}")),
                baggage(
                    clause,
                    &["a=1;p,user=x;old, a = 2 ;q", "user=y,a=3"],
                    &format!("a=1;p,{user},a = 2 ;q,a=3"),
                ),
                baggage(
                    clause,
                    &["secret=1,a=1,Secret=2", "secret=3;p,user=x"],
                    &format!("a=1,Secret=2,{user}"),
                ),
                baggage(clause, &["secret=1"], user),
                // What was set stays, and the last of the others goes.
                baggage(clause, &[&most], &format!("{fewer},{user}")),
                baggage(
                    clause,
                    &[format!("a=1,{}", of_bytes(8188))],
                    &format!("a=1,{user}"),
                ),
            ]
            .as_flattened(),
        )
        .await;
    service.close().await;

    let emptied = Service::changing(following(), roomy(), |baggage| *baggage = Baggage::EMPTY).await;
    emptied.check(&baggage(clause, &["a=1", "b=2"], "")).await;
    emptied.close().await;
}
