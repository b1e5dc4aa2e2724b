//! The admin API as a client: one request, one answer, over TCP or a unix socket.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// A drain may take minutes; anything longer is a mistake.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where the admin API is and who asks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Admin {
    /// The admin API: a URL, or unix:/path.
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_ADMIN",
        value_name = "URL",
        default_value = "http://127.0.0.1:9900"
    )]
    admin: String,
    /// The token, from the environment only, so that it is in no process list.
    #[arg(long, global = true, env = "TIDEGATE_TOKEN", hide = true, hide_env_values = true)]
    token: Option<String>,
    /// A file that holds the token; without it, TIDEGATE_TOKEN is the token.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Why a change is made; kept with its revision.
    #[arg(long, global = true, value_name = "TEXT")]
    reason: Option<String>,
}

/// Why there is no good answer.
#[derive(Debug)]
pub enum Failure {
    /// The API said no: 1.
    No { status: u16, problem: Value },
    /// It cannot be reached, or what was asked makes no sense: 2.
    Unreachable(String),
}

impl Failure {
    /// Prints it; returns the exit code.
    pub fn report(&self, json: bool) -> u8 {
        match self {
            Self::No { problem, .. } if json => {
                println!("{problem}");
                super::NO
            }
            Self::No { status, problem } => {
                let title = problem["title"].as_str().unwrap_or("the change was refused");
                eprintln!("error: {}", problem["detail"].as_str().unwrap_or(title));
                if let Some(hint) = problem["hint"].as_str() {
                    eprintln!("  hint: {hint}");
                }
                if *status == 401 {
                    eprintln!("  hint: give a token with TIDEGATE_TOKEN or --token-file");
                }
                super::NO
            }
            Self::Unreachable(text) => {
                eprintln!("error: {text}");
                super::USAGE
            }
        }
    }
}

impl Admin {
    /// Asks and waits for the answer's JSON.
    pub fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let call = async {
            let response = self.send(method, path, body).await?;
            let status = response.status().as_u16();
            let bytes = response.into_body().collect().await;
            let bytes = bytes.map_err(|error| unreachable(&self.admin, error))?.to_bytes();
            let text = String::from_utf8_lossy(&bytes);
            let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.as_ref()));
            match status {
                200..=299 => Ok(value),
                _ => Err(Failure::No { status, problem: value }),
            }
        };
        block_on(async {
            let late = || Failure::Unreachable(format!("{} did not answer in time", self.admin));
            tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(late()))
        })
    }

    /// Follows a stream of server-sent events for as long as it lasts and `line`, which is called for
    /// each line, says to go on.
    pub fn follow(&self, path: &str, mut line: impl FnMut(&str) -> bool) -> Result<(), Failure> {
        block_on(async {
            let response = self.send(Method::GET, path, None).await?;
            let status = response.status();
            let mut body = response.into_body();
            if !status.is_success() {
                let bytes =
                    body.collect().await.map_err(|error| unreachable(&self.admin, error))?;
                let problem = serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
                return Err(Failure::No { status: status.as_u16(), problem });
            }
            let mut rest = String::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| unreachable(&self.admin, error))?;
                rest.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap_or(&Bytes::new())));
                while let Some((whole, tail)) = rest.split_once('\n') {
                    if !line(whole) {
                        return Ok(());
                    }
                    rest = tail.to_owned();
                }
            }
            Ok(())
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<http::Response<Incoming>, Failure> {
        let (host, mut sender) = match self.admin.strip_prefix("unix:") {
            Some(path) => {
                let stream = crate::net::connect_unix(path.as_ref()).await;
                let stream = stream.map_err(|error| unreachable(&self.admin, error))?;
                ("localhost".to_owned(), handshake(&self.admin, TokioIo::new(stream)).await?)
            }
            None => {
                let url = self.admin.trim_end_matches('/');
                let host = url.strip_prefix("http://").ok_or_else(|| {
                    Failure::Unreachable(format!("`{url}` is no http:// URL and no unix: path"))
                })?;
                let stream = crate::net::connect_name(host).await;
                let stream = stream.map_err(|error| unreachable(&self.admin, error))?;
                (host.to_owned(), handshake(&self.admin, TokioIo::new(stream)).await?)
            }
        };
        let mut request = Request::builder().method(method).uri(path).header("host", host);
        if let Some(token) = self.token()? {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(reason) = &self.reason {
            request = request.header("x-reason", reason);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| Failure::Unreachable(error.to_string()))?;
        sender.send_request(request).await.map_err(|error| unreachable(&self.admin, error))
    }

    /// The token: a file may hold `name: token` lines; the first is used.
    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else { return Ok(self.token.clone()) };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::Unreachable(format!("cannot read the token in {}: {error}", path.display()))
        })?;
        let line = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let line = line.unwrap_or_default();
        Ok(Some(line.split_once(':').map_or(line, |(_, token)| token).trim().to_owned()))
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Unreachable(error.to_string()))?.block_on(work)
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

async fn handshake<S>(admin: &str, io: TokioIo<S>) -> Result<Sender, Failure>
where
    TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let pair = hyper::client::conn::http1::handshake(io).await;
    let (sender, connection) = pair.map_err(|error| unreachable(admin, error))?;
    tokio::spawn(connection);
    Ok(sender)
}

fn unreachable(admin: &str, error: impl std::fmt::Display) -> Failure {
    Failure::Unreachable(format!(
        "cannot reach the admin API at {admin}: {error}; is tidegate running? (--admin URL)"
    ))
}
