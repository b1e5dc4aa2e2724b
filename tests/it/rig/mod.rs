//! A proxy with scripted versions behind it, its clients and its admin API.

pub mod binary;
mod browser;
mod client;
mod h2;
mod tls;
mod version;

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tidegate::app::App;

pub use self::browser::Browser;
pub use self::client::{Answer, Client};
pub use self::h2::{H2Client, H2Version, fed, text};
pub use self::tls::{Authority, Identity, Visitor, connect_tls, shake};
pub use self::version::{Script, Version, says};

/// Nothing in a test takes as long as this, on a slow and busy machine either; waiting longer is a
/// failure with a name.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running proxy and what is around it.
pub struct Rig {
    app: Option<App>,
    pub web: SocketAddr,
    pub admin: SocketAddr,
    pub place: tempfile::TempDir,
    folder: bool,
    versions: Vec<(String, Version)>,
}

/// What a rig is made of.
pub struct Builder {
    versions: Vec<(String, Version)>,
    /// Every endpoint by its version, in order.
    endpoints: Vec<(String, SocketAddr)>,
    weights: String,
    service: String,
    rest: String,
    version_keys: String,
    listener: String,
    server: String,
    files: Vec<(String, String)>,
    folder: bool,
}

impl Rig {
    /// A service `shop` with no versions yet.
    pub fn build() -> Builder {
        Builder {
            versions: Vec::new(),
            endpoints: Vec::new(),
            weights: String::new(),
            service: String::new(),
            rest: String::new(),
            version_keys: String::new(),
            listener: String::new(),
            server: String::new(),
            files: Vec::new(),
            folder: false,
        }
    }

    /// The usual one: blue has everything, green stands by.
    pub async fn blue_green() -> Self {
        Self::build()
            .version("blue", says("blue"))
            .version("green", says("green"))
            .weights("blue = 100, green = 0")
            .start()
            .await
    }

    /// The configuration file, or the folder.
    pub fn config(&self) -> PathBuf {
        self.place.path().join(if self.folder { "conf.d" } else { "tidegate.toml" })
    }

    fn choose_other_ports(&mut self) {
        let old = [self.web, self.admin].map(|address| format!("\"{address}\""));
        (self.web, self.admin) = (free_port(), free_port());
        let file = if self.folder { self.config().join("base.toml") } else { self.config() };
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace(&old[0], &format!("\"{}\"", self.web));
        std::fs::write(file, text.replace(&old[1], &format!("\"{}\"", self.admin))).unwrap();
    }

    /// Rewrites the configuration in place.
    pub fn edit(&self, edit: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        std::fs::write(self.config(), edit(text)).unwrap();
    }

    /// A scripted version by name.
    pub fn version(&self, name: &str) -> &Version {
        &self.versions.iter().find(|(other, _)| other == name).expect("a version of the rig").1
    }

    /// A new client connection.
    pub async fn client(&self) -> Client {
        Client::connect(self.web).await
    }

    /// One GET over a connection of its own.
    pub async fn get(&self, path: &str) -> Answer {
        self.client().await.get(path).await
    }

    /// Asks the admin API; the status and the JSON.
    pub async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.admin_raw(method, path, body, "").await;
        (answer.status, answer.json())
    }

    /// Asks the admin API with further field lines, each ended by CRLF.
    pub async fn admin_raw(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        fields: &str,
    ) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{fields}\r\n{body}",
            self.admin,
            body.len()
        );
        let mut client = Client::connect(self.admin).await;
        client.send(request.as_bytes()).await;
        client.answer(method).await
    }

    /// A change that must be accepted; its answer.
    pub async fn change(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.admin(method, path, Some(body)).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// Moves everything to a version.
    pub async fn cutover(&self, to: &str) -> Value {
        let path = "/v1/services/shop/cutover";
        self.change("POST", path, serde_json::json!({ "to": to })).await
    }

    /// The service as the API shows it.
    pub async fn shop(&self) -> Value {
        self.admin("GET", "/v1/services/shop", None).await.1
    }

    /// A scrape.
    pub async fn metrics(&self) -> String {
        self.admin_raw("GET", "/metrics", None, "").await.text()
    }

    /// The sum of all series of a metric whose labels hold all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics().await;
        let series = text.lines().filter(|line| {
            line.starts_with(name)
                && line[name.len()..].starts_with(['{', ' '])
                && labels.iter().all(|label| line.contains(label))
        });
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until something holds.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl FnMut() -> F) {
        patiently(what, holds).await;
    }

    /// Ends the proxy and starts it again over the same files.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.app = Some(App::start(&self.config(), |_| None).await.expect("a restart"));
    }

    /// Ends the proxy.
    pub async fn stop(&mut self) {
        if let Some(app) = self.app.take() {
            assert!(app.shutdown().await, "requests were cut off");
        }
    }

    /// Ends the rig: everything in flight is done and nothing was cut off.
    pub async fn finish(mut self) {
        let (_, status) = self.admin("GET", "/v1/services/shop", None).await;
        for (name, version) in status["versions"].as_object().into_iter().flatten() {
            for endpoint in version["endpoints"].as_array().into_iter().flatten() {
                assert_eq!(endpoint["in_flight"], 0, "{name} has requests in flight at the end");
            }
        }
        self.stop().await;
    }
}

