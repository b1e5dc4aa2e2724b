//! haproxy: weighted servers and `http-reuse always`.

use std::net::SocketAddr;

use crate::machine;
use crate::proxies::work::{GREEN_PERCENT, Tuning, UPSTREAMS_KEPT, Work};

/// Its configuration file.
pub fn file(work: &Work<'_>, listener: SocketAddr) -> String {
    let (tune, splice) = match work.tuning {
        Tuning::Small => ("", ""),
        Tuning::Large => ("    tune.bufsize 131072\n", "    option splice-response\n"),
    };
    let log = match work.logged {
        false => "",
        true => "    log stdout format raw local0\n    option httplog\n",
    };
    let tls = work.certificate.map_or(String::new(), |certificate| {
        let both = certificate.both();
        format!(" ssl crt {} alpn h2,http/1.1 ssl-min-ver TLSv1.3", both.display())
    });
    let Work { blue, green, .. } = work;
    let proto = if work.streams { " proto h2" } else { "" };
    format!(
        "global
    nbthread 1
    maxconn {maxconn}
    no strict-limits
{tune}
defaults
    mode http
    timeout client 300s
    timeout server 60s
    timeout connect 1s
    timeout http-keep-alive 300s
    option http-keep-alive
    option forwardfor
{splice}{log}
frontend web
    bind {listener} backlog 4096{tls}
    default_backend shop

backend shop
    http-reuse always
    server blue {blue}{proto} weight {much} pool-max-conn {UPSTREAMS_KEPT}
    server green {green}{proto} weight {GREEN_PERCENT} pool-max-conn {UPSTREAMS_KEPT}
",
        // An idle client holds one file, not the two that haproxy reckons with.
        maxconn = machine::file_limit() / 4 * 3,
        much = 100 - GREEN_PERCENT,
    )
}
