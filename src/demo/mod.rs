//! The first minute: a proxy, a sample shop in two versions, a shadow with a planted bug, and live
//! traffic, in one process and without a file to write.

mod shop;
mod traffic;
mod view;

use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::clock;

use self::shop::Version;
use self::traffic::Tally;

/// The ports that the docs name; others are taken when these are not free.
const WEB_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9900;

/// Runs the demo, for `seconds` or until Ctrl-C; returns the exit code.
pub fn run(seconds: Option<u64>) -> u8 {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let outcome = runtime.block_on(play(seconds));
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            eprintln!("error: {error}");
            1
        }
    }
}

async fn play(seconds: Option<u64>) -> Result<bool, String> {
    let place = Place::make()?;
    let web = free_port(WEB_PORT)?;
    let admin = free_port(ADMIN_PORT)?;
    let blue = shop::start(Version::Blue).await.map_err(|error| error.to_string())?;
    let green = shop::start(Version::Green).await.map_err(|error| error.to_string())?;
    let next = shop::start(Version::Next).await.map_err(|error| error.to_string())?;
    let config = place.0.join("tidegate.toml");
    let text = configuration(web, admin, [blue, green, next]);
    std::fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
    let app = App::start(&config, |_| None).await.map_err(|error| error.to_string())?;
    let control = app.control().clone();
    let tally = Arc::new(Tally::default());
    let shoppers = traffic::start(web, tally.clone());
    let on_terminal = std::io::stdout().is_terminal();
    anstream::print!("{}", view::welcome(web, admin, &config));
    let until = seconds.map(|seconds| clock::now() + Duration::from_secs(seconds));
    let mut screen = view::Screen::new(on_terminal);
    let mut tick =
        tokio::time::interval(Duration::from_millis(if on_terminal { 500 } else { 5000 }));
    let ended = async {
        loop {
            tick.tick().await;
            screen.show(&view::live(&control, app.telemetry(), &tally).await);
            if until.is_some_and(|until| clock::now() >= until) {
                return;
            }
        }
    };
    let limit = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = ended => {}
        () = limit => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    shoppers.stop().await;
    let last = view::live(&control, app.telemetry(), &tally).await;
    screen.show(&last);
    let drained = app.shutdown().await;
    anstream::print!("{}", view::farewell(&tally));
    Ok(drained && tally.failed() == 0)
}

/// A directory that goes away with the demo.
struct Place(PathBuf);

impl Place {
    fn make() -> Result<Self, String> {
        let name = format!("tidegate-demo-{}-{:x}", std::process::id(), clock::seed());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn free_port(wanted: u16) -> Result<SocketAddr, String> {
    let try_port = |port: u16| TcpListener::bind(("127.0.0.1", port)).and_then(|s| s.local_addr());
    try_port(wanted).or_else(|_| try_port(0)).map_err(|error| format!("no free port: {error}"))
}

fn configuration(
    web: SocketAddr,
    admin: SocketAddr,
    [blue, green, next]: [SocketAddr; 3],
) -> String {
    format!(
        r#"# The demo's configuration. Edit it while the demo runs: a valid edit is live in a second.

[admin]
address = "{admin}"

[log]
level = "error"
access = false

[[listener]]
name = "web"
address = "{web}"

[service.shop]
weights = {{ blue = 90, green = 10 }}
sticky = {{ cookie = "tg_shop" }}

[service.shop.version.blue]
endpoints = ["{blue}"]
health = {{ path = "/health/ready", interval = "1s" }}

[service.shop.version.green]
endpoints = ["{green}"]
health = {{ path = "/health/ready", interval = "1s" }}

[service.shop.version.next]
endpoints = ["{next}"]
health = {{ path = "/health/ready", interval = "1s" }}

# Testers choose a version by a header.
[[service.shop.pin]]
headers = {{ x-canary = "true" }}
version = "green"

# `tidegate rollout shop start` goes to green in steps, unless green does worse than blue.
[service.shop.rollout]
to = "green"
steps = [25, 50, 100]
step_duration = "10s"
advance = "not_regressed"

# Copies of all requests go to `next`, whose answers are compared and thrown away.
[service.shop.shadow]
version = "next"
percent = 100.0
compare = {{ ignore = ["body:/served_by"] }}

[[route]]
name = "shop"
path = "/"
service = "shop"
"#
    )
}
