//! Facts about the machine of the run.

use std::{fs, process::Command, thread::available_parallelism};

/// Returns names and values.
pub fn facts() -> Vec<(&'static str, String)> {
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let kilobytes: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
        Some(format!("{} GiB", kilobytes / 1024 / 1024))
    });
    let unknown = || "unknown".to_owned();
    vec![
        ("processor", model.unwrap_or_else(unknown)),
        (
            "cores",
            available_parallelism().map_or_else(|_| unknown(), |it| it.to_string()),
        ),
        ("memory", memory.unwrap_or_else(unknown)),
        ("system", output("uname", &["-sr"]).unwrap_or_else(unknown)),
        (
            "compiler",
            output("rustc", &["--version"]).unwrap_or_else(unknown),
        ),
        (
            "commit",
            output("git", &["describe", "--always", "--dirty"]).unwrap_or_else(unknown),
        ),
        (
            "date",
            output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown),
        ),
        (
            "load average at the end",
            fs::read_to_string("/proc/loadavg")
                .map_or_else(|_| unknown(), |it| it.trim().to_owned()),
        ),
    ]
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
