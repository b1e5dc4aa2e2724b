//! Envoy: weighted clusters of static endpoints, copies by `request_mirror_policies`.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::proxies::work::{GREEN_PERCENT, Work};

const TYPES: &str = "type.googleapis.com/envoy.extensions";
/// More than any workload uses: the defaults of 1024 would refuse requests.
const MOST: u32 = 100_000;

/// Its configuration file, as JSON.
pub fn file(work: &Work<'_>, listener: SocketAddr, home: &Path) -> String {
    let mut manager = connection_manager(work);
    if work.logged {
        manager["typed_config"]["access_log"] = json!([{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": format!("{TYPES}.access_loggers.file.v3.FileAccessLog"),
                "path": home.join("access.log"),
            },
        }]);
    }
    let mut chain = json!({ "filters": [manager] });
    if let Some(certificate) = work.certificate {
        chain["transport_socket"] = tls(certificate);
    }
    let mut clusters = vec![cluster("blue", work.blue), cluster("green", work.green)];
    if work.streams {
        clusters.iter_mut().for_each(speak_http2);
    }
    clusters.extend(work.shadow.map(|shadow| cluster("shadow", shadow)));
    let listener = json!({
        "name": "web",
        "address": address(listener),
        "tcp_backlog_size": 4096,
        "filter_chains": [chain],
    });
    json!({ "static_resources": { "listeners": [listener], "clusters": clusters } }).to_string()
}

fn connection_manager(work: &Work<'_>) -> Value {
    let split = json!({ "clusters": [
        { "name": "blue", "weight": 100 - GREEN_PERCENT },
        { "name": "green", "weight": GREEN_PERCENT },
    ] });
    let mut route = json!({ "weighted_clusters": split, "timeout": "60s" });
    if work.shadow.is_some() {
        route["request_mirror_policies"] = json!([{ "cluster": "shadow" }]);
    }
    let router = format!("{TYPES}.filters.http.router.v3.Router");
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": format!(
                "{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
            ),
            "stat_prefix": "web",
            "use_remote_address": true,
            "common_http_protocol_options": { "idle_timeout": "300s" },
            "route_config": { "virtual_hosts": [{
                "name": "shop",
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": route }],
            }] },
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": router },
            }],
        },
    })
}

fn tls(certificate: &Certificate) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": format!("{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_3",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificates": [{
                    "certificate_chain": { "filename": certificate.chain() },
                    "private_key": { "filename": certificate.key() },
                }],
            },
        },
    })
}

fn cluster(name: &str, endpoint: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": { "thresholds": [{
            "max_connections": MOST, "max_pending_requests": MOST, "max_requests": MOST,
        }] },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(endpoint) } }] }],
        },
    })
}

fn speak_http2(cluster: &mut Value) {
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": { "http2_protocol_options": {} },
        },
    });
}

fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}
