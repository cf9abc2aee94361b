//! Chromium, driven by WebDriver. No process remains after a test, even if it fails.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use fantoccini::{
    Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand,
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};
use url::{ParseError, Url};

/// Timeout of each step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A chromedriver process on a free port, with its browsers. Dropping it stops all of them. If this
/// process is killed, the kernel kills chromedriver, and the browsers exit.
pub(crate) struct Driver {
    child: Child,
    /// Kept open, because the process writes until it exits.
    _stdout: BufReader<ChildStdout>,
    port: u16,
    /// The folder of all browser profiles. Its path identifies the processes of this driver.
    folder: PathBuf,
    browsers: AtomicU32,
}

impl Driver {
    pub(crate) fn start(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("browser-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "chromedriver", "--port=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("setpriv is needed: apt-get install util-linux");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let port = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| parse_port(&line));
        Self {
            child,
            _stdout: stdout,
            port: port.expect("chromedriver is needed: apt-get install chromium chromium-driver"),
            folder,
            browsers: AtomicU32::new(0),
        }
    }

    /// Starts a browser with an empty profile.
    pub(crate) async fn browser(&self) -> Browser {
        self.browser_with(json!({})).await
    }

    /// Starts a browser with JavaScript disabled.
    pub(crate) async fn browser_without_scripts(&self) -> Browser {
        let off = json!({ "profile.managed_default_content_settings.javascript": 2 });
        self.browser_with(json!({ "prefs": off })).await
    }

    /// Starts a browser with the screen of a small phone.
    pub(crate) async fn phone(&self) -> Browser {
        let screen = json!({ "width": 360, "height": 740, "pixelRatio": 2 });
        let phone = json!({ "deviceMetrics": screen });
        self.browser_with(json!({ "mobileEmulation": phone })).await
    }

    /// Starts a browser whose user prefers dark or light pages, with a window of this width or, below 500
    /// pixels, the screen of a phone.
    pub(crate) async fn window(&self, width: u32, dark: bool) -> Browser {
        let mut options = json!({ "args": [format!("--window-size={width},900")] });
        if width < 500 {
            let screen = json!({ "width": width, "height": 844, "pixelRatio": 2 });
            options["mobileEmulation"] = json!({ "deviceMetrics": screen });
        }
        if dark {
            options["args"] = json!([options["args"][0], "--force-dark-mode"]);
        }
        self.browser_with(options).await
    }

