//! The example site as a process.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::{site::support::Visitor, support::example};

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

struct Site {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: std::net::SocketAddr,
}

impl Site {
    fn start(folder: &Path) -> Self {
        let mut child = command(folder, "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let address = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on http://")?.parse().ok());
        Self {
            child,
            stdout,
            address: address.unwrap(),
        }
    }

    /// Stops the site as Ctrl-C does, and returns the rest of its output.
    fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.unwrap().success());
        for _ in 0..600 {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success());
                let mut output = String::new();
                self.stdout.read_to_string(&mut output).unwrap();
                return output;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the site does not stop");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_cart_outlives_a_restart_with_no_configuration_at_all() {
    let folder = folder("site-restart");
    let site = Site::start(&folder);
    let mut visitor = Visitor::with_address(site.address);
    visitor.send("/cart", "/cart/add/mint", &[]).await;
    let jar = visitor.remote.jar.clone();
    drop(visitor);
    let output = tokio::task::spawn_blocking(move || site.stop()).await;
    assert_eq!(output.unwrap(), "stopped\n");

    let site = Site::start(&folder);
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
    drop(Site::start(&folder));
    let key = std::fs::metadata(folder.join("tmp/site.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}
