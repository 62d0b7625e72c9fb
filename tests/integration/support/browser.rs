//! A real Chromium without a window, driven over its DevTools pipe: JSON messages with a NUL behind each, on its descriptors 3
//! and 4 (<https://chromedevtools.github.io/devtools-protocol/>). Named pipes stand for the descriptors, so that a shell can
//! hand them over.

use super::process::{self, Process};
use base64::Engine as _;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// A cold start on a busy machine takes long.
const LIMIT: Duration = Duration::from_secs(120);

/// One Chromium with one tab. Killed when dropped.
pub struct Browser {
    process: Process,
    orders: File,
    messages: Receiver<Value>,
    next_id: u64,
    session: String,
    /// What happened since the last visit began.
    events: Vec<Value>,
    _folder: tempfile::TempDir,
}

impl Browser {
    /// Starts `chromium` (from `require_part!(RealPart::Chromium)`) with a profile of its own and one empty tab.
    pub fn start(chromium: &Path) -> Self {
        let folder = process::folder("chromium");
        let [orders, answers] = ["orders", "answers"].map(|name| folder.path().join(name));
        assert!(Command::new("mkfifo").args([&orders, &answers]).status().unwrap().success());
        let mut command = Command::new("sh");
        command.arg("-c").arg(r#"in="$1"; out="$2"; shift 2; exec "$@" 3<"$in" 4>"$out""#).arg("sh");
        command.args([&orders, &answers]).arg(chromium).arg(format!("--user-data-dir={}", folder.path().display()));
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--no-proxy-server"]);
        command.args(["--hide-scrollbars", "--remote-debugging-pipe", "about:blank"]);
        command.env("HOME", folder.path());
        let process = Process::start(command);
        let (tell, messages) = mpsc::channel();
        let orders = opened(move || OpenOptions::new().write(true).open(orders));
        let answers = opened(move || File::open(answers));
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { return };
                if tell.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let session = String::new();
        let mut browser = Self { process, orders, messages, next_id: 0, session, events: Vec::new(), _folder: folder };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].take();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network", "Audits"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Lays the page out for a screen of this many CSS pixels. (A window of a headless Chromium is never narrower than 500.)
    pub fn screen(&mut self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// As a person would have it who prefers dark, or light.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Goes to an address and waits until all of it is there.
    pub fn visit(&mut self, url: &str) {
        self.events.clear();
        let went = self.call("Page.navigate", json!({"url": url}));
        assert!(went.get("errorText").is_none(), "{url}: {went}");
        self.wait_for_event("Page.loadEventFired");
    }

    /// Waits for the next page that something else led to, such as a key.
    pub fn wait_for_event(&mut self, method: &str) {
        while !self.events.iter().any(|event| event["method"] == method) {
            let message = self.next_message(method);
            self.events.push(message);
        }
    }

    /// Forgets what happened so far.
    pub fn forget_events(&mut self) {
        self.events.clear();
    }

    /// The value of an expression in the page. The page's own policy does not bind it.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let arguments = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", arguments);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// What the page says for itself, as text.
    pub fn text(&mut self, selector: &str) -> String {
        let selector = Value::from(selector);
        let found = self.evaluate(&format!("document.querySelector({selector}).innerText"));
        found.as_str().unwrap_or_else(|| panic!("nothing at {selector}")).to_owned()
    }

    /// One key, by its name: `Tab`, `Enter`, or a character.
    pub fn press(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            "Tab" => "",
            other => other,
        };
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            _ => 0,
        };
        let down = json!({"type": if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "key": key, "text": text,
            "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}));
    }

    /// What a screen reader gets: role and name of every node that it is told of.
    pub fn accessible(&mut self) -> Vec<(String, String)> {
        self.call("Accessibility.enable", json!({}));
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] != true);
        nodes.map(|node| (text(&node["role"]), text(&node["name"]))).collect()
    }

    /// A picture of the page, from the top, at most `height` high.
    pub fn screenshot(&mut self, height: u32) -> Vec<u8> {
        let size = self.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollHeight]");
        let height = size[1].as_u64().unwrap().min(u64::from(height));
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": height, "scale": 1});
        let shot = self.call("Page.captureScreenshot", json!({"clip": clip, "captureBeyondViewport": true}));
        base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    /// Addresses asked for since the last visit began.
    pub fn requested(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// What the browser complained of since then: exceptions, messages on the console, violations of the policy, issues.
    pub fn complaints(&mut self) -> Vec<String> {
        // Behind everything that was on its way.
        self.evaluate("new Promise(done => setTimeout(done, 100))");
        const KINDS: [&str; 5] = [
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
            "Audits.issueAdded",
            "Page.javascriptDialogOpening",
        ];
        let complaints =
            self.events.iter().filter(|event| KINDS.contains(&event["method"].as_str().unwrap_or_default()));
        complaints.map(ToString::to_string).collect()
    }

    /// One command of the protocol; its result.
    fn call(&mut self, method: &str, arguments: Value) -> Value {
        self.next_id += 1;
        let mut order = json!({"id": self.next_id, "method": method, "params": arguments});
        if !self.session.is_empty() {
            order["sessionId"] = self.session.clone().into();
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).unwrap();
        loop {
            let mut message = self.next_message(method);
            if message["id"] == self.next_id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    fn next_message(&mut self, awaited: &str) -> Value {
        self.messages.recv_timeout(LIMIT).unwrap_or_else(|error| {
            self.process.kill();
            panic!("Chromium said nothing more while {awaited} was awaited: {error}\n{}", self.process.last_lines(20))
        })
    }
}

/// Opens a named pipe, which waits for the other side; a side that never comes ends the test, not the run.
fn opened(open: impl FnOnce() -> std::io::Result<File> + Send + 'static) -> File {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(open()));
    told.recv_timeout(LIMIT).expect("Chromium did not open its pipes").unwrap()
}
