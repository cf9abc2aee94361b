//! Counts of a row in a process of its own, under callgrind.

use std::{
    env, fs,
    hint::black_box,
    iter,
    path::{self, Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use crate::{
    allocator::allocations,
    counts::{Average, CALLS, Counts},
    operations, rows,
    rows::{Row, Work},
    support::Call,
    work_folder::WorkFolder,
};

/// The argument of a process that runs one row.
pub(crate) const CHILD: &str = "--child";

/// Number of calls before those that are counted, so that buffers and caches have their final size.
const WARM_UP: u32 = 300;

/// Number of batches that are counted.
const BATCHES: usize = 9;

/// The name of [`counted_calls`] in options of callgrind.
const FUNCTION: &str = "*counted_calls*";

/// The calls whose instructions callgrind counts. It knows the function by its name.
#[inline(never)]
fn counted_calls(call: &mut Call) {
    (0..CALLS).for_each(|_| call());
    end_batch();
}

/// Makes callgrind write the counts of the batch. It does not do so after [`counted_calls`] itself, where it stops
/// to count.
#[inline(never)]
fn end_batch() {
    black_box(());
}

/// Runs a row in this process, and prints the number of its allocations.
pub(crate) fn run_child(name: &str) -> Result<bool, String> {
    let row = rows::named(name).ok_or_else(|| format!("no row `{name}`"))?;
    let mut call = row.prepare();
    (0..WARM_UP).for_each(|_| call());
    for _ in 0..BATCHES {
        let before = allocations();
        counted_calls(&mut call);
        println!("{}", allocations() - before);
    }
    Ok(true)
}

/// Counts the rows, as many at once as there are processors.
pub(crate) fn count_all(rows: &[&'static Row]) -> Result<Vec<Counts>, String> {
    let next = AtomicUsize::new(0);
    let next_row = || rows.get(next.fetch_add(1, Relaxed));
    let count_some = |worker: usize| {
        let folder = WorkFolder::new(&worker.to_string())?;
        let rows = iter::from_fn(next_row);
        let counted = rows.map(|row| Ok((row.name, count(row, &folder)?)));
        counted.collect::<Result<Vec<_>, String>>()
    };
    let workers = thread::available_parallelism().map_or(1, Into::into);
    let counted = thread::scope(|scope| {
        let start = |worker| scope.spawn(move || count_some(worker));
        let workers: Vec<_> = (0..workers).map(start).collect();
        let joined = workers.into_iter().map(|worker| {
            let counted = worker.join();
            counted.map_err(|_| "a worker panicked".to_owned())?
        });
        joined.collect::<Result<Vec<_>, String>>()
    })?;
    let of = |row: &&'static Row| counted.iter().flatten().find(|(name, _)| *name == row.name);
    let counts = rows.iter().filter_map(of).map(|(_, counts)| *counts);
    Ok(counts.collect())
}

/// Writes the profile of a row to `file`.
pub(crate) fn profile(name: &str, file: &str) -> Result<bool, String> {
    let row = rows::named(name).ok_or_else(|| format!("no row `{name}`"))?;
    let file = path::absolute(file).map_err(|error| format!("{file}: {error}"))?;
    run(row, &WorkFolder::new("profile")?, &file, &[])?;
    let file = file.display();
    println!("callgrind_annotate {file}");
    Ok(true)
}

fn count(row: &Row, folder: &WorkFolder) -> Result<Counts, String> {
    let profile = folder.path.join("profile");
    let allocations = run(row, folder, &profile, &["--dump-before=*end_batch*"])?;
    let instructions = (1..=BATCHES).map(|batch| {
        let dump = profile.with_extension(batch.to_string());
        let text = fs::read_to_string(dump).ok()?;
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
    });
    let instructions: Option<Vec<i64>> = instructions.collect();
    let error = || format!("row `{}`: a profile is missing", row.name);
    let average = match row.work {
        Work::Operation(_) => Average::Mean,
        _ => Average::Median,
    };
    let instructions = instructions.ok_or_else(error)?;
    Ok(Counts::typical(average, instructions, allocations))
}

/// Runs a row under callgrind in a work folder, and returns the allocations of each batch.
fn run(
    row: &Row,
    folder: &WorkFolder,
    profile: &Path,
    options: &[&str],
) -> Result<Vec<i64>, String> {
    let toggle = format!("--toggle-collect={FUNCTION}");
    let out = format!("--callgrind-out-file={}", profile.display());
    let usual = ["--tool=callgrind", "--collect-atstart=no", &toggle, &out];
    let mut command = folder.valgrind(&[&usual, options].concat(), &[CHILD, row.name]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn();
    let child = child.map_err(|error| format!("valgrind: {error}; install it"))?;
    let directory = operations::directory(child.id());
    let output = child.wait_with_output();
    let output = output.map_err(|error| format!("valgrind: {error}"))?;
    let _ = fs::remove_dir_all(directory);
    let text = String::from_utf8_lossy(&output.stdout);
    let allocations: Vec<i64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    if !output.status.success() || allocations.len() != BATCHES {
        let log = String::from_utf8_lossy(&output.stderr);
        return Err(format!("row `{}` failed under callgrind\n{log}", row.name));
    }
    Ok(allocations)
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
