//! The example programs and the `session-key` tool as processes, and the example site in a browser.

#[path = "../support/mod.rs"]
mod support;

#[cfg(all(unix, feature = "file"))]
mod admin;
#[cfg(all(unix, feature = "axum", feature = "forms"))]
mod axum_app;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(all(unix, feature = "file", feature = "metrics", feature = "tracing"))]
mod observability;
#[cfg(all(unix, feature = "forms", feature = "testing"))]
mod servers;
mod session_key;
#[cfg(target_os = "linux")]
mod start_and_stop;

#[cfg(unix)]
mod playground {
    mod connections;
    #[cfg(feature = "file")]
    mod file_store;
    mod operations;
}

#[cfg(all(unix, feature = "forms"))]
mod proxy {
    mod forward;
    mod gate;
    mod nginx;
    mod support;
}

#[cfg(all(feature = "forms", feature = "templates"))]
mod site {
    #[cfg(target_os = "linux")]
    mod browser;
    mod pages;
    #[cfg(all(unix, feature = "file"))]
    mod process;
    #[cfg(target_os = "linux")]
    mod screenshots;
    mod support;
    #[cfg(target_os = "linux")]
    mod webdriver;
}
