//! What the tests of sessions share: a browser with a cookie jar, a store that can be held up or
//! made to fail, a listener that remembers, a clock moved by hand, a server on a real socket, Redis
//! servers, and programs in processes of their own.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test program uses a part of this"
)]

pub mod bound;
pub mod browser;
pub mod child;
pub mod gate;
pub mod jar;
pub mod net;
pub mod parts;
pub mod playground;
#[cfg(feature = "redis")]
pub mod redis_servers;
pub mod scratch;
pub mod sealed;

pub use browser::{Browser, Visit};
pub use child::{example, test_name};
pub use gate::{Call, GateStore};
pub use jar::Jar;
pub use parts::{House, KEY, Seen, config, house, object};
pub use sealed::{Sealed, sealed};
