use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use cortex_http::{ActionError, Admin, ControlState, Controllable, Controls, Limits};

use super::client::Ask;
use crate::support::Shop;

/// A breaker that can be forced open for a time.
#[derive(Default)]
struct Breaker(Mutex<Option<Duration>>);

impl Controllable for Breaker {
    fn state(&self) -> ControlState {
        match *self.0.lock().expect("no panic") {
            None => ControlState::new("closed").field("failures", 0_u32),
            Some(term) => ControlState::new("forced_open").expires_in(term),
        }
    }

    fn actions(&self) -> &'static [&'static str] {
        &["force_open", "reset", "explode", "break"]
    }

    fn act(&self, action: &str, expires_after: Option<Duration>) -> Result<(), ActionError> {
        let mut forced = self.0.lock().expect("no panic");
        match action {
            "force_open" if expires_after.is_some_and(|term| term > Duration::from_hours(1)) => {
                Err(ActionError::invalid("an hour at most"))
            }
            "force_open" => {
                *forced = Some(expires_after.unwrap_or(Duration::from_mins(10)));
                Ok(())
            }
            "reset" if forced.is_none() => Err(ActionError::not_applicable("nothing is forced")),
            "reset" => {
                *forced = None;
                Ok(())
            }
            "break" => Err(ActionError::failed("no contact")),
            _ => {
                drop(forced);
                panic!("seeded")
            }
        }
    }
}

/// A part whose state never comes, until the sender is dropped.
struct Stuck(Mutex<mpsc::Receiver<()>>);

impl Controllable for Stuck {
    fn state(&self) -> ControlState {
        let _ = self.0.lock().expect("no panic").recv();
        ControlState::new("free")
    }
}

struct Buggy;

impl Controllable for Buggy {
    fn state(&self) -> ControlState {
        panic!("seeded")
    }
}

async fn shop(controls: &Controls) -> (Shop, std::net::SocketAddr) {
    let admin = Admin::bind("127.0.0.1:0").controls(controls);
    let shop = Shop::with(Limits::new(), |server| server.admin(admin)).await;
    let addr = shop.running.admin_addr().expect("an admin port");
    (shop, addr)
}

