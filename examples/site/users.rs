//! Accounts, in this process's memory.

use std::sync::{Mutex, PoisonError};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use hyper_session::id::SessionId;

use super::BoxError;

#[derive(Clone)]
pub(crate) struct User {
    /// Random: sessions outlive this process on disk, and must not open somebody else's account.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) email: String,
    password: String,
}

/// The name by which all sessions of a user are found.
pub(crate) fn tag(id: &str) -> String {
    format!("user-{id}")
}

#[derive(Default)]
pub(crate) struct Users(Mutex<Vec<User>>);

impl Users {
    pub(crate) fn by_id(&self, id: &str) -> Option<User> {
        self.find(|user| user.id == id)
    }

    /// A new account; `None` where the address has one.
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
        if users.iter().any(|known| known.email == user.email) {
            return Ok(None);
        }
        users.push(user.clone());
        Ok(Some(user))
    }

    /// The account, if the password is its own. An unknown address takes as long as a wrong password.
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
        let right = verify(password.to_owned(), user.password.clone()).await?;
        Ok(right.then_some(user))
    }

    fn find(&self, wanted: impl Fn(&User) -> bool) -> Option<User> {
        let users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        users.iter().find(|user| wanted(user)).cloned()
    }
}

/// Cheap, as this is an example: a real site takes `Argon2::default()`.
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
