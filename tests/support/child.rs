//! Programs that tests start.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

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
pub struct ServerProcess {
    child: Child,
    pub address: SocketAddr,
    /// The rest of the output. `None` if a thread reads it.
    stdout: Option<BufReader<ChildStdout>>,
}

impl ServerProcess {
    /// Starts a program and waits until it listens.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let address = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on http://")?.parse().ok());
        Self {
            child,
            address: address.expect("the program listens"),
            stdout: Some(stdout),
        }
    }

    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Drops what the program prints, so that it never waits for a reader.
    pub fn discard_output(mut self) -> Self {
        if let Some(mut stdout) = self.stdout.take() {
            std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        }
        self
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits until the program has exited. Returns its status and the rest of its output.
    ///
    /// # Panics
    /// If it does not exit.
    pub fn wait(mut self) -> (ExitStatus, String) {
        for _ in 0..1200 {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut output = String::new();
                if let Some(stdout) = &mut self.stdout {
                    stdout.read_to_string(&mut output).unwrap();
                }
                return (status, output);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the program does not exit");
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the full name of a test, as the test runner lists it. `module` is the `module_path!()` of the
/// test's file.
pub fn test_name(module: &str, test: &str) -> String {
    let (_, inside) = module.split_once("::").unwrap();
    format!("{inside}::{test}")
}
