//! Methods for stored redirect targets.

use serde::de::IgnoredAny;

use crate::session::{Session, SessionError};

/// The keys of the stored URLs in the session's data. AdonisJS uses the first key too.
const INTENDED: [&str; 2] = ["redirect", "intendedUrl"];
const PREVIOUS: [&str; 2] = ["redirect", "previousUrl"];

/// # URLs
///
/// The session stores paths to redirect to. The getters never return a URL of another origin,
/// whatever the session's data holds.
impl Session {
    /// Stores the target of the redirect after sign-in: a path on this origin, with its query.
    ///
    /// # Errors
    /// [`ForeignUrl`](SessionError::ForeignUrl) if a browser could read the URL as another origin.
    /// Otherwise see [`put`](Self::put).
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// # fn handler(session: &Session) -> Result<(), SessionError> {
    /// session.set_intended_url("/account?tab=2")?;
    /// // After signing in:
    /// let target = session.pull_intended_url()?.unwrap_or_else(|| "/".to_owned());
    /// # let _ = target; Ok(()) }
    /// ```
    pub fn set_intended_url(&self, url: &str) -> Result<(), SessionError> {
        self.put_own_path(INTENDED, url)
    }

    /// Returns the path of [`set_intended_url`](Self::set_intended_url), if there is one.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    #[doc(alias = "getIntendedUrl")]
    pub fn intended_url(&self) -> Result<Option<String>, SessionError> {
        self.get_own_path(INTENDED)
    }

    /// Returns the path of [`set_intended_url`](Self::set_intended_url) and removes it. Without one, the session
    /// does not change.
    ///
    /// # Errors
    /// If the session cannot be changed.
    pub fn pull_intended_url(&self) -> Result<Option<String>, SessionError> {
        let url = self.intended_url()?;
        // Also removes a value that is not a path on this origin.
        self.pull::<IgnoredAny>(INTENDED)?;
        Ok(url)
    }

    /// Removes the path of [`set_intended_url`](Self::set_intended_url).
    ///
    /// # Errors
    /// If the session cannot be changed.
    pub fn clear_intended_url(&self) -> Result<(), SessionError> {
        self.forget(INTENDED)
    }

    /// Stores `url` as the page of this request. An invalid form redirects back to it if the browser
    /// sends no `Referer` (`Referrer-Policy: no-referrer`).
    ///
    /// The store is written if the page is not the previous one. So call this only for pages with
    /// forms.
    ///
    /// # Errors
    /// See [`set_intended_url`](Self::set_intended_url).
    pub fn set_previous_url(&self, url: &str) -> Result<(), SessionError> {
        if self.previous_url()?.as_deref() == Some(url) {
            return Ok(());
        }
        self.put_own_path(PREVIOUS, url)
    }

    /// Returns the path of [`set_previous_url`](Self::set_previous_url), if there is one.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) before [`load`](Self::load).
    pub fn previous_url(&self) -> Result<Option<String>, SessionError> {
        self.get_own_path(PREVIOUS)
    }

    fn put_own_path(&self, path: [&str; 2], url: &str) -> Result<(), SessionError> {
        if !is_own_path(url) {
            return Err(SessionError::ForeignUrl);
        }
        self.put(path, url)
    }

    /// Returns the URL at `path` if it is a path on this origin. Handlers can write there by other
    /// methods, so it is checked again.
    fn get_own_path(&self, path: [&str; 2]) -> Result<Option<String>, SessionError> {
        let url: Option<String> = self.get(path).or_else(none_if_not_text)?;
        Ok(url.filter(|url| is_own_path(url)))
    }
}

fn none_if_not_text(error: SessionError) -> Result<Option<String>, SessionError> {
    match error {
        SessionError::Read(_) => Ok(None),
        error => Err(error),
    }
}

/// Returns `true` if a browser reads `url` as a path on the origin of the page.
///
/// Browsers read `\` as `/`, drop tabs and line ends, and read `//host` as another origin (URL
/// Standard, 4.4, relative slash state). So none of these may appear.
pub(crate) fn is_own_path(url: &str) -> bool {
    let bytes = url.as_bytes();
    let path_end = bytes
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(bytes.len());
    bytes.first() == Some(&b'/')
        && bytes.get(1) != Some(&b'/')
        && !bytes.iter().any(|byte| byte.is_ascii_control())
        && !bytes.iter().take(path_end).any(|byte| *byte == b'\\')
}
