//! Paths with a type, and the paths that a value of a type may be read from or written to.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    fmt,
    marker::PhantomData,
};

use super::{KeyPath, Number};

/// A path to a value of type `T`, for a constant.
///
/// A typed key is accepted wherever a path is. Methods that read or write a value then accept no other type.
/// Define each key once, so that all handlers agree on its path and its type.
///
/// The type is that of the program. A session that another release stored may contain a value of another
/// type; reading it fails with [`SessionError::Read`](crate::SessionError::Read).
///
/// ```
/// use hyper_session::{Session, SessionError, TypedKey};
///
/// const VISITS: TypedKey<u64> = TypedKey::new("visits");
/// const RECENT: TypedKey<Vec<String>> = TypedKey::new("shop.recent");
///
/// # fn handler(session: &Session) -> Result<(), SessionError> {
/// session.increment(VISITS)?;
/// session.push(RECENT, "/products/7")?;
/// let visits = session.get(VISITS)?; // Option<u64>
/// # let _ = visits; Ok(()) }
/// ```
///
/// A value of another type does not compile:
///
/// ```compile_fail,E0277
/// # use hyper_session::{Session, SessionError, TypedKey};
/// # const VISITS: TypedKey<u64> = TypedKey::new("visits");
/// # fn handler(session: &Session) -> Result<(), SessionError> {
/// session.put(VISITS, "many")?;
/// # Ok(()) }
/// ```
pub struct TypedKey<T> {
    path: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> TypedKey<T> {
    /// Creates a key for the value at `path`. The text is parsed as a [`KeyPath`].
    pub const fn new(path: &'static str) -> Self {
        Self {
            path,
            value: PhantomData,
        }
    }

    /// Returns the text of the path.
    pub const fn path(self) -> &'static str {
        self.path
    }
}

impl<T> Clone for TypedKey<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for TypedKey<T> {}

impl<T> fmt::Debug for TypedKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedKey").field(&self.path).finish()
    }
}

impl<T> From<TypedKey<T>> for KeyPath<'_> {
    fn from(key: TypedKey<T>) -> Self {
        KeyPath::from(key.path)
    }
}

/// A path from which a `T` may be read. Every path without a type is one for each `T`.
///
/// Implement it, without methods, for a path type of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a path to a value of type `{T}`",
    note = "a `TypedKey<T>` is a path to a `T`"
)]
pub trait ReadPath<'p, T>: Into<KeyPath<'p>> {}

/// A path to which a `V` may be written. To a [`TypedKey<T>`], these are `T` and `&T`, and also `&str` if
/// `T` is a `String`.
///
/// Implement it, without methods, for a path type of your own.
#[diagnostic::on_unimplemented(
    message = "a value of type `{V}` cannot be written to the path `{Self}`",
    note = "to a `TypedKey<T>`, write a `T` or a `&T`"
)]
pub trait WritePath<'p, V>: Into<KeyPath<'p>> {}

/// A path to an array to which a `V` may be added. A [`TypedKey`] of a `Vec<T>`, of another sequence or of a
/// set is one for `T` and `&T`.
///
/// Implement it, without methods, for a path type of your own.
#[diagnostic::on_unimplemented(
    message = "the path `{Self}` is not one of a list with elements of type `{V}`",
    note = "a `TypedKey<Vec<T>>` is a path to a list of `T`"
)]
pub trait ListPath<'p, V>: Into<KeyPath<'p>> {}

/// A path to a number. A [`TypedKey`] of a number is one. The type of the key does not limit the sum: a
/// decrement of a `TypedKey<u64>` at zero stores -1.
///
/// Implement it, without methods, for a path type of your own.
#[diagnostic::on_unimplemented(
    message = "the path `{Self}` is not one of a number",
    note = "a `TypedKey<u64>` is a path to a number"
)]
pub trait NumberPath<'p>: Into<KeyPath<'p>> {}

impl<T> ReadPath<'_, T> for TypedKey<T> {}
impl<T> WritePath<'_, T> for TypedKey<T> {}
impl<T> WritePath<'_, &T> for TypedKey<T> {}
impl WritePath<'_, &str> for TypedKey<String> {}

macro_rules! untyped_paths {
    ($([$($generics:tt)*] $path:ty),*) => { $(
        impl<'p, T, $($generics)*> ReadPath<'p, T> for $path {}
        impl<'p, V, $($generics)*> WritePath<'p, V> for $path {}
        impl<'p, V, $($generics)*> ListPath<'p, V> for $path {}
        impl<'p, $($generics)*> NumberPath<'p> for $path {}
    )* };
}

untyped_paths!(
    [] &'p str,
    [] &'p String,
    [] &'p [&'p str],
    [const N: usize] &'p [&'p str; N],
    [const N: usize] [&'p str; N],
    [] &'p [String],
    [] &'p Vec<String>,
    [] KeyPath<'p>,
    [] &KeyPath<'p>
);

macro_rules! list_paths {
    ($([$($generics:tt)*] $list:ty),*) => { $(
        impl<T, $($generics)*> ListPath<'_, T> for TypedKey<$list> {}
        impl<T, $($generics)*> ListPath<'_, &T> for TypedKey<$list> {}
    )* };
}

list_paths!([] Vec<T>, [] VecDeque<T>, [] BTreeSet<T>, [S] HashSet<T, S>);

impl ListPath<'_, &str> for TypedKey<Vec<String>> {}

macro_rules! number_paths {
    ($($number:ty),*) => { $( impl NumberPath<'_> for TypedKey<$number> {} )* };
}

number_paths!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, Number
);
