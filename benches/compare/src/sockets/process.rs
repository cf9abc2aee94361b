//! The process of a server.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{
    document::Size,
    servers::{Contender, Start},
};

/// A server that stops when this is dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

impl Process {
    /// Starts a server on one core. Returns `None` if it needs Node.js and there is none.
    pub fn start(contender: &Contender, core: usize, redis: Option<&str>) -> Option<Self> {
        let mut command = match contender.start {
            Start::Rust(_) => {
                let mut command = Command::new(env::current_exe().expect("it has a path"));
                command.args(["serve", contender.name]);
                command
            }
            Start::Package(name) => Command::new(build(name)?),
            Start::Node(arguments) => {
                let folder = node_folder()?;
                let mut command = Command::new(folder.join("node_modules/.bin/node"));
                command.args(arguments).current_dir(folder);
                command
            }
        };
        let document: serde_json::Map<_, _> = Size::Small
            .entries()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        let mut child = command
            .env("DOCUMENT", serde_json::Value::from(document).to_string())
            .env("REDIS_URL", redis.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        stay(Some(child.id()), core);
        let mut line = String::new();
        let output = child.stdout.take().expect("it is a pipe");
        let read = BufReader::new(output).read_line(&mut line);
        read.expect("the server prints its port");
        let port: u16 = line.trim().parse().expect("the server prints its port");
        Some(Self {
            child,
            address: ([127, 0, 0, 1], port).into(),
        })
    }

    /// Returns the processor time of all threads so far, in µs. No thread ends under load.
    pub fn processor_time(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let nanoseconds = threads.expect("this is Linux").map(|thread| {
            let file = thread.expect("the process runs").path().join("schedstat");
            let text = fs::read_to_string(file).expect("the kernel has this statistic");
            let first = text.split(' ').next().and_then(|it| it.parse::<f64>().ok());
            first.expect("it is a number")
        });
        nanoseconds.sum::<f64>() / 1000.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Keeps this thread, and those that it starts, on one core.
pub fn stay_on_core(core: usize) {
    stay(None, core);
}

fn stay(process: Option<u32>, core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let pid = process.and_then(|id| rustix::process::Pid::from_raw(id as i32));
    sched_setaffinity(pid, &cores).expect("the core exists");
}

/// Returns the folder of the servers for Node.js, with their packages. The packages contain the Node.js that
/// runs them.
fn node_folder() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sockets/node");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    for file in [
        "package.json",
        "package-lock.json",
        "adonis.js",
        "express.js",
        "work.js",
    ] {
        fs::copy(source.join(file), folder.join(file)).expect("the target folder is writable");
    }
    if !folder.join("node_modules/.bin/node").exists() {
        let install = Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .status();
        if !install.is_ok_and(|status| status.success()) {
            println!("Node.js: skipped, since npm did not install the packages");
            return None;
        }
    }
    Some(folder)
}

/// Builds the program of a package beside this one. Returns `None` if it does not build.
fn build(package: &str) -> Option<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(package)
        .join("Cargo.toml");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(package);
    let build = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .status();
    if !build.is_ok_and(|status| status.success()) {
        println!("{package}: skipped, since its package does not build");
        return None;
    }
    Some(target.join("release").join(format!("compare-{package}")))
}
