//! A browser, driven as WebDriver says (W3C).

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::{Client, free_port, patiently};

/// The name under which an element comes.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One window at a time: each is a dozen processes.
static TURN: Mutex<()> = Mutex::const_new(());

/// A window of chromium.
pub struct Browser {
    _turn: MutexGuard<'static, ()>,
    driver: Child,
    address: SocketAddr,
    session: String,
}

impl Browser {
    /// Opens one; `None`, said aloud, where there is none. Where `CI` is set there must be.
    pub async fn open() -> Option<Self> {
        let turn = TURN.lock().await;
        let address = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(driver) = driver else {
            assert!(std::env::var_os("CI").is_none(), "chromedriver is not installed");
            eprintln!("SKIPPED: chromedriver is not installed");
            return None;
        };
        let mut browser = Self { _turn: turn, driver, address, session: String::new() };
        patiently("chromedriver listens", async || Client::try_connect(address).await.is_some())
            .await;
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let opened = browser.call("POST", "/session", &wanted).await;
        browser.session = opened["sessionId"].as_str().unwrap().to_owned();
        Some(browser)
    }

    /// One command; its value.
    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut client = Client::connect(self.address).await;
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let answer = client.ask(method, path, &body).await.expect("an answer of chromedriver");
        let value = answer.json()["value"].take();
        assert_eq!(answer.status, 200, "{method} {path} {body}: {value}");
        value
    }

    async fn command(&self, method: &str, path: &str, body: Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), &body).await
    }

    /// Goes to a page.
    pub async fn visit(&self, url: &str) {
        self.command("POST", "/url", json!({ "url": url })).await;
    }

    /// What an expression says in the page.
    pub async fn says(&self, expression: &str) -> Value {
        let script = format!("return {expression};");
        self.command("POST", "/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// The text that the first element of this kind shows; empty when there is none.
    pub async fn text(&self, selector: &str) -> String {
        let found = format!("document.querySelector({})?.innerText ?? ''", json!(selector));
        self.says(&found).await.as_str().unwrap().to_owned()
    }

    /// Waits until an element shows a text.
    pub async fn shows(&self, selector: &str, text: &str) {
        let what = format!("{selector} shows {text}");
        patiently(&what, async || self.text(selector).await.contains(text)).await;
    }

    async fn element(&self, selector: &str) -> String {
        let asked = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "/element", asked).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Presses an element as a user does: it must be there to be seen.
    pub async fn press(&self, selector: &str) {
        let element = self.element(selector).await;
        self.command("POST", &format!("/element/{element}/click"), json!({})).await;
    }

    /// Writes into a field in place of what it holds.
    pub async fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.command("POST", &format!("/element/{element}/clear"), json!({})).await;
        self.command("POST", &format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// What the page complained of, but for answers that are no success.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.command("POST", "/se/log", json!({ "type": "browser" })).await;
        let lines = log.as_array().unwrap().iter();
        let complaints = lines.filter(|line| line["source"] != "network");
        complaints.map(|line| line["message"].to_string()).collect()
    }

    /// Closes it.
    pub async fn close(mut self) {
        self.command("DELETE", "", Value::Null).await;
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
    }
}
