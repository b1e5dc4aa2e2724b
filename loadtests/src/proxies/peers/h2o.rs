//! h2o. It cannot divide by weight, so everything goes to blue.

use std::net::SocketAddr;
use std::path::Path;

use crate::proxies::work::Work;

/// Its configuration file.
pub fn file(work: &Work<'_>, listener: SocketAddr, home: &Path) -> String {
    let tls = work.certificate.map_or(String::new(), |certificate| {
        let (chain, key) = (certificate.chain(), certificate.key());
        format!(
            "  ssl:\n    certificate-file: {}\n    key-file: {}\n",
            chain.display(),
            key.display()
        )
    });
    let log = match work.logged {
        false => String::new(),
        true => format!("access-log: {}/access.log\n", home.display()),
    };
    format!(
        "user: root
pid-file: {home}/h2o.pid
error-log: {home}/error.log
{log}\
num-threads: 1
max-connections: 60000
http1-request-timeout: 300
http2-idle-timeout: 300
listen:
  host: {ip}
  port: {port}
{tls}hosts:
  default:
    paths:
      /:
        proxy.reverse.url: http://{blue}/
        proxy.preserve-host: ON
        proxy.timeout.keepalive: 60000
",
        home = home.display(),
        ip = listener.ip(),
        port = listener.port(),
        blue = work.blue,
    )
}
