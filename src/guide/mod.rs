//! The guide: sessions from the first request to production, one page a subject.
//!
//! Each page can be read alone. Read [quick start](quick_start) first, then
//! [reading and writing](reading_and_writing) and [life cycle](life_cycle); read the other
//! pages when you need them.

#[doc = include_str!("quick_start.md")]
pub mod quick_start {}

#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("stores.md")]
pub mod stores {}

#[doc = include_str!("reading_and_writing.md")]
pub mod reading_and_writing {}

#[doc = include_str!("life_cycle.md")]
pub mod life_cycle {}

#[doc = include_str!("concurrency.md")]
pub mod concurrency {}

#[doc = include_str!("flash_messages.md")]
pub mod flash_messages {}

#[doc = include_str!("forms.md")]
pub mod forms {}

#[doc = include_str!("templates.md")]
pub mod templates {}

#[doc = include_str!("events.md")]
pub mod events {}

#[doc = include_str!("custom_stores.md")]
pub mod custom_stores {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("operations.md")]
pub mod operations {}
