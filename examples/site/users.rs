//! User accounts, in memory.

use std::sync::{Mutex, PoisonError};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use hyper_session::id::SessionId;

use super::BoxError;

#[derive(Clone)]
pub(crate) struct User {
    /// A random id. Sessions survive a restart and must not match a new account.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) email: String,
    password: String,
}

/// Returns the tag of a user's sessions.
pub(crate) fn tag(id: &str) -> String {
    format!("user-{id}")
}

#[derive(Default)]
pub(crate) struct Users(Mutex<Vec<User>>);

impl Users {
    pub(crate) fn by_id(&self, id: &str) -> Option<User> {
        self.find(|user| user.id == id)
    }

    /// Creates an account. Returns `None` if the address already has one.
    pub(crate) async fn add(
        &self,
        name: &str,
        email: &str,
        password: &str,
    ) -> Result<Option<User>, BoxError> {
        let user = User {
            id: SessionId::generate()?.to_string(),
            name: name.to_owned(),
            email: email.to_lowercase(),
            password: hash(password.to_owned()).await?,
        };
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if users.iter().any(|other| other.email == user.email) {
            return Ok(None);
        }
        users.push(user.clone());
        Ok(Some(user))
    }

    /// Returns the account if the password is correct. An unknown address takes as long as a wrong
    /// password.
    pub(crate) async fn check(
        &self,
        email: &str,
        password: &str,
    ) -> Result<Option<User>, BoxError> {
        let email = email.to_lowercase();
        let Some(user) = self.find(|user| user.email == email) else {
            hash(password.to_owned()).await?;
            return Ok(None);
        };
        let is_correct = verify(password.to_owned(), user.password.clone()).await?;
        Ok(is_correct.then_some(user))
    }

    fn find(&self, predicate: impl Fn(&User) -> bool) -> Option<User> {
        let users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        users.iter().find(|user| predicate(user)).cloned()
    }
}

/// Returns a fast hash for this example. A real site uses `Argon2::default()`.
fn argon2() -> Result<Argon2<'static>, BoxError> {
    let params = Params::new(4 * 1024, 1, 1, None)?;
    Ok(Argon2::new(
        Algorithm::default(),
        Version::default(),
        params,
    ))
}

async fn hash(password: String) -> Result<String, BoxError> {
    let hash = move || Ok(argon2()?.hash_password(password.as_bytes())?.to_string());
    tokio::task::spawn_blocking(hash).await?
}

async fn verify(password: String, hash: String) -> Result<bool, BoxError> {
    let verify = move || {
        let hash = PasswordHash::new(&hash)?;
        Ok(argon2()?
            .verify_password(password.as_bytes(), &hash)
            .is_ok())
    };
    tokio::task::spawn_blocking(verify).await?
}