impl Builder {
    /// A version behind the proxy.
    pub fn version(mut self, name: &str, script: Script) -> Self {
        let version = Version::start(script);
        self.endpoints.push((name.to_owned(), version.address));
        self.versions.push((name.to_owned(), version));
        self
    }

    /// A version whose endpoint the test keeps itself.
    pub fn at(mut self, name: &str, address: SocketAddr) -> Self {
        self.endpoints.push((name.to_owned(), address));
        self
    }

    /// A version with several endpoints, named `NAME/0`, `NAME/1` in the rig.
    pub fn endpoints(mut self, name: &str, scripts: Vec<Script>) -> Self {
        for (place, script) in scripts.into_iter().enumerate() {
            let version = Version::start(script);
            self.endpoints.push((name.to_owned(), version.address));
            self.versions.push((format!("{name}/{place}"), version));
        }
        self
    }

    /// The weights, as in TOML.
    pub fn weights(mut self, weights: &str) -> Self {
        self.weights = weights.to_owned();
        self
    }

    /// More keys of the service.
    pub fn service(mut self, keys: &str) -> Self {
        writeln!(self.service, "{keys}").unwrap();
        self
    }

    /// More tables of the service or of the file, behind the versions.
    pub fn tables(mut self, tables: &str) -> Self {
        writeln!(self.rest, "{tables}").unwrap();
        self
    }

    /// More keys of every version.
    pub fn each_version(mut self, keys: &str) -> Self {
        writeln!(self.version_keys, "{keys}").unwrap();
        self
    }

    /// More keys of the listener.
    pub fn listener(mut self, keys: &str) -> Self {
        writeln!(self.listener, "{keys}").unwrap();
        self
    }

    /// More keys of `[server]`.
    pub fn server(mut self, keys: &str) -> Self {
        writeln!(self.server, "{keys}").unwrap();
        self
    }

    /// A file beside the configuration.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// A certificate and its key beside the configuration: `NAME.pem` and `NAME.key`.
    pub fn identity(self, name: &str, identity: &Identity) -> Self {
        self.file(&format!("{name}.pem"), &identity.cert)
            .file(&format!("{name}.key"), &identity.key)
    }

    /// As a folder: the routes in `conf.d/routes.toml`, all else in `conf.d/base.toml`.
    pub fn folder(mut self) -> Self {
        self.folder = true;
        self
    }

    /// Starts the proxy.
    pub async fn start(self) -> Rig {
        let (web, admin) = (free_port(), free_port());
        let place = tempfile::tempdir().unwrap();
        let mut text = format!(
            "[server]\nworkers = 2\n{}[admin]\naddress = \"{admin}\"\n[log]\naccess = false\nlevel = \"off\"\n\
             [[listener]]\nname = \"web\"\naddress = \"{web}\"\n{}[service.shop]\n",
            self.server, self.listener
        );
        if !self.weights.is_empty() {
            writeln!(text, "weights = {{ {} }}", self.weights).unwrap();
        }
        text += &self.service;
        let mut names: Vec<&str> = self.endpoints.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        for name in names {
            let of_it = self.endpoints.iter().filter(|(other, _)| other == name);
            let endpoints: Vec<_> = of_it.map(|(_, address)| format!("\"{address}\"")).collect();
            writeln!(text, "[service.shop.version.{name}]\nendpoints = [{}]", endpoints.join(", "))
                .unwrap();
            text += &self.version_keys;
        }
        text += &self.rest;
        if !text.contains("[[route]]") {
            text += "[[route]]\nname = \"all\"\nservice = \"shop\"\n";
        }
        let (folder, write) = (self.folder, std::fs::write::<PathBuf, &str>);
        if folder {
            let (base, routes) = text.split_at(text.find("[[route]]").unwrap());
            std::fs::create_dir(place.path().join("conf.d")).unwrap();
            write(place.path().join("conf.d/base.toml"), base).unwrap();
            write(place.path().join("conf.d/routes.toml"), routes).unwrap();
        } else {
            write(place.path().join("tidegate.toml"), &text).unwrap();
        }
        for (name, text) in &self.files {
            std::fs::write(place.path().join(name), text).unwrap();
        }
        let mut rig = Rig { app: None, web, admin, place, folder, versions: self.versions };
        let mut tries = 0;
        while rig.app.is_none() {
            match App::start(&rig.config(), |_| None).await {
                Ok(app) => rig.app = Some(app),
                // Somebody else was given the port in between.
                Err(error) if error.to_string().contains("cannot listen") && tries < 5 => {
                    tries += 1;
                    rig.choose_other_ports();
                }
                Err(error) => panic!("{error}"),
            }
        }
        rig
    }
}

/// Waits until something holds.
pub async fn patiently<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "never came true: {what}");
}

/// A port that nobody listens on, and that no other caller is given.
///
/// Below the range from which systems take the ports of outgoing connections and of listeners on
/// port 0: one of those could otherwise be given the port before it is used.
pub fn free_port() -> SocketAddr {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that run side by side begin at different places.
    let begin = std::process::id().wrapping_mul(61);
    loop {
        let place = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + place).unwrap();
        if let Ok(socket) = TcpListener::bind(("127.0.0.1", port)) {
            return socket.local_addr().unwrap();
        }
    }
}
