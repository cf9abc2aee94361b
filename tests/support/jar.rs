//! A cookie jar with the part of RFC 6265 that these tests need.
//!
//! The cookies of the library's `testing::TestClient` belong to the client. These tests copy, change and add cookies for
//! services that they call themselves.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue, header::COOKIE, header::SET_COOKIE};

/// The cookies of one origin, and cookies of other scopes. `Max-Age=0` removes a cookie of the origin.
#[derive(Clone, Debug, Default)]
pub struct Jar(BTreeMap<String, String>, Vec<String>);

impl Jar {
    pub fn take_from(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.split("; ").any(|it| it.trim() == "Max-Age=0") {
                self.0.remove(name);
            } else {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    pub fn line(&self) -> Option<HeaderValue> {
        let own = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        let pairs: Vec<String> = self.1.iter().cloned().chain(own).collect();
        (!pairs.is_empty()).then(|| pairs.join("; ").parse().unwrap())
    }

    pub fn add_to(&self, headers: &mut HeaderMap) {
        if let Some(line) = self.line() {
            headers.insert(COOKIE, line);
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Adds a cookie of another scope. It is sent first and never replaced.
    pub fn plant(&mut self, name: &str, value: &str) {
        self.1.push(format!("{name}={value}"));
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
