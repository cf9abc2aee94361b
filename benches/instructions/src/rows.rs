//! The rows.

use hyper_session::session::CookiePolicy::{self, Rolling, WhenUsed};

use crate::{
    connection::{Transport, Visitors},
    counts::Tolerance,
    operations,
    support::{Call, Job},
};

/// One row: calls of one kind.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The row whose counts are subtracted.
    pub(crate) base: Option<&'static str>,
    pub(crate) tolerance: Tolerance,
    pub(crate) work: Work,
}

/// The work of a row's calls.
pub(crate) enum Work {
    /// A request over a connection of hyper, without sessions.
    Bare(Transport, Visitors),
    /// A request over a connection of hyper.
    Request(Transport, Visitors, CookiePolicy, Job),
    /// A request with the policy `Rolling` whose handler ignores the session, though its renewal is due.
    Renewal(Transport),
    /// A request with the file store.
    FileRequest(Transport, Job),
    Operation(fn() -> Call),
}

impl Row {
    /// Returns a call of the row.
    pub(crate) fn prepare(&self) -> Call {
        match self.work {
            Work::Bare(transport, visitors) => transport.bare(visitors),
            Work::Request(transport, visitors, policy, job) => {
                transport.with_memory(visitors, policy, job)
            }
            Work::Renewal(transport) => transport.with_renewal(),
            Work::FileRequest(transport, job) => transport.with_file(job),
            Work::Operation(prepare) => prepare(),
        }
    }
}

/// Returns the rows whose names contain `text`, and their bases.
pub(crate) fn matching(text: &str) -> Vec<&'static Row> {
    let is_wanted = |row: &&Row| row.name.contains(text);
    let bases = || ROWS.iter().filter(is_wanted).filter_map(|row| row.base);
    let is_counted = |row: &&Row| is_wanted(row) || bases().any(|base| base == row.name);
    ROWS.iter().filter(is_counted).collect()
}

/// Returns the row with this name.
pub(crate) fn named(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

const MEMORY: &str = "connection in memory, bare";
const SOCKET: &str = "socket, bare";
const BROWSER: &str = "connection in memory, bare, a browser's headers";

const fn request(name: &'static str, visitors: Visitors, policy: CookiePolicy, job: Job) -> Row {
    let work = Work::Request(Transport::Memory, visitors, policy, job);
    Row {
        name,
        base: Some(MEMORY),
        tolerance: Tolerance::USUAL,
        work,
    }
}

const fn over_socket(name: &'static str, policy: CookiePolicy, job: Job) -> Row {
    let work = Work::Request(Transport::Socket, Visitors::One, policy, job);
    Row {
        name,
        base: Some(SOCKET),
        tolerance: Tolerance::USUAL,
        work,
    }
}

const fn with_file(name: &'static str, job: Job) -> Row {
    let work = Work::FileRequest(Transport::Socket, job);
    Row {
        name,
        base: Some(SOCKET),
        tolerance: Tolerance::USUAL,
        work,
    }
}

const fn operation(name: &'static str, prepare: fn() -> Call) -> Row {
    Row {
        name,
        base: None,
        tolerance: Tolerance::USUAL,
        work: Work::Operation(prepare),
    }
}

/// A row with creations of sessions. Maps grow at random: counts differ by up to 1 %, and one allocation in many.
const fn creation(name: &'static str, prepare: fn() -> Call) -> Row {
    Row {
        tolerance: Tolerance {
            instructions: 50,
            allocations: Some(16),
        },
        ..operation(name, prepare)
    }
}

const fn bare(name: &'static str, transport: Transport, visitors: Visitors) -> Row {
    Row {
        name,
        base: None,
        tolerance: Tolerance::USUAL,
        work: Work::Bare(transport, visitors),
    }
}

const fn of_browser(name: &'static str, job: Job) -> Row {
    Row {
        base: Some(BROWSER),
        ..request(name, Visitors::Browser, WhenUsed, job)
    }
}

static ROWS: &[Row] = &[
    bare(MEMORY, Transport::Memory, Visitors::One),
    request(
        "request, when used, untouched",
        Visitors::One,
        WhenUsed,
        Job::Ignore,
    ),
    request(
        "request, when used, read",
        Visitors::One,
        WhenUsed,
        Job::Read,
    ),
    request(
        "request, when used, increment",
        Visitors::One,
        WhenUsed,
        Job::Increment,
    ),
    request(
        "request, rolling, untouched",
        Visitors::One,
        Rolling,
        Job::Ignore,
    ),
    request("request, rolling, read", Visitors::One, Rolling, Job::Read),
    request(
        "request, rolling, increment",
        Visitors::One,
        Rolling,
        Job::Increment,
    ),
    request(
        "request, when used, read, strangers",
        Visitors::Strangers,
        WhenUsed,
        Job::Read,
    ),
    request(
        "request, rolling, untouched, strangers",
        Visitors::Strangers,
        Rolling,
        Job::Ignore,
    ),
    bare(BROWSER, Transport::Memory, Visitors::Browser),
    of_browser("request, a browser's headers, untouched", Job::Ignore),
    of_browser("request, a browser's headers, read", Job::Read),
    bare(SOCKET, Transport::Socket, Visitors::One),
    over_socket("socket, when used, untouched", WhenUsed, Job::Ignore),
    over_socket("socket, when used, read", WhenUsed, Job::Read),
    over_socket("socket, when used, increment", WhenUsed, Job::Increment),
    over_socket("socket, rolling, untouched", Rolling, Job::Ignore),
    Row {
        work: Work::Renewal(Transport::Socket),
        ..over_socket(
            "socket, rolling, untouched, renewal due",
            Rolling,
            Job::Ignore,
        )
    },
    with_file("socket, file store, read", Job::Read),
    with_file("socket, file store, increment", Job::Increment),
    operation("cookie scan, 400 B", operations::scan),
    operation(
        "cookie scan, 200 names that contain the name",
        operations::scan_look_alikes,
    ),
    operation("seal the content of an id cookie", operations::seal),
    operation("open the content of an id cookie", operations::open),
    operation("document, load and read a path", operations::read_path),
    operation(
        "document, load, increment and encode",
        operations::increment,
    ),
    operation("document, read item 999 of an array", operations::read_item),
    operation(
        "document, read the last 10 items of 1,000",
        operations::read_items,
    ),
    operation(
        "document, read the last 10 items of 1,000 backwards",
        operations::read_items_backwards,
    ),
    operation("document, push 10 onto an array of 1,000", operations::push),
    operation(
        "document, push 10 onto a nested array of 1,000",
        operations::push_nested,
    ),
    operation("commit of an increment", operations::commit),
    operation("memory store, read", operations::memory_read),
    operation("memory store, write", operations::memory_write),
    creation("memory store, create 16", operations::memory_create),
    creation(
        "memory store, create and destroy 16",
        operations::memory_destroy,
    ),
    creation(
        "memory store, create 16 with one tag",
        operations::memory_create_tagged,
    ),
    operation("file store, read", operations::file_read),
    operation("file store, write", operations::file_write),
    creation("file store, create 16", operations::file_create),
    // The segments end at other calls in each run: counts differ by up to 5 %.
    Row {
        tolerance: Tolerance {
            instructions: 10,
            allocations: Some(16),
        },
        ..operation(
            "file store, create and destroy 16",
            operations::file_destroy,
        )
    },
];
