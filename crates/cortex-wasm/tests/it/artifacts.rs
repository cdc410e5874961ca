//! Code that is kept, and loaded by the next host.

use crate::guests::{SHORT, build, get, run, wasm};
use cortex_wasm::{ArtifactCache, Deadline, Error, Origin, WasmHost};
use std::path::PathBuf;
use std::{env, fs, process};

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("cortex-wasm-{name}-{}", process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn what_is_loaded_has_its_start_function_and_keeps_its_deadline() {
    let folder = Folder::new("loaded");
    let wasm = wasm(
        r#"(module (global $n (mut i32) (i32.const 1)) (func $start (global.set $n (i32.const 5)))
            (func (export "n") (result i32) (global.get $n))
            (func (export "spin") (loop (br 0))) (start $start))"#,
    );
    let deadlines = [
        Deadline::Wall(SHORT),
        Deadline::Fuel(10_000),
        Deadline::Wall(SHORT * 2),
    ];
    // Fuel takes other code than the clock does, and how much of either there is takes none.
    for (deadline, origin) in
        deadlines
            .into_iter()
            .zip([Origin::Compiler, Origin::Compiler, Origin::Artifact])
    {
        for origin in [origin, Origin::Artifact] {
            let cache = ArtifactCache::new(&folder.0, [3; 32]);
            let host = build(WasmHost::builder().deadline(deadline).artifacts(cache));
            let module = host.compile("guest", &wasm).unwrap();
            assert_eq!(module.origin(), origin, "{deadline}");
            let mut guest = host.instantiate(&module).unwrap();
            assert_eq!(get(&mut guest, "n").unwrap(), 5);
            assert!(matches!(run(&mut guest, "spin"), Err(Error::Timeout { .. })));
            guest.reset().unwrap();
            assert_eq!(get(&mut guest, "n").unwrap(), 5);
        }
    }
}
