//! hyper without sessions.

use http::Request;
use hyper::service::service_fn;

use crate::{
    request::Body,
    server::{HandlerResult, response, serve_hyper},
};

pub(super) fn serve() {
    serve_hyper(async { service_fn(answer) });
}

async fn answer(request: Request<Body>) -> HandlerResult {
    drop(request);
    Ok(response(None))
}
