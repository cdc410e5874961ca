use super::service::{PARENT, Service, following};

/// W3C Baggage through the same service: the members of all lines, untouched, in one header.
#[tokio::test]
async fn baggage_goes_through() {
    let numbered = |members: usize| {
        (0..members)
            .map(|n| format!("k{n}={n}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let (all, too_many) = (numbered(64), numbered(180));
    let service = Service::open(following()).await;
    for (clause, lines, expected) in [
        ("baggage/#header-name", vec!["Baggage: a=1"], "a=1"),
        ("baggage/#header-content", vec!["baggage: a=1,b=2"], "a=1,b=2"),
        (
            "baggage/#header-content",
            vec!["baggage: a=1", "baggage: b=2"],
            "a=1,b=2",
        ),
        (
            "baggage/#header-content",
            vec!["baggage: a=1;p;q=2,b=%20%C3%A9"],
            "a=1;p;q=2,b=%20%C3%A9",
        ),
        ("baggage/#value", vec!["baggage: a=b=c"], "a=b=c"),
        ("baggage/#value", vec!["baggage: a="], "a="),
        ("baggage/#key", vec!["baggage: Key=1,key=2"], "Key=1,key=2"),
        ("baggage/#key", vec!["baggage: a=1,b d=2,c=3"], "a=1,c=3"),
        ("baggage/#header-content", vec!["baggage: a=1,a=2"], "a=1,a=2"),
        ("baggage/#header-content", vec!["baggage:"], ""),
        ("baggage/#limits", vec![&*format!("baggage: {all}")], &*all),
    ] {
        let sent = service.sent(&lines).await;
        assert_eq!(sent.value("baggage").unwrap_or_default(), expected, "{clause}");
        // Independent of whether there is a trace.
        let with_trace = service.sent(&[&[PARENT], &lines[..]].concat()).await;
        assert_eq!(with_trace.value("baggage"), sent.value("baggage"), "{clause}");
    }
    let sent = service.sent(&[format!("baggage: {too_many}")]).await;
    let kept = sent.value("baggage").unwrap_or_default();
    let cut_between_members = too_many
        .strip_prefix(kept)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(','));
    assert!(
        kept.len() >= all.len() && cut_between_members,
        "baggage/#limits: {kept}"
    );
    service.close().await;
}