#[tokio::test]
async fn parts_are_listed_shown_and_acted_on() {
    let controls = Controls::new();
    controls.register("breaker", "db", Breaker::default()).unwrap();
    let (shop, addr) = shop(&controls).await;
    controls.register("breaker", "cache", Breaker::default()).unwrap(); // while it runs
    let list = Ask::get("/controls").of(addr).await;
    let expected = |name: &str| {
        serde_json::json!({
            "kind": "breaker", "name": name, "state": "closed", "fields": {"failures": 0},
            "actions": ["force_open", "reset", "explode", "break"],
        })
    };
    assert_eq!(
        list.json()["controls"],
        serde_json::json!([expected("cache"), expected("db")])
    );
    let one = Ask::get("/controls/breaker/db");
    assert_eq!(one.of(addr).await.json(), expected("db"));

    let act = |action: &str| Ask::post(&format!("/controls/breaker/db/{action}"));
    act("reset")
        .of(addr)
        .await
        .assert_problem(409, "nothing is forced");
    let forced = act("force_open").json(r#"{"for_seconds": 90}"#).of(addr).await;
    assert_eq!(forced.status, 200, "{forced:?}");
    assert_eq!(forced.json()["state"], "forced_open");
    assert_eq!(forced.json()["expires_in_seconds"], 90);
    assert_eq!(one.of(addr).await.json()["state"], "forced_open");
    let default = act("force_open").of(addr).await.json();
    assert_eq!(default["expires_in_seconds"], 600, "the part's own default");
    act("force_open")
        .json(r#"{"for_seconds": 7200}"#)
        .of(addr)
        .await
        .assert_problem(400, "an hour");
    assert_eq!(act("reset").of(addr).await.json(), expected("db"));

    act("break").of(addr).await.assert_problem(500, "no contact");
    act("explode").of(addr).await.assert_problem(500, "panicked");
    act("detonate")
        .of(addr)
        .await
        .assert_problem(404, "`force_open` and `reset`");
    act("reset%0Ainjected")
        .of(addr)
        .await
        .assert_problem(404, "can only");
    for body in [
        "[]",
        r#"{"for_seconds":0}"#,
        r#"{"for_seconds":null}"#,
        r#"{"seconds":5}"#,
        "{",
    ] {
        let answer = act("force_open").json(body).of(addr).await;
        answer.assert_problem(400, "");
    }
    for path in ["/controls/breaker/nobody", "/controls/pool/db"] {
        Ask::get(path).of(addr).await.assert_problem(404, "no such part");
    }
    Ask::post("/controls/breaker/nobody/reset")
        .of(addr)
        .await
        .assert_problem(404, "no such part");
    assert_eq!(
        one.of(addr).await.json()["state"],
        "closed",
        "nothing of that did anything"
    );
    assert!(controls.remove("breaker", "db"));
    one.of(addr).await.assert_problem(404, "no such part");
    shop.close().await;
}

#[tokio::test]
async fn parts_that_hang_or_panic_harm_nobody_else() {
    let controls = Controls::new();
    let (release, released) = mpsc::channel();
    controls
        .register("pool", "a-stuck", Stuck(Mutex::new(released)))
        .unwrap();
    controls.register("pool", "buggy", Buggy).unwrap();
    controls
        .register("pool", "fine", Arc::new(Breaker::default()))
        .unwrap();
    let (shop, addr) = shop(&controls).await;
    // The first panic of a process takes longer, with a backtrace.
    let buggy = Ask::get("/controls/pool/buggy").of(addr).await;
    assert!(buggy.status == 500 || buggy.status == 504, "{buggy:?}");
    for round in 0..5 {
        let list = Ask::get("/controls").of(addr).await.json();
        let list = &list["controls"];
        let reason = if round == 0 {
            "it takes too long"
        } else {
            "have not come back"
        };
        assert!(
            list[0]["error"]
                .as_str()
                .is_some_and(|error| error.contains(reason)),
            "{round} {list}"
        );
        assert!(
            list[1]["error"]
                .as_str()
                .is_some_and(|error| error.contains("panicked")),
            "{list}"
        );
        assert_eq!(list[2]["state"], "closed", "{list}");
    }
    Ask::get("/controls/pool/buggy")
        .of(addr)
        .await
        .assert_problem(500, "panicked");
    assert_eq!(Ask::get("/livez").of(addr).await.status, 200);
    assert_eq!(Ask::get("/metrics").of(addr).await.status, 200);
    drop(release);
    let freed = Ask::get("/controls/pool/a-stuck").of(addr).await;
    assert_eq!(freed.json()["state"], "free");
    shop.close().await;
}

#[tokio::test]
async fn a_list_ends_when_its_time_is_used_up_and_skips_who_hangs_from_then_on() {
    let controls = Controls::new();
    let releases: Vec<_> = (0..6)
        .map(|index| {
            let (release, released) = mpsc::channel();
            let stuck = Stuck(Mutex::new(released));
            controls
                .register("pool", &format!("stuck-{index}"), stuck)
                .unwrap();
            release
        })
        .collect();
    controls.register("pool", "well", Breaker::default()).unwrap();
    let (shop, addr) = shop(&controls).await;
    let said = |list: &serde_json::Value, index: usize, reason: &str| {
        let error = list["controls"][index]["error"].as_str().unwrap_or_default();
        assert!(error.contains(reason), "{index} {reason}: {list}");
    };
    let first = Ask::get("/controls").of(addr).await.json();
    said(&first, 0, "takes too long");
    said(&first, 6, "took all the time");
    let second = Ask::get("/controls").of(addr).await.json();
    said(&second, 0, "have not come back");
    assert_eq!(second["controls"][6]["state"], "closed", "{second}");
    let acted = Ask::post("/controls/pool/well/force_open").of(addr).await;
    assert_eq!(acted.json()["state"], "forced_open", "{acted:?}");
    drop(releases);
    let freed = Ask::get("/controls/pool/stuck-0").of(addr).await;
    assert_eq!(freed.json()["state"], "free");
    let third = Ask::get("/controls").of(addr).await.json();
    assert_eq!(third["controls"][0]["state"], "free", "{third}");
    shop.close().await;
}
