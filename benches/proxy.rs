//! The processor time of the proxy example, with sessions and without, and of nginx as a plain proxy.
//!
//! `cargo build --release --features forms --example proxy && cargo bench --profile release --features forms --bench proxy`
//!
//! Needs nginx (Debian's package `nginx-light`) and Linux. The benchmark sends the same load to each proxy in turn, and
//! each figure is a median over the rounds. Environment: `ROUNDS` (default 15) and `REQUESTS` of a
//! round (default 20,000).

#[allow(dead_code, reason = "the benchmark uses a part")]
#[path = "../tests/process/proxy/support.rs"]
mod proxy;
#[path = "../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;

use proxy::{PASSWORD, Proxy, cookie, sign_in};
use support::{net::Remote, nginx::Nginx};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Open connections to the proxy.
const CONNECTIONS: usize = 16;

/// One proxy under load.
struct Contestant {
    name: &'static str,
    address: SocketAddr,
    pid: u32,
    request: String,
    /// Processor time per request in µs, one for each round.
    times: Vec<f64>,
}

/// Returns a request with the headers of a browser.
fn request(path: &str, cookie: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: site.example\r\n\
         user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         accept-language: en-US,en;q=0.5\r\naccept-encoding: gzip, deflate, br, zstd\r\n\
         sec-fetch-dest: document\r\nsec-fetch-mode: navigate\r\nsec-fetch-site: same-origin\r\n\
         {cookie}\r\n"
    )
}

/// Sends requests one after the other, and reads each response.
async fn send(address: SocketAddr, request: String, requests: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 16 * 1024];
    for _ in 0..requests {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut length = 0;
        loop {
            let read = stream.read(&mut buffer[length..]).await.unwrap();
            assert!(read > 0, "the proxy closed the connection");
            length += read;
            // The body of the upstream server ends like this.
            if buffer[..length].ends_with(b"the end\n") {
                break;
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"));
    }
}

/// Returns the processor time of a process in µs. No thread of a contestant ends under load.
fn processor_time(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanoseconds = threads.map(|thread| {
        let file = thread.unwrap().path().join("schedstat");
        let text = std::fs::read_to_string(file).unwrap();
        text.split(' ').next().unwrap().parse::<f64>().unwrap()
    });
    nanoseconds.sum::<f64>() / 1000.0
}

impl Contestant {
    /// Sends the load of one round. A warm-up is not recorded.
    async fn run(&mut self, requests: usize, warm_up: bool) {
        let before = processor_time(self.pid);
        let each = requests / CONNECTIONS;
        let load: Vec<_> = (0..CONNECTIONS)
            .map(|_| tokio::spawn(send(self.address, self.request.clone(), each)))
            .collect();
        for connection in load {
            connection.await.unwrap();
        }
        let time = processor_time(self.pid) - before;
        if !warm_up {
            self.times.push(time / (each * CONNECTIONS) as f64);
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    )
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (rounds, requests) = (number("ROUNDS", 15), number("REQUESTS", 20_000));
    let page = "x".repeat(1000);
    let upstream = Nginx::start(
        "",
        &format!("location / {{ return 200 '{page} the end\n'; }}"),
    )
    .await;
    let one_thread = ("TOKIO_WORKER_THREADS", "1");
    let no_log = ("RUST_LOG", "off");
    let public = ("PUBLIC_PATHS", "/public/");
    let with = Proxy::start(upstream.address, &[one_thread, no_log, public]);
    let without = Proxy::start(upstream.address, &[one_thread, no_log, ("SESSIONS", "off")]);
    let nginx = Nginx::start(
        &format!("upstream site {{ server {}; keepalive 64; }}", upstream.address),
        "location / { proxy_pass http://site; proxy_http_version 1.1; proxy_set_header Connection ''; \
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header Host $host; }",
    )
    .await;
    let mut client = Remote::http1(with.address);
    sign_in(&mut client, "", PASSWORD).await;
    let own = cookie(&client);
    println!(
        "{rounds} rounds of {requests} requests, {CONNECTIONS} connections; µs of processor time per request"
    );
    for (scenario, path, cookie) in [
        ("untouched, no cookie", "/public/page", String::new()),
        (
            "untouched, other cookies",
            "/public/page",
            "cookie: theme=dark; lang=en\r\n".to_owned(),
        ),
        (
            "untouched, session cookie",
            "/public/page",
            format!("cookie: theme=dark; {own}\r\n"),
        ),
        ("gate", "/page", format!("cookie: theme=dark; {own}\r\n")),
    ] {
        let contestant = |name, address, pid| Contestant {
            name,
            address,
            pid,
            request: request(path, &cookie),
            times: Vec::new(),
        };
        let mut all = [
            contestant("with sessions", with.address, with.process.id()),
            contestant("without sessions", without.address, without.process.id()),
            contestant("nginx", nginx.address, nginx.pid()),
        ];
        for round in 0..=rounds {
            for contestant in &mut all {
                contestant.run(requests, round == 0).await;
            }
            // The next round begins with another one.
            if round % 2 == 1 {
                all.rotate_left(1)
            } else {
                all.swap(0, 1)
            }
        }
        report(scenario, &mut all);
    }
}

fn report(scenario: &str, all: &mut [Contestant]) {
    all.sort_by_key(|contestant| match contestant.name {
        "with sessions" => 0,
        "without sessions" => 1,
        _ => 2,
    });
    println!("{scenario}:");
    for contestant in &*all {
        let (middle, low, high) = median(contestant.times.iter().copied());
        let pairs = contestant.times.iter().zip(&all[1].times);
        let ratio = median(pairs.map(|(time, base)| time / base)).0;
        println!(
            "  {:17} {middle:6.1} ({low:.1} to {high:.1}), {ratio:.3} times without sessions",
            contestant.name
        );
    }
}
