//! A user's devices: one tagged session for each.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_session::{Session, document::IsoDate, service::Redirect};
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    BoxError, Page, Site, account, pages,
    users::{self, User},
};

/// A signed-in browser, as stored in its session.
#[derive(Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) name: String,
    /// Time of the sign-in, in seconds since 1970.
    pub(crate) since: u64,
}

impl Device {
    /// Returns a readable name for a `User-Agent`.
    pub(crate) fn name_from_agent(agent: &str) -> String {
        let first = |names: &[(&'static str, &'static str)], other| {
            let entry = names.iter().find(|(part, _)| agent.contains(part));
            entry.map_or(other, |(_, name)| *name)
        };
        // The order matters: each browser's agent also contains the names after it.
        let browsers = [
            ("Edg/", "Edge"),
            ("Firefox/", "Firefox"),
            ("Chrome/", "Chrome"),
            ("Safari/", "Safari"),
            ("curl/", "curl"),
        ];
        let systems = [
            ("Android", "Android"),
            ("iPhone", "iPhone"),
            ("Windows", "Windows"),
            ("Mac OS X", "macOS"),
            ("Linux", "Linux"),
        ];
        let browser = first(&browsers, "A browser");
        format!("{browser} on {}", first(&systems, "a device"))
    }
}

impl Site {
    pub(crate) async fn devices(&self, session: &Session) -> Result<Page, BoxError> {
        let Some(user) = self.user(session)? else {
            return require_sign_in(session, Redirect::to("/sign-in"));
        };
        let values = context! { devices => self.devices_of(&user, session).await? };
        self.page("devices.html", "/devices", session, values)
    }

    /// Returns the user's devices: this one first, then the one that was seen last.
    async fn devices_of(&self, user: &User, session: &Session) -> Result<Vec<Value>, BoxError> {
        let current = session.store_key()?;
        let tag = users::tag(&user.id);
        let mut devices = Vec::new();
        for session in self.collection.list(&tag, &["device"]).await? {
            if let Some(device) = session.values().get::<Device>("device")? {
                let since = UNIX_EPOCH + Duration::from_secs(device.since);
                let seen = session.last_seen();
                devices.push(context! {
                    is_current => *session.key() == current,
                    key => session.key().to_string(),
                    name => device.name,
                    since => date(since),
                    seen => seen.map(|seen| date(seen.into())),
                });
            }
        }
        devices.sort_by_key(|device| !device.get_attr("is_current").is_ok_and(|it| it.is_true()));
        Ok(devices)
    }

    /// Ends one session of the user. The key in the path names it, and gives no access to it.
    pub(crate) async fn log_out_device(
        &self,
        session: &Session,
        key: &str,
    ) -> Result<Page, BoxError> {
        let Some(user) = self.user(session)? else {
            return require_sign_in(session, Redirect::to("/sign-in"));
        };
        // Only keys of the user's own sessions count.
        let keys = self.collection.tagged(&users::tag(&user.id)).await?;
        if let Some(key) = keys.iter().find(|own| own.to_string() == key) {
            self.collection.destroy(key).await?;
        }
        let message = "The device was signed out.";
        session.flash(
            "notification",
            json!({ "type": "success", "message": message }),
        )?;
        Ok(pages::see_other("/devices"))
    }

    pub(crate) async fn log_out_others(&self, session: &Session) -> Result<Page, BoxError> {
        let Some(user) = self.user(session)? else {
            return require_sign_in(session, Redirect::to("/sign-in"));
        };
        let current = session.store_key()?;
        let count = self
            .collection
            .destroy_tagged(&users::tag(&user.id), Some(&current))
            .await?;
        let message = match count {
            0 => "No other devices were signed in.".to_owned(),
            1 => "1 other device was signed out.".to_owned(),
            _ => format!("{count} other devices were signed out."),
        };
        session.flash(
            "notification",
            json!({ "type": "success", "message": message }),
        )?;
        Ok(pages::see_other("/devices"))
    }

    pub(crate) async fn log_out_everywhere(&self, session: &Session) -> Result<Page, BoxError> {
        let Some(user) = self.user(session)? else {
            return require_sign_in(session, Redirect::to("/sign-in"));
        };
        self.collection
            .destroy_tagged(&users::tag(&user.id), None)
            .await?;
        account::end_user_session(session, "You are signed out on all devices.")
    }
}

/// Returns a time for a `<time>` element.
fn date(time: SystemTime) -> Value {
    context! { iso => IsoDate::from(time).to_string(), text => httpdate::fmt_http_date(time) }
}

/// Redirects to the sign-in page.
pub(crate) fn require_sign_in(session: &Session, redirect: Redirect) -> Result<Page, BoxError> {
    let message = "Please sign in to see this page.";
    session.flash(
        "notification",
        json!({ "type": "info", "message": message }),
    )?;
    Ok(pages::redirect(redirect))
}
