//! Caddy: `weighted_round_robin` over two upstreams.

use std::net::SocketAddr;
use std::path::Path;

use crate::proxies::work::{GREEN_PERCENT, UPSTREAMS_KEPT, Work};

/// Its configuration file.
pub fn file(work: &Work<'_>, listener: SocketAddr, home: &Path) -> String {
    let (scheme, tls) = match work.certificate {
        None => ("http", String::new()),
        Some(certificate) => {
            let (chain, key) = (certificate.chain(), certificate.key());
            let files = format!("tls {} {}", chain.display(), key.display());
            ("https", format!("{files} {{\n        protocols tls1.3\n    }}"))
        }
    };
    let log = match work.logged {
        false => String::new(),
        true => format!("log {{\n        output file {}/access.log\n    }}", home.display()),
    };
    let Work { blue, green, .. } = work;
    let upstream = if work.streams { "h2c://" } else { "" };
    format!(
        "{{
    admin off
    auto_https off
    persist_config off
    storage file_system {home}/storage
    servers {{
        protocols h1 h2
        timeouts {{
            idle 5m
        }}
    }}
}}
{scheme}://:{port} {{
    bind {ip}
    {tls}
    {log}
    reverse_proxy {upstream}{blue} {upstream}{green} {{
        lb_policy weighted_round_robin {much} {GREEN_PERCENT}
        transport http {{
            keepalive_idle_conns_per_host {UPSTREAMS_KEPT}
        }}
    }}
}}
",
        home = home.display(),
        port = listener.port(),
        ip = listener.ip(),
        much = 100 - GREEN_PERCENT,
    )
}
