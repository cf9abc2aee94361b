//! Cache lines that two threads share, and how much longer two threads take for them.
//!
//! `cargo bench --manifest-path benches/instructions/Cargo.toml --bench sharing`. Two threads send requests of two visitors in
//! turn, under the tool `lackey` of valgrind, which lists each access to memory. A simulation of two cores with a cache each
//! counts the lines that move from one core to the other. The counts do not depend on the machine's load. A row fails if its
//! counts differ from the accepted ones.
//!
//! `-- --time` measures the time of a request on one thread and on two threads, which needs two idle cores.

mod coherence;
#[allow(dead_code, unused_imports, reason = "each target uses a part")]
#[path = "../../support/mod.rs"]
mod support;
#[path = "../../support/timing.rs"]
mod timing;
mod work_folder;

use std::{
    env,
    process::ExitCode,
    ptr,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use coherence::Sharing;
use hyper_session::{Sessions, session::CookiePolicy, store::MemoryStore};
use support::{Access, Call, Job, Size, call, config, seed, with_cookie};

/// The argument of a process that runs one row.
const RUN: &str = "--run";

/// The argument of a process that prints the address of the first mark.
const ADDRESS: &str = "--address";

/// Requests of each thread before those that are counted.
const WARM_UP: usize = 40;

/// Requests of each thread that are counted.
const COUNTED: usize = 16;

/// A row: its name, the work of the handler, and the counts that are accepted.
struct Row {
    name: &'static str,
    job: Job,
    accepted: Sharing,
}

const fn row(name: &'static str, job: Job, lines: usize, writes: usize) -> Row {
    let accepted = Sharing { lines, writes };
    Row {
        name,
        job,
        accepted,
    }
}

static ROWS: [Row; 3] = [
    row("untouched", Job::Ignore, 1, 4),
    row("read", Job::Read, 1, 4),
    row("increment", Job::Increment, 2, 5),
];

/// A write to one of these places begins or ends a request in the list of accesses.
static mut MARKS: [u8; 3] = [0; 3];

/// The number of the mark at the end of a request. The others begin a request of that thread.
const END: usize = 2;

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match *arguments {
        [RUN, name] => run(name),
        [ADDRESS, _] => {
            println!("{}", (&raw const MARKS).addr());
            Ok(true)
        }
        ["--time"] => Ok(print_times()),
        [] => compare(),
        _ => Err("unrecognized arguments; use `--time` or none".to_owned()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sharing: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints the counts, and returns `false` if one differs from the accepted one. Lower ones must be accepted, too, or a
/// later change could undo what this one saved.
fn compare() -> Result<bool, String> {
    println!("per request: cache lines that move from the other core, and writes to them");
    let mut is_met = true;
    for row in &ROWS {
        let Sharing { lines, writes } = coherence::count(row.name)?;
        let is_same = (lines, writes) == (row.accepted.lines, row.accepted.writes);
        let note = match is_same {
            true => String::new(),
            false => format!(
                "accepted {} and {}; reduce the counts if they are greater, or else set those in ROWS",
                row.accepted.lines, row.accepted.writes
            ),
        };
        println!("{:<12} {lines:>4} {writes:>4} {note}", row.name);
        is_met &= is_same;
    }
    Ok(is_met)
}

fn sessions() -> Sessions {
    let sessions = Sessions::new(config(CookiePolicy::WhenUsed), MemoryStore::new());
    sessions.expect("the configuration is valid")
}

/// Returns a call with a visitor, a service and a request of its own, as a connection has.
fn connection(sessions: &Sessions, job: Job) -> Call {
    let request = with_cookie(&seed(sessions, Size::Small));
    call(sessions, Access::Typed, job, request)
}

/// Runs two threads in turn.
fn run(name: &str) -> Result<bool, String> {
    let row = ROWS.iter().find(|row| row.name == name);
    let job = row.ok_or_else(|| format!("no row `{name}`"))?.job;
    let sessions = &sessions();
    let (to_first, first) = mpsc::channel();
    let (to_second, second) = mpsc::channel();
    to_first.send(()).expect("the channel is open");
    thread::scope(|scope| {
        scope.spawn(move || take_turns(connection(sessions, job), 0, &first, &to_second));
        scope.spawn(move || take_turns(connection(sessions, job), 1, &second, &to_first));
    });
    Ok(true)
}

fn take_turns(mut call: Call, thread: usize, turn: &Receiver<()>, other: &Sender<()>) {
    for number in 0..WARM_UP + COUNTED {
        turn.recv().expect("the other thread runs");
        if number >= WARM_UP {
            mark(thread);
        }
        call();
        if number >= WARM_UP {
            mark(END);
        }
        // The other thread may have ended.
        let _ = other.send(());
    }
}

#[allow(unsafe_code, reason = "a write that the compiler keeps")]
fn mark(number: usize) {
    // SAFETY: the place is in the array, and nothing reads it. The threads take turns.
    unsafe { ptr::write_volatile((&raw mut MARKS).cast::<u8>().add(number), 1) };
}

/// Prints the time of a request on one thread, and on two threads with a visitor each.
fn print_times() -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime can be built");
    let _entered = runtime.enter();
    println!("ns of a request: one thread, two threads, their ratio (0.5 is perfect)");
    for row in &ROWS {
        let sessions = sessions();
        let alone = timing::time(connection(&sessions, row.job));
        let both = timing::time_pair([(), ()].map(|()| || connection(&sessions, row.job)));
        println!(
            "{:<12} {alone:7.1} {both:7.1} {:6.2}",
            row.name,
            both / alone
        );
    }
    true
}
