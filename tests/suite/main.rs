//! Tests that need no process of their own and run with any set of features.

mod duration;
mod events;
mod id;
#[path = "../support/mod.rs"]
mod support;

mod config {
    mod env;
    mod refusals;
    mod safety;
    mod stores;
}

mod cookie {
    mod attributes;
    mod finder;
    mod round_trip;
    mod set_cookie;
}

mod cookie_store {
    mod chunks;
    #[cfg(feature = "testing")]
    mod conformance;
    mod forgery;
    mod late;
    mod overflow;
    mod requests;
    mod revocation;
    #[cfg(feature = "testing")]
    mod several;
    mod size;
    mod wire;
}

mod document {
    mod model;
    mod numbers;
    mod values;
    mod vectors;
}

#[cfg(feature = "forms")]
mod form {
    mod csrf;
    mod files;
    #[cfg(feature = "garde")]
    mod garde;
    mod guide;
    mod input;
    mod messages;
    mod polling;
    mod redirect;
    mod replay;
    mod slow;
    mod support;
    #[cfg(feature = "tower")]
    mod tower;
    #[cfg(feature = "tower")]
    mod translation;
    mod types;
    mod websockets;
}

mod migrating {
    #[cfg(feature = "testing")]
    mod conformance;
    mod from_cookies;
    #[cfg(feature = "testing")]
    mod from_cookies_conformance;
    mod from_cookies_stores;
    mod pair;
}

mod model {
    pub(crate) mod exact;
    pub(crate) mod real;
    pub(crate) mod reference;
    pub(crate) mod strategies;
}

mod patch {
    mod limits;
    mod rebase;
}

mod seal {
    mod codec;
    mod keys;
}

mod service {
    mod abuse;
    #[cfg(all(feature = "axum", feature = "forms"))]
    mod axum;
    #[cfg(all(feature = "axum", feature = "forms"))]
    mod axum_responses;
    #[cfg(all(feature = "axum", feature = "forms"))]
    mod bodies;
    mod caching;
    #[cfg(feature = "tower")]
    mod commits;
    pub(crate) mod completion;
    mod cookies;
    mod dropped;
    #[cfg(all(feature = "axum", feature = "forms"))]
    mod error_pages;
    #[cfg(all(feature = "axum", feature = "forms"))]
    mod features;
    #[cfg(feature = "tower")]
    mod grpc;
    mod hyper;
    mod layers;
    mod redirect;
    mod strip;
    #[cfg(feature = "tower")]
    mod tower;
    #[cfg(all(feature = "axum", feature = "forms"))]
    mod upgrades;
}

mod session {
    mod before_the_fence;
    mod buffers;
    mod candidates;
    mod clock_steps;
    mod collection;
    mod collection_lists;
    mod collection_updates;
    mod conflicts;
    mod cookie_table;
    mod discarded;
    mod edges;
    mod ended;
    mod expiry;
    mod explicit_commit;
    mod failures;
    mod flash;
    mod flash_limits;
    mod hostile;
    mod intended_url;
    mod invisible;
    mod late_tasks;
    mod lifecycle;
    mod max_age;
    mod max_age_limits;
    mod max_age_races;
    mod max_age_stores;
    mod merging;
    mod model;
    mod overlaps;
    mod parallel;
    mod pending_records;
    mod pool;
    mod queue;
    mod queue_batches;
    mod queue_limits;
    mod regenerate;
    mod renewal;
    mod replay;
    mod rotate;
    mod rotate_races;
    mod tag_races;
    mod turns;
    mod typed;
    mod typed_keys;
    mod user_code;
    mod values;
    mod vectors;
}

mod store {
    #[cfg(feature = "testing")]
    mod conformance;
    #[cfg(feature = "testing")]
    mod custom;
    mod expiry;
    #[cfg(feature = "testing")]
    mod flaws;
    mod hot_session;
    mod memory;
    mod memory_model;
    mod memory_races;
}

mod testing {
    mod assertions;
    mod client;
    mod cookies;
    mod redirects;
    mod store;
    mod support;
    #[cfg(feature = "axum")]
    mod tower;
}

mod view {
    mod askama_page;
    #[cfg(feature = "templates")]
    mod escaping;
    #[cfg(feature = "templates")]
    mod page;
}
