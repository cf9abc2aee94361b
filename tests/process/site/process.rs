//! The example site as a process.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    site::support::Visitor,
    support::{ServerProcess, example},
};

/// Returns an empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn command(folder: &Path, address: &str) -> Command {
    let mut command = Command::new(example("site"));
    command.env("ADDR", address).current_dir(folder);
    for name in [
        "APP_KEY",
        "SESSION_DRIVER",
        "SESSION_AGE",
        "SESSION_COOKIE",
        "SESSION_FILE_LOCATION",
    ] {
        command.env_remove(name);
    }
    command
}

fn start(folder: &Path) -> ServerProcess {
    ServerProcess::start(&mut command(folder, "127.0.0.1:0"))
}

#[tokio::test]
async fn a_cart_outlives_a_restart_with_no_configuration_at_all() {
    let folder = folder("site-restart");
    let site = start(&folder);
    let mut visitor = Visitor::with_address(site.address);
    visitor.send("/cart", "/cart/add/mint", &[]).await;
    let jar = visitor.remote.jar.clone();
    drop(visitor);
    site.signal("INT");
    let exit = tokio::task::spawn_blocking(move || site.wait())
        .await
        .unwrap();
    assert!(exit.status.success());
    assert_eq!(exit.stdout, "stopped\n");

    let site = start(&folder);
    let mut visitor = Visitor::with_address(site.address);
    visitor.remote.jar = jar;
    let cart = visitor.read("/cart").await;
    assert!(cart.contains(r#"<td id="count">1</td>"#), "{cart}");
}

#[test]
fn it_listens_to_this_machine_alone() {
    let output = command(&folder("site-refused"), "0.0.0.0:0")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("loopback"), "{stderr}");
}

#[test]
fn the_key_that_it_makes_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("site-key");
    drop(start(&folder));
    let key = std::fs::metadata(folder.join("tmp/site.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}
