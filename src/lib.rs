//! Sessions for services built on hyper 1.x.

pub mod age;
pub mod changes;
pub mod clock;
pub mod config;
pub mod cookie;
pub mod document;
pub mod id;
pub mod seal;
pub mod service;
pub mod session;
pub mod store;
mod wire;
