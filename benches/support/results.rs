//! The results of a benchmark as lines of JSON, for the report.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
};

use serde_json::{Value, json};

/// A file of results, or nothing without the environment variable `BENCH_RESULTS`.
pub(crate) struct Results {
    bench: &'static str,
    file: Option<File>,
}

/// The figures of several rounds.
#[allow(dead_code, reason = "not for every benchmark")]
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) lowest: f64,
    pub(crate) median: f64,
    pub(crate) highest: f64,
}

impl Results {
    /// Opens the file that `BENCH_RESULTS` names, adds to it, and writes the commit, the date and the machine.
    /// `BENCH_COMMIT` is the commit, if it is set.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub(crate) fn open(bench: &'static str) -> Self {
        let path = env::var_os("BENCH_RESULTS").map(PathBuf::from);
        let file = path.map(|path| {
            let file = File::options().append(true).create(true).open(&path);
            file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        });
        let mut results = Self { bench, file };
        if results.file.is_some() {
            results.add_facts();
        }
        results
    }

    /// Adds one figure. A contender `limit of NAME: ...` is the limit of the contender `NAME` in the same row.
    ///
    /// # Panics
    /// If it cannot be written.
    pub(crate) fn add(&mut self, row: &str, contender: &str, unit: &str, value: f64) {
        self.write(&json!({"bench": self.bench, "row": row, "contender": contender, "unit": unit, "value": value}));
    }

    /// Adds the median of several rounds, with the lowest and the highest of them.
    ///
    /// # Panics
    /// If it cannot be written.
    #[allow(dead_code, reason = "not for every benchmark")]
    pub(crate) fn add_spread(&mut self, row: &str, contender: &str, unit: &str, spread: Spread) {
        let Spread {
            lowest,
            median,
            highest,
        } = spread;
        self.write(&json!({
            "bench": self.bench, "row": row, "contender": contender, "unit": unit,
            "value": median, "lowest": lowest, "highest": highest,
        }));
    }

    /// Prints the reason why a part is not measured, and records it.
    ///
    /// # Panics
    /// If it cannot be written.
    #[allow(dead_code, reason = "not for every benchmark")]
    pub(crate) fn skip(&mut self, reason: &str) {
        println!("not measured: {reason}");
        self.add_fact("not measured", reason);
    }

    fn add_facts(&mut self) {
        let git = [
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "describe",
            "--always",
            "--dirty",
        ];
        // A script whose run changes the tables in the repository sets the commit.
        let commit = env::var("BENCH_COMMIT").unwrap_or_else(|_| output("git", &git));
        self.add_fact("commit", &commit);
        self.add_fact("date", &output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]));
        self.add_fact("load average at the start", &load());
        let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = model.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split(": ").nth(1));
        self.add_fact("processor", model.unwrap_or("unknown"));
        self.add_fact("cores", &output("getconf", &["_NPROCESSORS_ONLN"]));
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory
            .split_whitespace()
            .nth(1)
            .and_then(|it| it.parse().ok());
        let gibibytes = memory.unwrap_or(0_u64) >> 20;
        self.add_fact("memory", &format!("{gibibytes} GiB"));
        self.add_fact("system", &output("uname", &["-sr"]));
        self.add_fact("compiler", &output("rustc", &["--version"]));
        let folder = env::var("FILE_BENCH_DIR").unwrap_or_else(|_| ".".to_owned());
        let kind = output("stat", &["-f", "-c", "%T", &folder]);
        self.add_fact("file system", &kind);
    }

    fn add_fact(&mut self, fact: &str, value: &str) {
        self.write(&json!({"bench": self.bench, "fact": fact, "value": value}));
    }

    fn write(&mut self, line: &Value) {
        let Some(file) = &mut self.file else { return };
        writeln!(file, "{line}").expect("the file of results is writable");
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        if self.file.is_some() {
            self.add_fact("load average at the end", &load());
        }
    }
}

/// Returns the load average of 1, 5 and 15 minutes.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Returns the first line that a program prints.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map_or_else(|_| Vec::new(), |it| it.stdout);
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or("unknown").to_owned()
}
