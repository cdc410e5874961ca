use std::time::Duration;

use cortex_http::{Admin, Limits};
use cortex_trace::Filter;

use super::client::Ask;
use crate::support::Shop;

async fn shop(filter: &Filter) -> (Shop, std::net::SocketAddr) {
    let admin = Admin::bind("127.0.0.1:0").log_filter(filter);
    let shop = Shop::with(Limits::new(), |server| server.admin(admin)).await;
    let addr = shop.running.admin_addr().expect("an admin port");
    (shop, addr)
}

#[tokio::test]
async fn a_filter_is_shown_set_for_a_time_and_refused_with_a_reason() {
    let filter = Filter::new("info").unwrap();
    let (shop, addr) = shop(&filter).await;
    let (get, post) = (Ask::get("/loglevel"), |body: &str| {
        Ask::post("/loglevel").json(body)
    });
    assert_eq!(get.of(addr).await.json(), serde_json::json!({"filter": "info"}));

    let set = post(r#"{"filter": "warn,shop=debug", "for_seconds": 3600}"#)
        .of(addr)
        .await;
    let json = set.json();
    assert_eq!((set.status, &json["reverts_to"]), (200, &"info".into()), "{json}");
    assert!(
        json["reverts_in_seconds"]
            .as_u64()
            .is_some_and(|left| (3590..=3600).contains(&left))
    );
    assert_eq!(filter.to_string(), json["filter"].as_str().unwrap());
    assert!(filter.to_string().contains("shop=debug"));

    // Another one before the end of the first: what comes after is what was before both.
    let set = post(r#"{"filter": "trace"}"#).of(addr).await.json();
    assert_eq!(set["reverts_to"], "info");
    assert!(
        set["reverts_in_seconds"]
            .as_u64()
            .is_some_and(|left| (590..=600).contains(&left))
    );

    let long = format!(r#"{{"filter":"{}"}}"#, "a".repeat(5000));
    for (body, said) in [
        (r#"{"filter":"info,shop=loud"}"#, "\"shop=loud\" is wrong: "),
        (r#"{"filter":7}"#, "`filter` has to be"),
        ("{}", "`filter` has to be"),
        (r#"{"filter":"info","for_seconds":-1}"#, "`for_seconds` has to be"),
        (r#"{"filter":"info","forever":true}"#, "no `forever`"),
        ("info", "no such JSON"),
        (&long, "4096 bytes"),
    ] {
        post(body).of(addr).await.assert_problem(400, said);
    }
    assert_eq!(filter.to_string(), "trace");
    let set = post(r#"{"filter": "error", "for_seconds": null}"#)
        .of(addr)
        .await
        .json();
    assert_eq!(set, serde_json::json!({"filter": "error"}), "for good");
    shop.close().await;
    assert_eq!(filter.to_string(), "error");
}

#[tokio::test]
async fn it_reverts_by_itself_and_when_the_port_closes() {
    let filter = Filter::new("info").unwrap();
    let (shop, addr) = shop(&filter).await;
    let set = Ask::post("/loglevel").json(r#"{"filter": "debug", "for_seconds": 1}"#);
    assert_eq!(set.of(addr).await.status, 200);
    let reverted = async {
        while Ask::get("/loglevel").of(addr).await.json() != serde_json::json!({"filter": "info"}) {}
    };
    tokio::time::timeout(Duration::from_secs(20), reverted)
        .await
        .expect("it reverts");
    assert_eq!(filter.to_string(), "info");

    let set = Ask::post("/loglevel").json(r#"{"filter": "debug", "for_seconds": 3600}"#);
    assert_eq!(set.of(addr).await.status, 200);
    shop.close().await;
    let reverted = async {
        while filter.to_string() != "info" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reverted)
        .await
        .expect("it reverts");
}
