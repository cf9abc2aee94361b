//! A whole session as a value of the program's type.

use std::{fmt, ops::Deref};

use serde::{Serialize, de::DeserializeOwned};

use super::{Session, SessionError};

/// All values of a session as a `T`, a struct of yours. An extractor for axum; in a hyper handler, call
/// [`load`](Self::load).
///
/// It dereferences to the values as they were when it was loaded or last updated. The only way to change them
/// is [`update`](Self::update), which records each changed field at once and returns an error if it cannot.
/// There is nothing to save afterwards: as for every change of a session, the commit at the end of the request
/// stores it, or replaces the response with an error. A wrapper that hands out `&mut T` would have to save when
/// it is dropped, where it could not report a failure.
///
/// A new session is empty, so `T` needs a default for each field, such as by `#[serde(default)]`.
///
/// ```
/// use hyper_session::{Session, SessionError, Typed};
///
/// #[derive(Default, serde::Serialize, serde::Deserialize)]
/// #[serde(default)]
/// struct UserSession {
///     theme: String,
///     cart: Vec<u64>,
/// }
///
/// async fn handler(session: &Session) -> Result<String, SessionError> {
///     let mut user: Typed<UserSession> = Typed::load(session).await?;
///     user.update(|user| user.theme = "dark".to_owned())?;
///     Ok(format!("{} with {} products", user.theme, user.cart.len()))
/// }
/// ```
///
/// # Concurrency
/// Two requests that change different fields keep both changes. See [`Session::update_all`].
#[doc(alias = "SessionData")]
#[must_use]
pub struct Typed<T> {
    session: Session,
    value: T,
}

impl<T: Serialize + DeserializeOwned + 'static> Typed<T> {
    /// Loads the session, and reads its values.
    ///
    /// # Errors
    /// See [`Session::load`] and [`Session::all`].
    pub async fn load(session: &Session) -> Result<Self, SessionError> {
        let value = session.load().await?.all()?;
        let session = session.same_handle();
        Ok(Self { session, value })
    }

    /// Calls `update` with the session's values, and stores the fields that it changed. Returns its output.
    ///
    /// # Errors
    /// See [`Session::update_all`]. The values are then as before.
    ///
    /// # Concurrency
    /// See [`Session::update_all`]. `update` gets the present values: it sees what other handles of this
    /// request have changed.
    pub fn update<R>(&mut self, update: impl FnOnce(&mut T) -> R) -> Result<R, SessionError> {
        let (value, output) = self.session.change_fields(update)?;
        self.value = value;
        Ok(output)
    }
}

impl<T> Typed<T> {
    /// Returns the session.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the values.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Typed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> fmt::Debug for Typed<T> {
    /// Shows no values, because they belong to the visitor.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
