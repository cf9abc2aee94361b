//! Redis servers, started on free ports in temporary directories and stopped with the test.
#![allow(dead_code, reason = "each benchmark uses a part of this")]

pub(crate) mod groups;
pub(crate) mod load;
pub(crate) mod proxy;
pub(crate) mod sessions;

use std::{
    ffi::OsString,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// A running server. Killed and its directory removed when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    dir: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts an empty server that stores nothing on disk.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with additional arguments, such as `--maxmemory 10mb`, as single words.
    pub(crate) fn start_with(more: &[&str]) -> Self {
        Self::start_on(free_port(), more)
    }

    pub(crate) fn start_on(port: u16, more: &[&str]) -> Self {
        let dir = fresh_dir();
        let mut args: Vec<String> = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
            .map(str::to_owned)
            .into();
        args.extend(["--port".into(), port.to_string(), "--dir".into()]);
        args.push(dir.display().to_string());
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        let mut server = Self {
            port,
            dir,
            args,
            child: None,
        };
        server.run();
        server
    }

    /// Starts a sentinel with these lines in its configuration.
    pub(crate) fn sentinel(port: u16, config: &str) -> Self {
        let dir = fresh_dir();
        let file = dir.join("sentinel.conf");
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n{config}",
            dir.display()
        );
        std::fs::write(&file, config).expect("the configuration can be written");
        let args = vec![file.display().to_string(), "--sentinel".into()];
        let mut server = Self {
            port,
            dir,
            args,
            child: None,
        };
        server.run();
        server
    }

    fn run(&mut self) {
        let log = std::fs::File::create(self.dir.join("log")).expect("a log can be written");
        let child = Command::new(program())
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(match child {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("these tests need redis-server: apt-get install redis-server")
            }
            Err(error) => panic!("redis-server cannot be started: {error}"),
        });
        wait_until("the server answers", Duration::from_secs(10), || {
            matches!(&*try_send(self.port, &[b"PING"]), [b'+' | b'-', ..])
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Kills the server, like a crash.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server was running");
            child.wait().expect("the server has ended");
        }
    }

    /// Starts the server again on the same port, without its data.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.run();
    }

    /// Starts the server again with additional arguments and with the data that it saved.
    pub(crate) fn restart_with(&mut self, more: &[&str]) {
        self.args.extend(more.iter().map(|arg| (*arg).to_owned()));
        self.restart();
    }

    /// Suspends the server, with its connections open.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("the server is running");
        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(sent.expect("kill can be run").success());
    }

    /// Sends a command and returns the reply in the protocol of Redis.
    pub(crate) fn send(&self, words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        String::from_utf8_lossy(&try_send(self.port, &words)).into_owned()
    }

    /// Sends a command to a server with a password.
    pub(crate) fn send_as(&self, password: &str, words: &[&str]) -> String {
        let auth: &[&[u8]] = &[b"AUTH", password.as_bytes()];
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let answer = exchange(self.port, &[auth, &words]).unwrap_or_default();
        let answer = answer.strip_prefix(b"+OK\r\n").unwrap_or(&answer);
        String::from_utf8_lossy(answer).into_owned()
    }

    /// Returns a number in `INFO`.
    pub(crate) fn info(&self, section: &str, name: &str) -> u64 {
        let info = self.send(&["INFO", section]);
        let head = format!("{name}:");
        let line = info.lines().find_map(|line| line.strip_prefix(&head));
        line.unwrap().parse().unwrap()
    }

    /// Returns how often the server ran a command.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let stats = self.send(&["INFO", "commandstats"]);
        let head = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&head));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// Returns the bytes of a key.
    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        let answer = try_send(self.port, &[b"GET", key.as_bytes()]);
        let head = answer
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        answer[head..answer.len() - 2].to_vec()
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) {
        let answer = try_send(self.port, &[b"SET", key.as_bytes(), value]);
        assert_eq!(answer, b"+OK\r\n");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // SIGKILL ends a suspended process, too.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Returns the server program: `redis-server`, or the one that the variable `REDIS_SERVER` names.
pub(crate) fn program() -> OsString {
    std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

/// Returns `true` if the server program is older than Redis 7.
pub(crate) fn is_before_7() -> bool {
    let output = Command::new(program()).arg("--version").output();
    let text = String::from_utf8(output.expect("the server can be run").stdout).unwrap();
    text.contains(" v=6.")
}

/// Sends one command on a new connection. The reply is empty if the server does not reply.
pub(crate) fn try_send(port: u16, words: &[&[u8]]) -> Vec<u8> {
    exchange(port, &[words]).unwrap_or_default()
}

/// Sends these commands and returns all replies.
fn exchange(port: u16, commands: &[&[&[u8]]]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    for words in commands {
        let mut message = format!("*{}\r\n", words.len()).into_bytes();
        for word in *words {
            message.extend(format!("${}\r\n", word.len()).bytes());
            message.extend(*word);
            message.extend(b"\r\n");
        }
        stream.write_all(&message)?;
    }
    // The server replies to all commands that it has read, and then closes the connection.
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Waits until a condition is true.
pub(crate) fn wait_until(name: &str, time: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + time;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {time:?}: {name}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns a port that is free, and so is the port 10,000 above it, which a cluster node uses. Both are
/// below the ports that the system uses for outgoing connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() * 37;
    loop {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 11_000 + (number % 10_000) as u16;
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 10_000) {
            return port;
        }
    }
}

/// Creates a new directory.
pub(crate) fn fresh_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("hyper-session-redis-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).expect("a directory can be made");
    dir
}
