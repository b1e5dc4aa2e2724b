//! nginx: `split_clients` over two upstreams that keep connections, copies by `mirror`.

use std::net::SocketAddr;
use std::path::Path;

use crate::machine;
use crate::proxies::work::{GREEN_PERCENT, Tuning, UPSTREAMS_KEPT, Work};

/// Its configuration file.
pub fn file(work: &Work<'_>, listener: SocketAddr, home: &Path) -> String {
    let home = home.display();
    let buffers = match work.tuning {
        Tuning::Small => "",
        Tuning::Large => {
            "proxy_buffer_size 128k; proxy_buffers 4 128k; proxy_busy_buffers_size 128k;"
        }
    };
    let (tls, certificate) = match work.certificate {
        None => ("", String::new()),
        Some(certificate) => {
            let (chain, key) = (certificate.chain(), certificate.key());
            let files = format!(
                "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;",
                chain.display(),
                key.display()
            );
            (" ssl http2", files)
        }
    };
    let (mirror, shadow) = match work.shadow {
        None => ("", String::new()),
        Some(shadow) => ("mirror /mirror;", mirror_upstream(shadow)),
    };
    let log = match work.logged {
        false => "off".to_owned(),
        true => format!("{home}/access.log combined buffer=64k flush=1s"),
    };
    let pass = if work.streams { PASS_STREAMS } else { PASS };
    let mirror_location = if work.shadow.is_some() { MIRROR_LOCATION } else { "" };
    let Work { blue, green, .. } = work;
    format!(
        "daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {files};
pid {home}/nginx.pid;
error_log {home}/error.log crit;
events {{ worker_connections {connections}; }}
http {{
    access_log {log};
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    client_body_buffer_size 128k;
    tcp_nodelay on;
    upstream blue {{ server {blue}; keepalive {UPSTREAMS_KEPT}; keepalive_requests 1000000000; }}
    upstream green {{ server {green}; keepalive {UPSTREAMS_KEPT}; keepalive_requests 1000000000; }}
    {shadow}
    split_clients $request_id $version {{ {GREEN_PERCENT}% green; * blue; }}
    server {{
        listen {listener}{tls} backlog=4096;
        {certificate}
        location / {{
            {mirror}
            {pass}
            {buffers}
        }}
        {mirror_location}
    }}
}}
",
        files = machine::file_limit(),
        connections = machine::file_limit() / 2 + machine::file_limit() / 4,
    )
}

fn mirror_upstream(shadow: SocketAddr) -> String {
    format!(
        "upstream shadow {{ server {shadow}; keepalive {UPSTREAMS_KEPT}; keepalive_requests 1000000000; }}"
    )
}

const PASS: &str = "proxy_pass http://$version;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";

/// The only way in which it speaks HTTP/2 to an upstream: with a connection for each stream.
const PASS_STREAMS: &str = "grpc_pass grpc://$version;
            grpc_set_header Host $host;
            grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";

const MIRROR_LOCATION: &str = "location = /mirror {
            internal;
            proxy_pass http://shadow$request_uri;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
        }";
