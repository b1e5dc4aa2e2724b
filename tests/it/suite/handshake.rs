//! Runs the table of handshakes: what a client begins with, and what comes of it.

use futures_util::future::join_all;
use rustls::SupportedProtocolVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;
use super::case::{Level, expand};
use super::message::latin;
use super::score::{Score, Way};
use crate::rig::{Client, Identity, Rig, says, shake};

/// What comes of a beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// A request for the host is answered with this status.
    Answer(u16),
    /// This protocol is agreed on.
    Agreed(&'static str),
    /// The connection ends without a byte of HTTP.
    Nothing,
}

/// How a client begins.
#[derive(Debug, Clone, Copy)]
enum Begins {
    Hello {
        name: Option<&'static str>,
        host: &'static str,
        alpn: &'static [&'static [u8]],
        versions: &'static [&'static SupportedProtocolVersion],
    },
    Bytes(&'static str),
}

/// A row.
#[derive(Debug, Clone, Copy)]
pub struct HandshakeCase {
    name: &'static str,
    level: Level,
    begins: Begins,
    came: Came,
}

/// A handshake for `name`, then a request for `host`.
pub const fn shakes(
    name: &'static str,
    sni: Option<&'static str>,
    host: &'static str,
    came: Came,
) -> HandshakeCase {
    let begins = Begins::Hello { name: sni, host, alpn: &[], versions: rustls::DEFAULT_VERSIONS };
    HandshakeCase { name, level: Level::Must, begins, came }
}

/// Bytes that are no handshake, or not all of one.
pub const fn raw(name: &'static str, bytes: &'static str) -> HandshakeCase {
    HandshakeCase { name, level: Level::Must, begins: Begins::Bytes(bytes), came: Came::Nothing }
}

impl HandshakeCase {
    pub const fn should(self) -> Self {
        Self { level: Level::Should, ..self }
    }

    pub const fn offers(mut self, offered: &'static [&'static [u8]]) -> Self {
        if let Begins::Hello { ref mut alpn, .. } = self.begins {
            *alpn = offered;
        }
        self
    }

    pub const fn by(mut self, spoken: &'static [&'static SupportedProtocolVersion]) -> Self {
        if let Begins::Hello { ref mut versions, .. } = self.begins {
            *versions = spoken;
        }
        self
    }
}

/// Runs the table.
pub async fn run(cases: &'static [HandshakeCase]) -> Score {
    let certs = "tls = { certs = [{ cert = \"a.pem\", key = \"a.key\" }, \
                 { cert = \"b.pem\", key = \"b.key\" }] }\nlimits.handshake_timeout = \"1s\"";
    let rig = Rig::build()
        .version("blue", says("blue"))
        .identity("a", &Identity::of(&["a.test", "*.wild.test"]))
        .identity("b", &Identity::of(&["b.test"]))
        .listener(certs)
        .start()
        .await;
    let mut score = Score::new("tls", Way::Tls);
    let came = join_all(cases.iter().map(|case| async {
        let began = tokio::time::timeout(PATIENCE, begin(&rig, case));
        began.await.unwrap_or_else(|_| Err("it never ended".into()))
    }));
    for (case, came) in cases.iter().zip(came.await) {
        let failure = (came != Ok(case.came)).then(|| {
            let HandshakeCase { name, level, begins, .. } = case;
            format!("[tls] {name:?} ({level:?}, {begins:?}): {came:?}, not {:?}\n", case.came)
        });
        score.count(case.level, failure);
    }
    rig.finish().await;
    score
}

async fn begin(rig: &Rig, case: &HandshakeCase) -> Result<Came, String> {
    let (name, host, alpn, versions) = match case.begins {
        Begins::Hello { name, host, alpn, versions } => (name, host, alpn, versions),
        Begins::Bytes(bytes) => {
            let mut stream = TcpStream::connect(rig.web).await.unwrap();
            // It may be refused before it was all read.
            let _ = stream.write_all(&expand(bytes, 0)).await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            let rest = latin(&rest);
            return if rest.contains("HTTP") { Err(rest) } else { Ok(Came::Nothing) };
        }
    };
    let Ok(stream) = shake(rig.web, name, alpn, versions).await else { return Ok(Came::Nothing) };
    if let Came::Agreed(protocol) = case.came {
        let agreed = stream.get_ref().1.alpn_protocol();
        return match agreed == Some(protocol.as_bytes()) {
            true => Ok(case.came),
            false => Err(format!("agreed on {:?}", agreed.map(latin))),
        };
    }
    let mut client = Client::over(stream, host);
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
    Ok(client.try_answer("GET").await.map_or(Came::Nothing, |answer| Came::Answer(answer.status)))
}
