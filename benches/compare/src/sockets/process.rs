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
    servers::{CONTENDERS, Contender, Start},
};

/// A server that stops when this is dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// The folder for the server's files.
    folder: PathBuf,
}

impl Process {
    /// Starts a server on one core. Returns `None` if it does not start, if its package does not build, or if it needs Node.js
    /// and there is none.
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
        let folder = folder(contender.name);
        let child = command
            .env("FOLDER", &folder)
            .env("DOCUMENT", serde_json::Value::from(document).to_string())
            .env("REDIS_URL", redis.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut process = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            folder,
        };
        stay(Some(process.child.id()), core);
        let mut line = String::new();
        BufReader::new(process.child.stdout.take()?)
            .read_line(&mut line)
            .ok()?;
        process.address.set_port(line.trim().parse().ok()?);
        Some(process)
    }

    /// Returns the processor time of all threads so far, in µs, or `None` if the process has ended. No thread ends under
    /// load.
    pub fn processor_time(&self) -> Option<f64> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let nanoseconds = threads.ok()?.map(|thread| {
            let file = thread.ok()?.path().join("schedstat");
            let text = fs::read_to_string(file).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        });
        Some(nanoseconds.sum::<Option<f64>>()? / 1000.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the folder for the files of a server, in `FILE_BENCH_DIR` or in the target folder.
fn folder(name: &str) -> PathBuf {
    let base =
        env::var_os("FILE_BENCH_DIR").map_or(env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    base.join(format!("sockets-{}-{name}", std::process::id()))
}

/// Builds the packages and installs those of Node.js, so that a measurement begins at once.
pub fn prepare() {
    for contender in CONTENDERS {
        match contender.start {
            Start::Rust(_) => {}
            Start::Package(name) => drop(build(name)),
            Start::Node(_) => drop(node_folder()),
        }
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
/// runs them. Returns `None` if `npm` does not install them.
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
    build
        .is_ok_and(|status| status.success())
        .then(|| target.join("release").join(format!("compare-{package}")))
}
