//! The playground example as a process.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{example, net::Remote};

/// A running playground. Killed when dropped.
pub(crate) struct Playground {
    child: Child,
    /// Kept open, since the process writes until it ends.
    _stdout: BufReader<ChildStdout>,
    pub(crate) address: std::net::SocketAddr,
}

impl Playground {
    /// Starts the program with its default settings.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Returns the command for the program with these environment variables and no others.
    pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(example("playground"));
        command
            .env_clear()
            .env("ADDR", "127.0.0.1:0")
            .env("APP_KEY", "a secret that no documentation holds")
            .envs(variables.iter().copied());
        command
    }

    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut child = Self::command(variables)
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
            _stdout: stdout,
            address: address.unwrap(),
        }
    }

    pub(crate) fn client(&self) -> Remote {
        Remote::http1(self.address)
    }

    pub(crate) fn stop(&self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn wait(&mut self) -> bool {
        for _ in 0..600 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Executes operations in one request and returns their results.
pub(crate) async fn ops(client: &mut Remote, ops: Value) -> Value {
    let answer = client.post("/ops", ops.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    answer.json()
}
