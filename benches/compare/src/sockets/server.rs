//! A server with one thread, for the services of hyper.

use std::{convert::Infallible, future::Future, io::Read, net::TcpListener, sync::Arc};

use http::{HeaderValue, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::TokioIo;

use crate::request::Body;

pub type HandlerResult = Result<Response<Body>, Infallible>;

/// Ends this process with the one that started it, whose end of the input closes.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ended = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}

/// Returns a listener on a free port, and prints the port.
pub fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    println!("{}", listener.local_addr().expect("it is bound").port());
    listener
}

/// Serves what `make` returns, on one thread.
pub fn serve_hyper<S, B>(make: impl Future<Output = S>)
where
    S: Service<
            Request<Body>,
            Response = Response<B>,
            Error: std::error::Error + Send + Sync,
            Future: Send,
        > + Send
        + Sync
        + 'static,
    B: hyper::body::Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let service = Arc::new(make.await);
        let listener = listen();
        listener
            .set_nonblocking(true)
            .expect("a socket has this option");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
        loop {
            let (stream, _) = listener.accept().await.expect("there is a free descriptor");
            stream
                .set_nodelay(true)
                .expect("a TCP socket has this option");
            let service = Arc::clone(&service);
            // A GET request has no body. One type of body serves all middlewares.
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                service.call(request.map(|_| Body::default()))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

/// Returns the response of a handler that found this number, or of one that did not look.
pub fn response(number: Option<i64>) -> Response<Body> {
    let body = match number {
        Some(number) => Body::from(number.to_string()),
        None => Body::from("ok"),
    };
    let mut response = Response::new(body);
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
