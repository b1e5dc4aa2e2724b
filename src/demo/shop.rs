//! The sample shop: an upstream in three versions. `next` has a bug that only a comparison finds.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::net;

/// The shop's versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Blue,
    Green,
    Next,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
            Self::Next => "next",
        }
    }

    /// How long it thinks.
    fn pause(self) -> Duration {
        match self {
            Self::Blue | Self::Next => Duration::from_millis(4),
            Self::Green => Duration::from_millis(3),
        }
    }
}

/// Serves a version on a free port.
pub async fn start(version: Version) -> std::io::Result<SocketAddr> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut sockets = net::bind(address, 1)?;
    let listener = net::listen(sockets.remove(0))?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = net::accept(&listener).await {
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(version, request));
                let io = TokioIo::new(stream);
                // A shopper who leaves is no error of the shop.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    Ok(address)
}

async fn answer(
    version: Version,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let body = match path {
        "/health/ready" => r#"{"status":"ok"}"#.to_owned(),
        _ => {
            tokio::time::sleep(version.pause()).await;
            item(version, path)
        }
    };
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(Full::new(body.into())).unwrap_or_default())
}

/// A product as JSON. The bug: `next` rounds prices of products whose number ends in 7.
fn item(version: Version, path: &str) -> String {
    let number: u64 = path.rsplit('/').next().and_then(|last| last.parse().ok()).unwrap_or(1);
    let cents = 999 + number * 37 % 5000;
    let bug = version == Version::Next && number % 10 == 7;
    let cents = if bug { cents / 100 * 100 } else { cents };
    format!(
        "{{\"id\":{number},\"name\":\"Product {number}\",\"price\":{}.{:02},\"served_by\":\"{}\"}}\n",
        cents / 100,
        cents % 100,
        version.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bug_is_in_next_alone() {
        let price = |version, path| item(version, path).split(',').nth(2).map(str::to_owned);
        assert_eq!(price(Version::Blue, "/products/7"), price(Version::Green, "/products/7"));
        assert_ne!(price(Version::Blue, "/products/7"), price(Version::Next, "/products/7"));
        assert_eq!(price(Version::Blue, "/products/8"), price(Version::Next, "/products/8"));
    }
}
