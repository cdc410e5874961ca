//! Who pays for the memory of guests.

use crate::guests::{build, get, host, module};
use cortex_wasm::{Error, Resource, WasmHost};

const PAGE: u64 = 1 << 16;

const GROWING: &str = r#"(module (memory 1)
    (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#;

#[test]
fn a_tenant_cannot_take_more_with_a_second_instance() {
    let host = host();
    let module = module(&host, GROWING);
    let (tenant, other) = (host.tenant(3 * PAGE), host.tenant(3 * PAGE));
    let mut one = host.instantiate_for(&module, &tenant).unwrap();
    let mut two = host.instantiate_for(&module, &tenant).unwrap();
    assert_eq!(get(&mut one, "grow").unwrap(), 1);
    assert_eq!(get(&mut two, "grow").unwrap(), u32::MAX);
    let mut third = host.instantiate_for(&module, &other).unwrap();
    assert_eq!(get(&mut third, "grow").unwrap(), 1);
    assert_eq!(
        (tenant.live_bytes(), tenant.refused(), other.refused()),
        (3 * PAGE, 1, 0)
    );
    one.reset().unwrap();
    assert_eq!(tenant.live_bytes(), 2 * PAGE);
    assert_eq!(get(&mut two, "grow").unwrap(), 1);
    drop((one, two, third));
    assert_eq!(
        (tenant.live_bytes(), tenant.high_water_bytes(), host.live_bytes()),
        (0, 3 * PAGE, 0)
    );
}

#[test]
fn the_host_bounds_all_tenants() {
    let host = build(WasmHost::builder().max_bytes(2 * PAGE));
    let module = module(&host, GROWING);
    let tenant = host.tenant(u64::MAX);
    let mut one = host.instantiate_for(&module, &tenant).unwrap();
    let two = host.instantiate(&module).unwrap();
    assert_eq!(get(&mut one, "grow").unwrap(), u32::MAX);
    let error = host.instantiate(&module).unwrap_err();
    assert!(matches!(error, Error::Quota { what: Resource::Bytes, limit, .. } if limit == 2 * PAGE));
    drop(two);
    assert_eq!(get(&mut one, "grow").unwrap(), 1);
}

#[test]
fn an_instance_that_waits_is_charged_to_no_tenant() {
    let host = host();
    let module = module(&host, GROWING);
    let (rich, poor) = (host.tenant(8 * PAGE), host.tenant(PAGE / 2));
    let mut local = host.local();
    let used = local.run(&module, &rich, |guest| {
        get(guest, "grow").map(|_| rich.live_bytes())
    });
    assert_eq!(used.unwrap().unwrap(), 2 * PAGE);
    assert_eq!((local.idle(), rich.live_bytes(), host.live_bytes()), (1, 0, PAGE));
    // The same instance is more than this one may have.
    let refused = local.run(&module, &poor, |_| ());
    assert!(
        matches!(
            refused,
            Err(Error::Quota {
                what: Resource::Bytes,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!((poor.live_bytes(), poor.refused()), (0, 1));
    assert_eq!(local.idle(), 1, "it is left for those who may have it");
}

#[test]
fn what_waits_makes_way_when_the_host_has_no_more() {
    let host = build(WasmHost::builder().max_bytes(2 * PAGE));
    let modules = [
        module(&host, GROWING),
        module(&host, GROWING),
        module(&host, GROWING),
    ];
    let tenant = host.tenant(u64::MAX);
    let mut local = host.local();
    for module in &modules {
        local
            .run(module, &tenant, |guest| assert_eq!(guest.memory_len(), PAGE))
            .unwrap();
    }
    assert_eq!((local.idle(), host.live_bytes()), (2, 2 * PAGE));
}
