//! Every key of the configuration, declared once: its type, its default, its meaning.
//!
//! The reader takes keys only through these declarations and reads defaults from them, so that
//! `docs/config-reference.md`, which is written from here, cannot tell anything else than what the
//! program does.

use std::fmt::Write as _;

/// A section of the file and its keys.
#[derive(Debug)]
pub(super) struct About {
    /// As it is written: `service.NAME.shadow`.
    pub title: &'static str,
    pub meaning: &'static str,
    pub keys: &'static [Key],
}

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: &'static str,
    pub default: Absent,
    pub meaning: &'static str,
}

/// What holds when a key is left out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Absent {
    /// It may not be left out.
    Required,
    /// What the words say.
    Words(&'static str),
    /// This value, in TOML.
    Is(&'static str),
}

use Absent::{Is, Required, Words};

impl About {
    /// The declaration of a key.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

macro_rules! sections {
    ($($about:ident $title:literal $text:literal {
        $($name:literal $kind:literal $default:expr => $meaning:literal;)*
    })*) => {
        $(
            pub(super) const $about: &About = &About {
                title: $title,
                meaning: $text,
                keys: &[$(
                    Key { name: $name, kind: $kind, default: $default, meaning: $meaning }
                ),*],
            };
        )*
        /// Every section, in the order of the reference.
        pub(super) const ALL: &[&About] = &[$($about),*];
    };
}

const SECTION: Absent = Words("the defaults of its keys");

sections! {
    ROOT "top level"
        "The sections of a file. A directory of `*.toml` files is read as one: sections are \
         merged, `[[…]]` are appended in the order of file names." {
        "server" "section" SECTION => "The process.";
        "admin" "section" SECTION => "The admin API.";
        "state" "section" SECTION => "Where the history of revisions lives.";
        "log" "section" SECTION => "The log.";
        "metrics" "section" SECTION => "The metrics.";
        "listener" "sections" Words("none, with a warning")
            => "Addresses that clients connect to: `[[listener]]`.";
        "service" "sections by name" Words("none")
            => "What requests are sent to: `[service.NAME]`.";
        "route" "sections" Words("none, with a warning")
            => "Which requests go to which service: `[[route]]`.";
    }
    SERVER "server" "The process." {
        "workers" "whole number, 1 to 1024" Words("available cores")
            => "Threads that serve requests.";
        "shutdown_grace" "duration" Is(r#""30s""#)
            => "After SIGTERM: what is in flight may finish for this long.";
        "trusted_proxies" "list of networks" Is("[]") => "Whose `X-Forwarded-For` is believed.";
        "version_header" "boolean" Is("true") => "Whether responses carry `X-Tidegate-Version`.";
        "forwarded" "boolean" Is("false")
            => "Whether upstreams are told of the client by `Forwarded` (RFC 7239) as well.";
        "max_buffered" "size or `unlimited`" Is(r#""2GiB""#)
            => "What clients and upstreams have sent and the other side has not taken may fill so much \
                memory, over all workers in equal shares. While it is full, new requests are answered \
                with 503.";
    }
    ADMIN "admin" "The admin API, the metrics and the dashboard." {
        "address" "socket address" Is(r#""127.0.0.1:9900""#)
            => "Where it listens. An address that is not loopback requires `token_file`.";
        "token_file" "file" Words("no token is asked for") => "One `name: token` a line.";
        "socket" "file" Words("none") => "A unix socket to listen on as well.";
    }
    STATE "state" "The history of revisions." {
        "dir" "directory" Is(r#""state""#) => "Where it is kept. Made when it is missing.";
        "etcd" "section" Words("none")
            => "For fleets. Not supported by this release: setting it is an error.";
    }
    LOG "log" "The log, on standard error, and the access log, on standard output." {
        "format" "`json` or `text`" Is(r#""json""#) => "How lines look.";
        "level" "`error`, `warn`, `info`, `debug`, `trace` or `off`" Is(r#""info""#)
            => "How much is told. A release has nothing more to tell at `trace` than at `debug`.";
        "access" "boolean" Is("true") => "Whether every request is logged.";
    }
    METRICS "metrics" "The metrics." {
        "duration_buckets" "list of durations, ascending" Is(concat!(
            r#"["1ms", "2.5ms", "5ms", "10ms", "25ms", "50ms", "75ms", "100ms", "#,
            r#""250ms", "500ms", "750ms", "1s", "2.5s", "5s", "7.5s", "10s"]"#,
        ))
            => "Upper bounds of the buckets of duration histograms.";
    }
    LISTENER "[listener]" "An address that clients connect to." {
        "name" "name" Words("`listener-N`, by its place") => "Its name in metrics and logs.";
        "address" "socket address" Required => "Where it listens.";
        "tls" "section" Words("plain HTTP")
            => "Certificates: `{ cert, key }` for one, `{ certs = […] }` for several.";
        "proxy_protocol" "boolean" Is("false")
            => "Whether `server.trusted_proxies` begin their connections with a PROXY header, \
                version 1 or 2, that tells the client's address; it is required of them and \
                believed from nobody else.";
        "h2c" "boolean" Is("false")
            => "Whether a plain connection may begin with HTTP/2 (prior knowledge).";
        "limits" "section" SECTION => "What its clients may do.";
    }
    LISTENER_TLS "listener.tls"
        "The certificates of a listener: either `cert` and `key`, or `certs`. They are read \
         again when the files change." {
        "cert" "file" Words("none") => "The certificate chain, PEM.";
        "key" "file" Words("none") => "The private key, PEM.";
        "ocsp" "file" Words("none") => "An OCSP response for the certificate, DER, that is stapled to it.";
        "certs" "list of sections" Words("none")
            => "Several of `{ cert, key }`, chosen by SNI; the first is the default.";
        "clients" "section" Words("clients show none") => "Whether clients show certificates too.";
        "strict_host" "boolean" Is("false")
            => "Whether a request for another host than the one that its handshake named is answered \
                with 421 also where the certificate is for both, and one of a client that named none.";
    }
    CERT "listener.tls.certs" "One certificate of several." {
        "cert" "file" Required => "The certificate chain, PEM.";
        "key" "file" Required => "The private key, PEM.";
        "ocsp" "file" Words("none") => "An OCSP response for the certificate, DER, that is stapled to it.";
    }
    CLIENTS "listener.tls.clients"
        "Certificates that clients show. Who showed one is told upstream by `X-Forwarded-Client-Cert`: \
         its SHA-256, its subject and its names." {
        "ca" "file" Required
            => "The roots to trust, PEM. Read again when the file changes; sessions from before are \
                not resumed then.";
        "crl" "file" Words("nothing is revoked")
            => "Lists of revoked certificates (CRL), PEM: one of each issuer in a client's chain, or the \
                client is refused. Read again as the roots are; while it cannot be read, the lists from \
                before stay, and a start without any fails. A list behind its `nextUpdate` goes on \
                to refuse whom it names and nobody else; the log warns of it.";
        "mode" "`required` or `optional`" Is(r#""required""#)
            => "Whether a handshake without a certificate fails.";
    }
    LIMITS "listener.limits" "What the clients of a listener may do." {
        "header_timeout" "duration" Is(r#""10s""#)
            => "From the first byte of a request head to its last.";
        "body_timeout" "duration" Is(r#""30s""#) => "A request body may stand still for this long.";
        "idle_timeout" "duration" Is(r#""75s""#) => "Between two requests of a connection.";
        "send_timeout" "duration" Is(r#""30s""#) => "A client may read nothing for this long.";
        "handshake_timeout" "duration" Is(r#""10s""#) => "For the TLS handshake.";
        "max_header_bytes" "size, 1KiB to 128KiB" Is(r#""64KiB""#)
            => "A request head may have so many bytes.";
        "max_headers" "whole number, 1 to 10000" Is("100")
            => "A request head may have so many fields.";
        "max_body" "size or `unlimited`" Is(r#""unlimited""#)
            => "A request body may have so many bytes.";
        "max_connections" "whole number, 1 to 10000000" Is("100000")
            => "Connections at a time; more are refused.";
        "max_connections_per_client" "whole number, 1 to 10000000" Words("no bound")
            => "Connections at a time of one client address, or of one /64 network of IPv6; more \
                are refused.";
        "max_handshakes" "whole number, 1 to 1000000" Is("1024")
            => "TLS handshakes in progress; more are refused.";
    }
    SERVICE "service.NAME"
        "One deployable thing: its versions and how traffic is divided among them." {
        "weights" "version = whole number, 0 to 1000000" Words("all to the only version")
            => "Relative shares. A version that is not named has 0; if all are 0, requests are \
                answered with 503.";
        "sticky" "section" Words("every request is drawn anew")
            => "What keeps a user on a version.";
        "when_unavailable" "`others` or `fail`" Is(r#""others""#)
            => "A request whose version has no usable endpoint goes to another version of \
                positive weight, or is answered with 503.";
        "rescue" "boolean" Is("true")
            => "Whether a safe-to-repeat request that failed on a version is tried once on \
                another.";
        "upstream_version_header" "boolean" Is("false")
            => "Whether upstreams are told by `X-Tidegate-Version` which version a request goes to: \
                the arm of an experiment. What a client says in its place is never passed on.";
        "timeout" "duration" Is(r#""30s""#) => "Until the response head, retries included.";
        "read_timeout" "duration" Is(r#""60s""#)
            => "Between two pieces of a response body. Upgraded connections are exempt.";
        "connect_timeout" "duration" Is(r#""1s""#) => "Until a connection to an endpoint stands.";
        "request_timeout" "duration" Words("no bound")
            => "From the request's head to the last byte of its answer, waits and retries included. \
                Upgraded connections are exempt.";
        "retries" "section" SECTION => "Retries within a version.";
        "version" "sections by name" Words("none, with a warning")
            => "The versions: `[service.NAME.version.NAME]`.";
        "pin" "sections" Words("none")
            => "Requests that go to a fixed version: `[[service.NAME.pin]]`. The first that \
                matches wins, before the split.";
        "shadow" "section" Words("no copies") => "A version that gets copies of requests.";
        "rollout" "section" Words("none")
            => "A plan that moves weight step by step, on evidence. It begins with `tidegate \
                rollout NAME start`.";
    }
    STICKY "service.NAME.sticky" "What keeps a user on a version: one of the three." {
        "cookie" "cookie name" Words("none") => "A cookie of the proxy that holds an opaque id.";
        "header" "header name" Words("none")
            => "A header of the application, such as a user id. A request without it is drawn by \
                weight.";
        "client_ip" "boolean" Words("false") => "The client's address.";
    }
    RETRIES "service.NAME.retries" "Retries of safe-to-repeat requests within a version." {
        "attempts" "whole number, 0 to 10" Is("1") => "Attempts after the first.";
        "budget" "percent, whole" Is(r#""20%""#) => "Retries may be this share of all requests.";
    }
    VERSION "service.NAME.version.NAME" "A named set of endpoints." {
        "endpoints" "list of `host:port`" Is("[]")
            => "Where it answers. Names are resolved, and again as their TTL ends.";
        "protocol" "`http1`, `h2c`, `https` or `h2`" Is(r#""http1""#)
            => "What is spoken to its endpoints; `https` and `h2` are encrypted. Over `h2` and `h2c` a \
                websocket is a stream of its own, for endpoints that say they take them (RFC 8441); \
                for others it is answered with 501.";
        "tls" "section" Words("the system's roots, the endpoint's host")
            => "How certificates are verified; only for `https` and `h2`.";
        "health" "section" Words("endpoints count as healthy") => "Active health checks.";
        "outlier" "section" SECTION => "Passive ejection. Never takes the last usable endpoint.";
        "proxy_protocol" "`v1` or `v2`" Words("none")
            => "A PROXY header at the beginning of each connection tells the client's address; \
                only for `http1` and `https`. Each request then has a connection of its own.";
        "max_in_flight" "whole number, 1 to 10000000" Words("no bound")
            => "Requests at a time, on all workers. A request above it is treated as \
                `when_unavailable` says; if nobody takes it, it is answered with 503.";
        "max_in_flight_per_endpoint" "whole number, 1 to 10000000" Words("no bound")
            => "Requests at a time to one endpoint, on all workers; it is then passed over.";
        "slow_start" "duration" Is(r#""0s""#)
            => "An endpoint that comes back from being unhealthy or ejected gets a share that \
                grows to its full one over this time.";
    }
    VERSION_TLS "service.NAME.version.NAME.tls"
        "How the certificates of endpoints are verified, and what is shown to them." {
        "ca" "file" Words("the system's roots") => "Roots to trust instead, PEM.";
        "server_name" "host name" Words("the endpoint's host")
            => "The name to verify and to send as SNI.";
        "cert" "file" Words("none")
            => "A certificate chain of our own, PEM, for endpoints that ask who we are; with `key`.";
        "key" "file" Words("none") => "Its private key, PEM.";
    }
    HEALTH "service.NAME.version.NAME.health"
        "Active health checks: a GET that must be answered with 2xx." {
        "path" "path" Required => "What is asked for. May have a query.";
        "interval" "duration" Is(r#""2s""#) => "Between two checks of an endpoint.";
        "timeout" "duration" Is(r#""1s""#) => "Until the whole answer.";
        "healthy_after" "whole number, 1 to 100" Is("2")
            => "Passes in a row until an unhealthy endpoint is healthy again.";
        "unhealthy_after" "whole number, 1 to 100" Is("3")
            => "Failures in a row until a healthy endpoint is unhealthy.";
        "expect" "JSON path = value" Words("any body")
            => "JSON values that the body must hold: `\"$.checks.database\" = \"ok\"`.";
    }
    OUTLIER "service.NAME.version.NAME.outlier" "Ejection of an endpoint that fails." {
        "consecutive_failures" "whole number, 0 to 10000" Is("5")
            => "Failed attempts in a row; 0 turns ejection off.";
        "eject_for" "duration" Is(r#""30s""#) => "How long it gets no requests.";
    }
    PIN "[service.NAME.pin]"
        "A match that sends a request to a fixed version. All conditions must hold." {
        "version" "version" Required => "Where matching requests go.";
        "headers" "name = value match" Words("any") => "Conditions on headers.";
        "cookies" "name = value match" Words("any") => "Conditions on cookies.";
        "query" "name = value match" Words("any") => "Conditions on query parameters.";
        "client" "list of networks" Words("any") => "Networks, one of which must hold the client.";
    }
    VALUE_MATCH "value match"
        "A condition on a value: a string that it must equal, or one of these." {
        "present" "boolean" Words("not asked") => "Whether there is a value at all.";
        "regex" "regular expression" Words("not asked")
            => "Found anywhere in the value unless anchored with `^` and `$`.";
    }
    SHADOW "service.NAME.shadow"
        "A version that gets copies of requests. Its answers never reach clients." {
        "version" "version" Required => "The version that gets the copies.";
        "percent" "percent" Is("100.0") => "The share of eligible requests that is copied.";
        "methods" "list of methods" Is(r#"["GET", "HEAD", "OPTIONS"]"#)
            => "What is copied. The default is what is safe to repeat.";
        "max_body" "size, up to 64MiB" Is(r#""256KiB""#)
            => "Bigger bodies are copied, not compared.";
        "max_in_flight" "whole number, 1 to 65536" Is("256")
            => "Copies at a time; more are dropped and counted.";
        "secondary" "version" Words("none")
            => "A trusted version that gets a second copy, to measure how often two correct \
                answers differ.";
        "compare" "section" SECTION => "How answers are compared.";
    }
    COMPARE "service.NAME.shadow.compare" "How answers are compared." {
        "ignore" "list of fields" Is("[]")
            => "What does not count: `status`, `latency`, `header:NAME`, `header:*`, `body`, \
                `body:/json/pointer/*`.";
        "latency_budget" "duration" Words("latency is not compared")
            => "A shadow may be slower than the primary by this much.";
    }
    ROLLOUT "service.NAME.rollout"
        "A plan that moves weight step by step, with gates and a verdict between the steps. It begins \
         with `tidegate rollout SERVICE start`, never by itself." {
        "to" "version" Required => "The version that gets the traffic.";
        "steps" "list of percents, ascending" Is("[10, 25, 50, 75, 100]")
            => "Its share at each step; after the last one it gets everything. `\"25% for 10m\"` has \
                a time of its own; `\"25%, manual\"` ends only when an operator says \
                `rollout SERVICE resume`.";
        "step_duration" "duration" Is(r#""5m""#) => "The time of a step, at least.";
        "max_error_rate" "percent" Words("no bound") => "The plain gate on errors.";
        "max_latency" "section" Words("no bound") => "The plain gate on latency.";
        "max_mismatch" "percent" Words("no bound")
            => "The plain gate on the answers of the version as a shadow; without one that is \
                compared it never passes.";
        "analysis" "section" SECTION => "The bounds of the sequential analysis.";
        "pace" "`steps` or `evidence`" Is(r#""steps""#)
            => "By the clock, or as fast as the data can exclude harm.";
        "advance" "`safe` or `not_regressed`"
            Words("`\"safe\"`; with `pace = \"evidence\"` `\"not_regressed\"`")
            => "What a raise needs beside time and gates.";
        "max_duration" "duration" Is(r#""24h""#)
            => "If it is still undecided after this, the rollout pauses.";
        "on_regression" "`rollback` or `pause`" Is(r#""rollback""#)
            => "What a regression leads to.";
    }
    MAX_LATENCY "service.NAME.rollout.max_latency" "Bounds on percentiles of the latency." {
        "p50" "duration" Words("no bound") => "The median.";
        "p90" "duration" Words("no bound") => "The 90th percentile.";
        "p95" "duration" Words("no bound") => "The 95th percentile.";
        "p99" "duration" Words("no bound") => "The 99th percentile.";
    }
    ANALYSIS "service.NAME.rollout.analysis" "The bounds of the sequential analysis." {
        "alpha" "number between 0 and 0.5" Is("0.01") => "The chance of a false alarm.";
        "error_ratio" "number, 1 to 100" Is("1.1")
            => "Errors may be this many times those of the baseline.";
        "error_margin" "percent" Is(r#""0.01%""#) => "And more by this share of requests.";
        "latency_ratio" "number, 1 to 100" Is("1.1")
            => "Latency may be this many times that of the baseline.";
        "min_requests" "whole number" Is("500")
            => "Requests of the version before it is called safe or a plain gate is passed.";
        "warm_up" "duration" Is(r#""0s""#)
            => "Neither version is judged for so long after the start, not even by plain gates: for \
                versions that are slow at first.";
    }
    ROUTE "[route]"
        "A match, and what to do with requests that it takes: `service` or `redirect`. Of \
         several routes that match, the most specific wins: exact host over wildcard over any; \
         exact path over expression over longest prefix; then a method; then more headers; then \
         more query parameters; then the order in the file." {
        "name" "name" Words("`route-N`, by its place") => "Its name in metrics and logs.";
        "hosts" "list of hosts" Words("any")
            => "Names, or `*.example.com` for all names below one.";
        "path" "path" Words("any")
            => "A prefix, on segment boundaries. Paths are compared as they were sent, but without \
                dot segments (`/a/../b`), which go up resolved too.";
        "path_exact" "path" Words("any") => "The whole path.";
        "path_regex" "regular expression" Words("any")
            => "Found anywhere in the path unless anchored with `^` and `$`.";
        "methods" "list of methods" Words("any") => "One of them.";
        "headers" "name = value match" Words("any") => "All of them.";
        "query" "name = value match" Words("any") => "All of them.";
        "service" "service" Words("none; then `redirect`") => "Where requests go.";
        "redirect" "section" Words("none; then `service`") => "Answers with a redirect instead.";
        "strip_prefix" "boolean" Is("false")
            => "Takes the matched prefix away before the request goes upstream.";
        "rewrite" "path" Words("none") => "Replaces the matched prefix.";
        "request_headers" "section" Words("no changes")
            => "Changes to the headers that go upstream.";
        "response_headers" "section" Words("no changes")
            => "Changes to the headers that go to the client.";
        "rate_limit" "section" Words("no limit")
            => "How many requests one caller may make; more are answered with 429.";
    }
    RATE_LIMIT "route.rate_limit"
        "How many requests of a route one caller may make. The allowance is shared by all workers, \
         outlives a reload that does not change it, and is kept for the 100000 callers that asked \
         last." {
        "requests" "whole number, 1 to 1000000000" Required => "So many requests in `per`.";
        "per" "duration" Is(r#""1s""#) => "The time in which the allowance is renewed, bit by bit.";
        "burst" "whole number, 1 to 1000000000" Words("as `requests`")
            => "So many at once, after a pause.";
        "key" "`client_ip`, `route` or a section" Is(r#""client_ip""#)
            => "What makes requests those of one caller: the client's address (of IPv6 its /64 \
                network), nothing at all, or `{ header = NAME }`.";
    }
    RATE_KEY "route.rate_limit.key" "A caller told by a header." {
        "header" "header name" Required
            => "Its value is the caller; a request without it counts for its client's address.";
    }
    EDITS "route.request_headers, route.response_headers"
        "Changes to headers: `remove`, then `set`, then `add`. Headers that frame a message or \
         belong to one connection cannot be changed." {
        "set" "name = value" Is("{}") => "Replaces what there is.";
        "add" "name = value" Is("{}") => "Adds to what there is.";
        "remove" "list of names" Is("[]") => "Takes away.";
    }
    REDIRECT "route.redirect"
        "Parts of the address that a redirect changes, at least one; the rest is the request's \
         own." {
        "scheme" "`http` or `https`" Words("the request's") => "The scheme.";
        "host" "host name" Words("the request's") => "The host.";
        "port" "whole number, 1 to 65535" Words("the request's, or the new scheme's own")
            => "The port.";
        "path" "path" Words("the request's")
            => "Replaces the matched prefix, or the whole exact path.";
        "status" "301, 302, 303, 307 or 308" Is("302") => "The status.";
    }
}

const INTRODUCTION: &str = "\
# Configuration reference

Written from the program by a test; `UPDATE_DOCS=1 cargo test config::` writes it anew.

A configuration is TOML: one file, or a directory whose `*.toml` are read in the order of their
names. `tidegate check -c PATH` tells everything that is wrong with it. Unknown keys are errors.

- **duration**: a string with a unit: `\"500ms\"`, `\"30s\"`, `\"5m\"`, `\"1h30m\"`.
- **size**: a string with a unit: `\"64KiB\"`, `\"10MB\"`.
- **percent**: `\"20%\"` or a number from 0 to 100.
- **file**, **directory**: relative to the directory of the configuration.
- **network**: `\"10.0.0.0/8\"` or a single address.
- `${NAME}` and `${NAME:-default}` in strings read the environment; `$${` is a plain `${`.
";

/// The reference as Markdown.
pub(super) fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for about in ALL {
        let title = match about.title {
            "top level" | "value match" => about.title.to_owned(),
            title => {
                title.split(", ").map(|one| format!("`[{one}]`")).collect::<Vec<_>>().join(", ")
            }
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {title}\n\n{}\n\n", about.meaning);
        text.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
        for Key { name, kind, default, meaning } in about.keys {
            let default = match default {
                Required => "required".to_owned(),
                Words(words) => (*words).to_owned(),
                Is(value) => format!("`{value}`"),
            };
            let _ = writeln!(text, "| `{name}` | {kind} | {default} | {meaning} |");
        }
    }
    text
}
