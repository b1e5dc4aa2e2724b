//! The sections `[[listener]]`: addresses, certificates, limits.

use std::path::PathBuf;

use super::error::{Held, Place, Problem};
use super::read::Section;
use super::reference::{CERT, CLIENTS, LIMITS, LISTENER, LISTENER_TLS};
use super::value;
use crate::limits::{CERTIFICATES_MAX, READ_BUFFER_BYTES};
use crate::name::ListenerName;
use crate::plan::{CertPlan, ClientCertsPlan, ListenerLimits, ListenerPlan, ListenerTls};

/// A listener, with what cross checks point at.
#[derive(Debug)]
pub(super) struct ReadListener {
    pub plan: ListenerPlan,
    pub path: String,
    pub name: Place,
    pub address: Place,
}

/// Reads every `[[listener]]`; those with errors are left out.
pub(super) fn read_all(root: &Section<'_>) -> Vec<ReadListener> {
    let tables = root.tables("listener").into_iter().enumerate();
    let read = tables.map(|(index, (place, table))| {
        let default = format!("listener-{}", index + 1);
        let written = table.get("name").and_then(|node| node.as_text());
        let path = super::read::join("listener", written.unwrap_or(&default));
        read_one(Section::open(root.context, path, place, Some(table), LISTENER), &default)
    });
    read.collect::<Vec<_>>().into_iter().flatten().collect()
}

fn read_one(section: Section<'_>, default_name: &str) -> Option<ReadListener> {
    let name = match section.node("name") {
        Some(_) => section.optional("name", value::name),
        None => ListenerName::new(default_name).ok(),
    };
    let address = section.required("address", value::socket_address);
    let tls = section.optional_section("tls", LISTENER_TLS);
    let has_tls = tls.is_some();
    let tls = tls.and_then(|tls| read_tls(&tls));
    let limits = read_limits(&section.section("limits", LIMITS));
    let proxy_protocol = section.value("proxy_protocol", value::boolean);
    let h2c = section.value("h2c", value::boolean);
    if has_tls && h2c {
        let problem = Problem::new("an encrypted listener agrees on HTTP/2 in its handshake");
        section.error("h2c", problem.help("take `h2c` out"));
    }
    if has_tls && tls.is_none() {
        return None;
    }
    Some(ReadListener {
        plan: ListenerPlan { name: name?, address: address?, tls, proxy_protocol, h2c, limits },
        name: section.place_of("name"),
        address: section.place_of("address"),
        path: section.path.clone(),
    })
}

fn read_tls(section: &Section<'_>) -> Option<ListenerTls> {
    let strict_host = section.value("strict_host", value::boolean);
    let clients = section.optional_section("clients", CLIENTS);
    let has_clients = clients.is_some();
    let clients = clients.and_then(|clients| read_clients(&clients));
    let certs = read_certs(section)?;
    (has_clients == clients.is_some()).then_some(ListenerTls { certs, clients, strict_host })
}

fn read_clients(section: &Section<'_>) -> Option<ClientCertsPlan> {
    const MODES: [(&str, bool); 2] = [("required", true), ("optional", false)];
    let required = section.value("mode", value::word(&MODES));
    let crl = section.file_of("crl", Held::RevocationLists);
    Some(ClientCertsPlan { ca: required_file(section, "ca")?, crl, required })
}

fn read_certs(section: &Section<'_>) -> Option<Vec<CertPlan>> {
    const HELP: &str = "write `{ cert = \"shop.pem\", key = \"shop.key\" }`";
    let single = cert(section, section.readable_file("cert"), section.readable_file("key"));
    let tables = section.tables("certs");
    let has = |key| section.node(key).is_some();
    if has("certs") && (has("cert") || has("key") || has("ocsp")) {
        let problem = Problem::new("has both `certs` and a single `cert` and `key`");
        section.error("certs", problem.help("put the single one into `certs`, first"));
        return None;
    }
    if !has("certs") {
        if !(has("cert") && has("key")) {
            let missing = if has("cert") { "key" } else { "cert" };
            let problem = Problem::new(format!("`{missing}` is missing")).help(HELP);
            section.context.findings.error(section.place, &section.path, problem);
        }
        return Some(vec![single?]);
    }
    if section.is_empty_list("certs") {
        section.error("certs", Problem::new("there is no certificate").help(HELP));
    } else if tables.len() > CERTIFICATES_MAX {
        let problem = Problem::new(format!("{} certificates are too many", tables.len()));
        section.error("certs", problem.help(format!("use at most {CERTIFICATES_MAX}")));
    }
    let certs = tables.into_iter().map(|(place, table)| {
        let path = section.path_of("certs");
        let section = Section::open(section.context, path, place, Some(table), CERT);
        cert(&section, required_file(&section, "cert"), required_file(&section, "key"))
    });
    certs.collect::<Vec<_>>().into_iter().collect()
}

fn required_file(section: &Section<'_>, key: &'static str) -> Option<PathBuf> {
    section.required(key, value::path)?;
    section.readable_file(key)
}

fn cert(section: &Section<'_>, cert: Option<PathBuf>, key: Option<PathBuf>) -> Option<CertPlan> {
    let ocsp = section.readable_file("ocsp");
    Some(CertPlan { cert: cert?, key: key?, ocsp })
}

fn read_limits(section: &Section<'_>) -> ListenerLimits {
    let header_bytes = 1024..=READ_BUFFER_BYTES as u64;
    ListenerLimits {
        header_timeout: section.value("header_timeout", value::duration),
        body_timeout: section.value("body_timeout", value::duration),
        idle_timeout: section.value("idle_timeout", value::duration),
        send_timeout: section.value("send_timeout", value::duration),
        handshake_timeout: section.value("handshake_timeout", value::duration),
        max_header_bytes: section.value("max_header_bytes", value::size(header_bytes)) as usize,
        max_headers: section.value("max_headers", value::whole(1..=10_000)),
        max_body: section.value("max_body", value::size_or_unlimited),
        max_connections: section.value("max_connections", value::whole(1..=10_000_000)),
        max_connections_per_client: section
            .optional("max_connections_per_client", value::whole(1..=10_000_000)),
        max_handshakes: section.value("max_handshakes", value::whole(1..=1_000_000)),
    }
}
