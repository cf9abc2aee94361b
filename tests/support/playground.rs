//! The playground example as a process.

use std::process::Command;

use serde_json::Value;

use super::{ServerProcess, example, net::Remote};

/// A running playground. Killed when dropped.
pub(crate) struct Playground {
    process: ServerProcess,
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
        let process = ServerProcess::start(&mut Self::command(variables));
        let address = process.address;
        Self { process, address }
    }

    pub(crate) fn client(&self) -> Remote {
        Remote::http1(self.address)
    }

    /// Stops the program as a service manager does.
    pub(crate) fn stop(&self) {
        self.process.signal("TERM");
    }

    /// Waits until the program has exited. Returns `true` if it succeeded.
    pub(crate) fn wait(self) -> bool {
        self.process.wait().status.success()
    }
}

/// Executes operations in one request and returns their results.
pub(crate) async fn ops(client: &mut Remote, ops: Value) -> Value {
    let answer = client.post("/ops", ops.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    answer.json()
}
