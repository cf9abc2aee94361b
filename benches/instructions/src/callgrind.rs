//! Counts of a row in a process of its own, under callgrind.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use crate::{allocator::allocations, operations, rows, rows::Row, support::Call};

/// The argument of a process that runs one row.
pub(crate) const CHILD: &str = "--child";

/// Number of calls before those that are counted, so that buffers and caches have their final size.
const WARM_UP: u32 = 300;

/// Number of calls that are counted.
const CALLS: u64 = 200;

/// Costs of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) instructions: i64,
    pub(crate) allocations: i64,
}

impl Counts {
    pub(crate) fn without(self, base: Self) -> Self {
        Self {
            instructions: self.instructions - base.instructions,
            allocations: self.allocations - base.allocations,
        }
    }
}

/// The calls whose instructions callgrind counts. It knows the function by its name.
#[inline(never)]
fn counted_calls(call: &mut Call) {
    (0..CALLS).for_each(|_| call());
}

/// Runs a row in this process, and prints the number of its allocations.
pub(crate) fn run_child(name: &str) -> Result<bool, String> {
    let row = rows::named(name).ok_or_else(|| format!("no row `{name}`"))?;
    let mut call = row.prepare();
    (0..WARM_UP).for_each(|_| call());
    let before = allocations();
    counted_calls(&mut call);
    println!("{}", allocations() - before);
    Ok(true)
}

/// Counts the rows, as many at once as there are processors.
pub(crate) fn count_all(rows: &[&'static Row]) -> Result<Vec<Counts>, String> {
    let next = AtomicUsize::new(0);
    let count_some = |worker: usize| {
        let profile = env::temp_dir().join(format!("instructions-{}-{worker}", process::id()));
        let mut counted = Vec::new();
        while let Some(row) = rows.get(next.fetch_add(1, Relaxed)) {
            counted.push((row.name, count(row, &profile)?));
        }
        let _ = fs::remove_file(profile);
        Ok::<_, String>(counted)
    };
    let workers = thread::available_parallelism().map_or(1, Into::into);
    let counted = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|it| scope.spawn(move || count_some(it)))
            .collect();
        let joined = workers
            .into_iter()
            .map(|it| it.join().map_err(|_| "a worker panicked")?);
        joined.collect::<Result<Vec<_>, String>>()
    })?;
    let of = |row: &&Row| counted.iter().flatten().find(|(name, _)| *name == row.name);
    Ok(rows
        .iter()
        .filter_map(of)
        .map(|(_, counts)| *counts)
        .collect())
}

/// Writes the profile of a row to `file`.
pub(crate) fn profile(name: &str, file: &str) -> Result<bool, String> {
    let row = rows::named(name).ok_or_else(|| format!("no row `{name}`"))?;
    count(row, Path::new(file))?;
    println!("callgrind_annotate {file}");
    Ok(true)
}

fn count(row: &Row, profile: &Path) -> Result<Counts, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--collect-atstart=no",
        "--toggle-collect=*counted_calls*",
    ]);
    command.arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(program).args([CHILD, row.name]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command
        .spawn()
        .map_err(|error| format!("valgrind: {error}; install it"))?;
    let directory = operations::directory(child.id());
    let output = child
        .wait_with_output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let _ = fs::remove_dir_all(directory);
    let allocations = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse::<i64>();
    let total = fs::read_to_string(profile)
        .ok()
        .and_then(|text| total(&text));
    let (Ok(allocations), Some(total)) = (allocations, total) else {
        let log = String::from_utf8_lossy(&output.stderr);
        return Err(format!("row `{}`: callgrind failed\n{log}", row.name));
    };
    Ok(Counts {
        instructions: total / CALLS as i64,
        allocations: allocations / CALLS as i64,
    })
}

/// Returns the number of instructions in a profile.
fn total(profile: &str) -> Option<i64> {
    let mut lines = profile.lines();
    lines.find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
}

/// Returns the facts that change the counts without a change of the code.
pub(crate) fn environment() -> Result<String, String> {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let output = output.map_err(|error| format!("{program}: {error}; install it"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok::<_, String>(text.lines().next().unwrap_or_default().to_owned())
    };
    let facts = [
        first_line("rustc", &["--version"])?,
        first_line("valgrind", &["--version"])?,
        first_line("getconf", &["GNU_LIBC_VERSION"])?,
        env::consts::ARCH.to_owned() + cpu_features(),
    ];
    Ok(facts.join(", "))
}

/// Returns the features of the processor that callgrind passes on and that libraries look for.
#[cfg(target_arch = "x86_64")]
fn cpu_features() -> &'static str {
    match std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("aes")
    {
        true => " with avx2 and aes",
        false => " without avx2 and aes",
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> &'static str {
    ""
}

/// Returns the folder of this package.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
