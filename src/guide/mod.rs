//! The guide: sessions from the first request to production, one page a subject.
//!
//! Each page can be read alone. In order:
//!
//! 1. [Quick start](quick_start)
//! 2. [Configuration](configuration)
//! 3. [Stores](stores), and how to choose one
//! 4. [Reading and writing](reading_and_writing)
//! 5. [Life cycle and ids](life_cycle)
//! 6. [Concurrency](concurrency)
//! 7. [Flash messages](flash_messages)
//! 8. [Forms and validation](forms)
//! 9. [Redirects, error pages and languages](responses)
//! 10. [Axum](axum)
//! 11. [Templates](templates)
//! 12. [Events and observability](events)
//! 13. [Testing](testing)
//! 14. [Custom stores](custom_stores)
//! 15. [Security](security)
//! 16. [Operations](operations)
//! 17. [Proxies](proxies)
//! 18. [Alerts](alerts)
//! 19. [Porting](porting) from another session middleware
//!
//! Begin with quick start, reading and writing, and life cycle.

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

#[doc = include_str!("responses.md")]
pub mod responses {}

#[doc = include_str!("axum.md")]
pub mod axum {}

#[doc = include_str!("templates.md")]
pub mod templates {}

#[doc = include_str!("events.md")]
pub mod events {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("custom_stores.md")]
pub mod custom_stores {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("alerts.md")]
pub mod alerts {}

#[doc = include_str!("proxies.md")]
pub mod proxies {}

#[doc = include_str!("porting.md")]
pub mod porting {
    #[doc = include_str!("porting/tower_sessions.md")]
    pub mod tower_sessions {}

    #[doc = include_str!("porting/axum_login.md")]
    pub mod axum_login {}

    #[doc = include_str!("porting/actix_session.md")]
    pub mod actix_session {}

    #[doc = include_str!("porting/axum_session.md")]
    pub mod axum_session {}

    #[doc = include_str!("porting/express_session.md")]
    pub mod express_session {}

    #[doc = include_str!("porting/adonis_js.md")]
    pub mod adonis_js {}
}
