//! The listing of the public interface.

use crate::{api, code::Source};

const CODE: &str = "
//! pub fn in_a_comment() {}
use std::fmt;
pub use self::{a::B, c};
mod a { pub struct B(u8, [u8; 4]); }
#[derive(Clone, Debug)]
#[non_exhaustive]
#[serde(default)]
pub enum Kind<'a> {
    /// Text.
    Plain,
    Wide(Vec<u8>, u8),
    Named { at: u8, path: &'a str },
}
pub struct Open<F: Fn() -> u8> { pub f: F, hidden: Vec<(u8, u8)>, pub map: Map<u8, u8> }
pub(crate) struct Hidden { pub(crate) a: u8 }
impl B {
    pub const LEN: usize = 4;
    const HIDDEN: usize = { 4 };
    fn hidden(&self) { if true { pub_fn() } }
    #[must_use]
    pub fn new<T>(value: T, array: [u8; 4]) -> Self
    where
        T: Into<u8>,
    { Self(0) }
}
impl Hidden { fn f() {} }
impl fmt::Display for B { fn fmt(&self) -> u8 { 1 } }
impl fmt::Display for Hidden { fn fmt(&self) {} }
pub trait Act { type Out; fn act(&self) -> Self::Out; fn more(&self) -> u8 { let x = 1; x } }
pub const fn f() -> u8 { 1 }
macro! { pub struct Pinned { a: u8 } }
";

const LISTING: &str = "src/a.rs
  pub use self::{a::B, c}
  pub struct B
  #[derive(Clone, Debug)] #[non_exhaustive] pub enum Kind<'a>
    Plain
    Wide(Vec<u8>, u8)
    Named
    at: u8
    path: &'a str
  pub struct Open<F: Fn() -> u8>
    pub f: F
    pub map: Map<u8, u8>
  impl B
    pub const LEN: usize
    #[must_use] pub fn new<T>(value: T, array: [u8; 4]) -> Self where T: Into<u8>,
  impl fmt::Display for B
  pub trait Act
    type Out
    fn act(&self) -> Self::Out
    fn more(&self) -> u8
  pub const fn f() -> u8
  pub struct Pinned
";

#[test]
fn public_items_are_listed_and_no_others() {
    let sources = [
        Source::new("src/a.rs", CODE),
        Source::new("src/bin/b.rs", "pub fn f() {}"),
        Source::new("src/a/tests.rs", "pub fn f() {}"),
    ];
    let listing = api::listing(&sources);
    assert_eq!(listing, LISTING, "{listing}");
}

#[test]
fn a_changed_item_is_in_the_difference() {
    let listing = |text| api::listing(&[Source::new("src/a.rs", text)]);
    let before = listing("pub fn f(a: u8) {}\npub fn g() {}");
    let after = listing("pub fn g() {}\npub fn f(a: u16) {}");
    assert_eq!(
        api::difference(&after, &before),
        ["src/a.rs: pub fn f(a: u16)"]
    );
    assert_eq!(
        api::difference(&before, &after),
        ["src/a.rs: pub fn f(a: u8)"]
    );
    assert!(api::difference(&before, &before).is_empty());
}

/// Two types of a file may have members of one name.
#[test]
fn a_member_that_moves_to_another_owner_is_in_the_difference() {
    let listing = |text: &str| api::listing(&[Source::new("src/a.rs", text)]);
    let field = "{ pub path: String }";
    for (before, after, difference) in [
        (
            format!("pub struct A {field} pub struct B {field}"),
            format!("pub struct A {field} pub struct B {{ }}"),
            "src/a.rs: pub struct B: pub path: String",
        ),
        (
            format!("pub struct A {field} pub struct B {{ }}"),
            format!("pub struct A {{ }} pub struct B {field}"),
            "src/a.rs: pub struct A: pub path: String",
        ),
        (
            "pub enum E { A { len: u8 }, B }".to_owned(),
            "pub enum E { A, B { len: u8 } }".to_owned(),
            "src/a.rs: pub enum E: A: len: u8",
        ),
        (
            "pub fn f() {} pub fn f() {}".to_owned(),
            "pub fn f() {}".to_owned(),
            "src/a.rs: pub fn f() (2)",
        ),
    ] {
        let (before, after) = (listing(&before), listing(&after));
        assert_eq!(api::difference(&before, &after), [difference]);
        assert!(api::difference(&before, &before).is_empty());
    }
}
