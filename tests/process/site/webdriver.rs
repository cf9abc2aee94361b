//! Chromium, driven through WebDriver. Nothing is left running when a test is over, however it ends.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};

/// How long anything may take before the test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// chromedriver on a free port, with the browsers that it started. All of them end when this is
/// dropped. Should this process be killed, the kernel ends chromedriver, and the browsers follow.
pub(crate) struct Driver {
    child: Child,
    /// Kept open: the process speaks to its end.
    _says: BufReader<ChildStdout>,
    port: u16,
    /// Every browser's profile is in here, so its path finds the processes that belong to us.
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
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let port = says
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| port_in(&line));
        Self {
            child,
            _says: says,
            port: port.expect("chromedriver is needed: apt-get install chromium chromium-driver"),
            folder,
            browsers: AtomicU32::new(0),
        }
    }

    /// A browser with a profile of its own, which is empty.
    pub(crate) async fn browser(&self) -> Browser {
        self.browser_with(json!({})).await
    }

    /// A browser whose person has turned JavaScript off.
    pub(crate) async fn browser_without_scripts(&self) -> Browser {
        let off = json!({ "profile.managed_default_content_settings.javascript": 2 });
        self.browser_with(json!({ "prefs": off })).await
    }

    /// A browser with a screen as narrow as a small phone's.
    pub(crate) async fn phone(&self) -> Browser {
        let screen = json!({ "width": 360, "height": 740, "pixelRatio": 2 });
        let phone = json!({ "deviceMetrics": screen });
        self.browser_with(json!({ "mobileEmulation": phone })).await
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
            // The browser ends when its driver does.
            "--remote-debugging-pipe",
            "--window-size=1100,900",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("--user-data-dir={}", profile.display())])
        .collect();
        options["args"] = json!(arguments);
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let address = format!("http://127.0.0.1:{}", self.port);
        let connecting = builder.capabilities(capabilities).connect(&address);
        let client = tokio::time::timeout(PATIENCE, connecting).await;
        Browser {
            client: client.expect("Chromium starts in time").unwrap(),
        }
    }

    /// Asks chromedriver to close its browsers and to end.
    fn shut_down(&mut self) {
        let request = "GET /shutdown HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let asked = std::net::TcpStream::connect(("127.0.0.1", self.port))
            .and_then(|mut stream| stream.write_all(request.as_bytes()));
        let begun = Instant::now();
        while asked.is_ok() && begun.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The processes that name our folder in their command line.
    fn processes(&self) -> Vec<u32> {
        let ours = format!("{}/", self.folder.display());
        let names_us = |id: &u32| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&ours)
        };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(names_us)
            .collect()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shut_down();
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Whatever has not ended with it.
        let begun = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() || begun.elapsed() > PATIENCE {
                break;
            }
            for id in left {
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

/// The port in what chromedriver says once it listens.
fn port_in(line: &str) -> Option<u16> {
    let port = line.strip_prefix("ChromeDriver was started successfully on port ")?;
    port.trim_end_matches('.').parse().ok()
}

/// One browser, as a person would use it.
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
        let wait = self.client.wait().at_most(PATIENCE);
        wait.for_element(Locator::Css(css)).await.unwrap()
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

    /// What stands in a field now.
    pub(crate) async fn value(&self, name: &str) -> String {
        let field = self.find(&format!("[name={name}]")).await;
        field.prop("value").await.unwrap().unwrap()
    }

    /// Types over what stands in the field.
    pub(crate) async fn fill(&self, name: &str, text: &str) {
        let field = self.find(&format!("[name={name}]")).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Clicks something that leads to another page, and waits until that is there.
    pub(crate) async fn follow(&self, css: &str) {
        let before = self.find("html").await;
        self.find(css).await.click().await.unwrap();
        let begun = Instant::now();
        // An element of a page that is gone answers with an error.
        while before.tag_name().await.is_ok() {
            assert!(begun.elapsed() < PATIENCE, "{css} leads nowhere");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.find("body").await;
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap()
    }

    /// A cookie, as WebDriver describes it (WebDriver, 14).
    pub(crate) async fn cookie(&self, name: &str) -> Value {
        let cookie = self.client.get_named_cookie(name).await.unwrap();
        json!({
            "value": cookie.value(),
            "path": cookie.path(),
            "domain": cookie.domain(),
            "httpOnly": cookie.http_only().unwrap_or(false),
            "secure": cookie.secure().unwrap_or(false),
            "sameSite": cookie.same_site().map(|it| it.to_string()),
            "expiry": cookie.expires_datetime().map(|it| it.unix_timestamp()),
        })
    }

    /// The browser's clock, in seconds.
    pub(crate) async fn now(&self) -> i64 {
        let now = self.run("return Math.floor(Date.now() / 1000);").await;
        now.as_i64().unwrap()
    }

    /// Waits until the script gives true.
    pub(crate) async fn until(&self, script: &str) {
        let begun = Instant::now();
        while self.run(script).await != json!(true) {
            assert!(begun.elapsed() < PATIENCE, "never true: {script}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Leaves a picture of the whole page for a person to look at, in `target/tmp/screenshots`.
    pub(crate) async fn picture(&self, name: &str) {
        let (width, height) = self.client.get_window_size().await.unwrap();
        let more = "return document.documentElement.scrollHeight - window.innerHeight;";
        let more = self.run(more).await.as_u64().unwrap_or(0);
        let all = height as u32 + more as u32;
        self.client
            .set_window_size(width as u32, all)
            .await
            .unwrap();
        let png = self.client.screenshot().await.unwrap();
        self.client
            .set_window_size(width as u32, height as u32)
            .await
            .unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }
}
