//! Programs that tests start.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread::{JoinHandle, spawn},
    time::Duration,
};

use super::secrets;

/// Returns the path of an example program, which cargo builds beside the test programs.
///
/// # Panics
/// If it has not been built. `cargo test` with `--tests` or `--test` does not build examples.
pub fn example(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let folder = program.ancestors().nth(2).unwrap();
    let example = folder.join("examples").join(name);
    assert!(
        example.is_file(),
        "{} is missing; build it with `cargo build --example {name}` and the features of this test",
        example.display()
    );
    example
}

/// A running program that prints `listening on http://ADDRESS`. Killed when dropped.
///
/// It runs with `RUST_LOG=trace`, if the test sets no other level. When it has ended, its output is searched for the
/// [secrets](super::secrets) of its clients.
pub struct ServerProcess {
    child: Child,
    pub address: SocketAddr,
    /// What it printed before it listened.
    pub head: String,
    app_key: Option<String>,
    /// Read all that the program prints, so that it never waits for a reader.
    readers: Option<[JoinHandle<String>; 2]>,
}

/// The end of a program.
pub struct Exit {
    pub status: ExitStatus,
    /// The output after the line with the address.
    pub stdout: String,
    pub stderr: String,
}

impl ServerProcess {
    /// Starts a program and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(command: &mut Command) -> Self {
        if command.get_envs().all(|(name, _)| name != "RUST_LOG") {
            command.env("RUST_LOG", "trace");
        }
        let secret = |name| {
            let variable = command.get_envs().find(|(other, _)| *other == name)?;
            Some(variable.1?.to_str()?.to_owned())
        };
        let [app_key, token] = secrets::VARIABLES.map(secret);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let stderr = spawn(move || read(&mut stderr));
        let mut head = String::new();
        let address = loop {
            let start = head.len();
            if stdout.read_line(&mut head).unwrap() == 0 {
                let _ = child.wait();
                panic!(
                    "the program does not listen: {head}{}",
                    stderr.join().unwrap()
                );
            }
            let line = head[start..].trim_end();
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.parse().unwrap();
            }
        };
        for secret in app_key.iter().chain(&token) {
            secrets::record(address, secret);
        }
        Self {
            child,
            address,
            head,
            app_key,
            readers: Some([spawn(move || read(&mut stdout)), stderr]),
        }
    }

    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits until the program has exited.
    ///
    /// # Panics
    /// If it does not exit, or has printed a secret.
    pub fn wait(mut self) -> Exit {
        for _ in 0..1200 {
            if let Some(status) = self.child.try_wait().unwrap() {
                let [stdout, stderr] = self.check_output().unwrap();
                return Exit {
                    status,
                    stdout,
                    stderr,
                };
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the program does not exit");
    }

    /// Returns all output of a program that has ended, unless a former call did.
    fn check_output(&mut self) -> Option<[String; 2]> {
        let output = self.readers.take()?.map(|reader| reader.join().unwrap());
        for text in output.iter().chain([&self.head]) {
            secrets::check(self.address, self.app_key.as_deref(), text);
        }
        Some(output)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A second panic would abort the test program.
        if !std::thread::panicking() {
            self.check_output();
        }
    }
}

/// Reads to the end.
fn read(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the full name of a test, as the test runner lists it. `module` is the `module_path!()` of the
/// test's file.
pub fn test_name(module: &str, test: &str) -> String {
    let (_, inside) = module.split_once("::").unwrap();
    format!("{inside}::{test}")
}