    async fn browser_with(&self, mut options: Value) -> Browser {
        let number = self.browsers.fetch_add(1, Ordering::Relaxed);
        let profile = self.folder.join(number.to_string());
        let mut capabilities = Map::new();
        capabilities.insert("browserName".to_owned(), json!("chrome"));
        let arguments: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-breakpad",
            // The browser exits with its driver.
            "--remote-debugging-pipe",
            "--window-size=1100,900",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("--user-data-dir={}", profile.display())])
        .collect();
        let others = options["args"].as_array().cloned().unwrap_or_default();
        let arguments: Vec<Value> = arguments
            .into_iter()
            .map(Value::from)
            .chain(others)
            .collect();
        options["args"] = json!(arguments);
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let address = format!("http://127.0.0.1:{}", self.port);
        let connecting = builder.capabilities(capabilities).connect(&address);
        let client = tokio::time::timeout(TIMEOUT, connecting).await;
        Browser {
            client: client.expect("Chromium starts in time").unwrap(),
        }
    }

    /// Makes chromedriver close its browsers and exit.
    fn shut_down(&mut self) {
        let request = "GET /shutdown HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let sent = std::net::TcpStream::connect(("127.0.0.1", self.port))
            .and_then(|mut stream| stream.write_all(request.as_bytes()));
        let start = Instant::now();
        while sent.is_ok() && start.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the ids of processes whose command line contains the folder.
    fn processes(&self) -> Vec<u32> {
        let folder = format!("{}/", self.folder.display());
        let contains_folder = |id: &u32| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&folder)
        };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(contains_folder)
            .collect()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shut_down();
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Kill the processes that have not exited.
        let start = Instant::now();
        loop {
            let remaining = self.processes();
            if remaining.is_empty() || start.elapsed() > TIMEOUT {
                break;
            }
            for id in remaining {
                let _ = Command::new("kill")
                    .args(["-KILL", &id.to_string()])
                    .stderr(Stdio::null())
                    .status();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Parses the port from chromedriver's output.
fn parse_port(line: &str) -> Option<u16> {
    let port = line.strip_prefix("ChromeDriver was started successfully on port ")?;
    port.trim_end_matches('.').parse().ok()
}

/// A browser, with the actions of a person.
pub(crate) struct Browser {
    pub(crate) client: Client,
}

impl Browser {
    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    pub(crate) async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    pub(crate) async fn find(&self, css: &str) -> Element {
        let wait = self.client.wait().at_most(TIMEOUT);
        let found = wait.for_element(Locator::Css(css)).await;
        if let Ok(element) = found {
            return element;
        }
        let page = self.client.source().await.unwrap_or_default();
        panic!("no element {css}: {:?}: {page}", found.err());
    }

    pub(crate) async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.unwrap().len()
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.unwrap()
    }

    pub(crate) async fn texts(&self, css: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for element in self.client.find_all(Locator::Css(css)).await.unwrap() {
            texts.push(element.text().await.unwrap());
        }
        texts
    }

    /// Returns the current value of a field.
    pub(crate) async fn value(&self, name: &str) -> String {
        let field = self.find(&format!("[name={name}]")).await;
        field.prop("value").await.unwrap().unwrap()
    }

    /// Replaces the value of a field.
    pub(crate) async fn fill(&self, name: &str, text: &str) {
        let field = self.find(&format!("[name={name}]")).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Clicks an element and waits for the next page.
    pub(crate) async fn follow(&self, css: &str) {
        let before = self.find("html").await;
        self.find(css).await.click().await.unwrap();
        let start = Instant::now();
        // An element of the previous page returns an error.
        while before.tag_name().await.is_ok() {
            assert!(start.elapsed() < TIMEOUT, "{css}: no next page");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.find("body").await;
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap()
    }

    /// Returns a cookie in the form of WebDriver, 14.
    pub(crate) async fn cookie(&self, name: &str) -> Value {
        let cookie = self.client.get_named_cookie(name).await.unwrap();
        json!({
            "value": cookie.value(),
            "path": cookie.path(),
            "domain": cookie.domain(),
            "httpOnly": cookie.http_only().unwrap_or(false),
            "secure": cookie.secure().unwrap_or(false),
            "sameSite": cookie.same_site().map(|value| value.to_string()),
            "expiry": cookie.expires_datetime().map(|time| time.unix_timestamp()),
        })
    }

    /// Returns the time of the browser, in seconds.
    pub(crate) async fn now(&self) -> i64 {
        let now = self.run("return Math.floor(Date.now() / 1000);").await;
        now.as_i64().unwrap()
    }

    /// Waits until the script returns `true`.
    pub(crate) async fn until(&self, script: &str) {
        let start = Instant::now();
        while self.run(script).await != json!(true) {
            assert!(start.elapsed() < TIMEOUT, "never true: {script}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Saves a screenshot of the whole page in `target/tmp/screenshots`.
    pub(crate) async fn screenshot(&self, name: &str) {
        let start = Instant::now();
        let picture = loop {
            let command = DevToolsCommand {
                name: "Page.captureScreenshot",
                parameters: json!({ "captureBeyondViewport": true }),
            };
            match self.client.issue_cmd(command).await {
                Ok(picture) => break picture,
                // A page that is not laid out yet has no width.
                Err(error) => assert!(start.elapsed() < TIMEOUT, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let picture = picture["data"].as_str().unwrap();
        let png = base64_simd::STANDARD.decode_to_vec(picture).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        let file = folder.join(format!("{name}.png"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, png).unwrap();
    }
}

/// A command of the DevTools protocol, which chromedriver sends to the browser. WebDriver's own screenshots end
/// with the screen of a phone.
#[derive(Debug)]
struct DevToolsCommand {
    name: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevToolsCommand {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        let body = json!({ "cmd": self.name, "params": self.parameters });
        (http::Method::POST, Some(body.to_string()))
    }
}
