//! The Redis store on real servers: single, replicated, clustered, and on bad networks.

#[path = "../support/mod.rs"]
mod support;

mod batching;
#[cfg(feature = "testing")]
mod cached;
#[cfg(feature = "testing")]
mod cluster;
#[cfg(feature = "testing")]
mod cluster_cache;
mod cluster_faults;
mod connect_problems;
#[cfg(feature = "testing")]
mod contract;
#[cfg(feature = "testing")]
mod environments;
mod failover;
mod lost_replies;
mod max_age;
#[cfg(all(feature = "file", unix))]
mod migrating;
mod outage_detection;
mod outages;
#[cfg(feature = "testing")]
mod permissions;
mod processes;
mod rejections;
mod replicas;
mod scans;
mod settings;
mod startup;
mod tags;
mod tls;
mod visitors;
