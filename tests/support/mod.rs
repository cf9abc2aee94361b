//! Helpers of the tests: a browser with a cookie jar, an event log, a manual clock, a server on a
//! real socket, Redis servers, and example programs. The store whose calls wait or fail is the library's.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test program uses a part of this"
)]

pub mod bound;
pub mod browser;
pub mod child;
pub mod cookie_server;
pub mod increment;
pub mod jar;
pub mod net;
pub mod nginx;
pub mod playground;
#[cfg(feature = "redis")]
pub mod redis_servers;
pub mod retrying_store;
pub mod scratch;
pub mod search;
pub mod secrets;
pub mod test_server;
pub mod websocket;

pub use browser::{Browser, Visit};
pub use child::{ServerProcess, example, test_name};
pub use cookie_server::{CookieServer, cookie_server};
pub use hyper_session::testing::StoreCall as Call;
pub use increment::{change, increment};
pub use jar::Jar;
pub use retrying_store::RetryingStore;
pub use test_server::{EventLog, GateStore, KEY, TestServer, config, data, object, test_server};
