use crate::checks::first;
use cortex_health::Status;
use cortex_health::checks::{self, Disk};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Names the folder of the file system to the test that runs in the namespace.
const FOLDER: &str = "CORTEX_HEALTH_TEST_TMPFS";

/// Set where a namespace must be there, so that the test of a full disk is not skipped.
const REQUIRED: &str = "CORTEX_REQUIRE_NAMESPACES";

#[test]
fn a_file_system_with_room_is_up() {
    let path = env::temp_dir();
    let disk = Disk::new(&path).free_percent(1, 0).free_inodes_percent(0, 0);
    let found = first(checks::disk("disk", disk.clone()));
    assert_eq!(found.status(), Status::Up, "{found:?}");
    let found = first(checks::disk("disk", disk.free_bytes(u64::MAX, 0)));
    assert_eq!(found.status(), Status::Degraded);
    let message = found.message().unwrap();
    assert!(
        message.starts_with(&format!("{} has ", path.display())),
        "{message}"
    );
}

/// Runs the test below in a namespace of its own, where a small file system can be mounted without being root.
#[test]
#[cfg(target_os = "linux")]
fn a_full_file_system_is_down() {
    let folder = env::temp_dir().join(format!("cortex-health-tmpfs-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mount = "mount -t tmpfs -o size=1M,nr_inodes=64 none \"$0\"";
    let unshare = |script: String| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        command.arg(&folder);
        command
    };
    // Not every kernel lets everyone do this. Then the limits are tested with numbers alone, beside the code, and this
    // says so to whoever runs it; who sets the variable wants a failure.
    let refused = match unshare(mount.to_owned()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = refused {
        assert!(env::var_os(REQUIRED).is_none(), "there is no namespace: {why}");
        // Not by the macro: the output of a test that passes is not shown.
        let mut said = std::io::stderr().lock();
        writeln!(
            said,
            "SKIPPED disk::a_full_file_system_is_down: no namespace of its own ({why})"
        )
        .unwrap();
    } else {
        let this = env::current_exe().unwrap();
        let output = unshare(format!(
            "{mount} && exec \"$1\" --exact disk::in_the_namespace --ignored"
        ))
        .arg(this)
        .env(FOLDER, &folder)
        .output()
        .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    }
    let _ = fs::remove_dir(&folder);
}

#[test]
#[ignore = "needs a full disk: run in CI by `cargo test -p cortex-health --features disk --test it disk::a_full`"]
fn in_the_namespace() {
    let folder = env::var_os(FOLDER).unwrap();
    let folder = Path::new(&folder);
    let status = || first(checks::disk("disk", folder.to_path_buf())).status();
    assert_eq!(status(), Status::Up);

    for number in 0..61 {
        fs::write(folder.join(number.to_string()), "").unwrap();
    }
    assert_eq!(status(), Status::Degraded, "2 of 64 inodes are free");
    fs::write(folder.join("last"), "").unwrap();
    assert_eq!(status(), Status::Down, "1 of 64 inodes is free");
    fs::remove_file(folder.join("last")).unwrap();
    for number in 0..60 {
        fs::remove_file(folder.join(number.to_string())).unwrap();
    }
    assert_eq!(status(), Status::Up);

    let fill = |bytes: usize| fs::write(folder.join("data"), vec![0; bytes]);
    fill(900 << 10).unwrap();
    assert_eq!(status(), Status::Degraded);
    fill(2 << 20).unwrap_err(); // no space left: what fits is there
    assert_eq!(status(), Status::Down);
}
