//! Finding cookies in requests, writing Set-Cookie.
