//! Which route takes a request: each says its name in the answer.

use crate::suite::case::{Case, closes, passes};

/// The routes, none of which takes everything.
pub const TABLES: &str = r#"
[[route]]
name = "probes"
path_regex = "^/probe-"
service = "shop"
[[route]]
name = "any"
path = "/p"
service = "shop"
response_headers = { set = { x-route = "any" } }
[[route]]
name = "longer"
path = "/p/long"
service = "shop"
response_headers = { set = { x-route = "longer" } }
[[route]]
name = "exact"
path_exact = "/p/long/exact"
service = "shop"
response_headers = { set = { x-route = "exact" } }
[[route]]
name = "pattern"
path_regex = "^/p/long/[0-9]+/"
service = "shop"
response_headers = { set = { x-route = "pattern" } }
[[route]]
name = "wild"
hosts = ["*.a.test"]
path = "/p"
service = "shop"
response_headers = { set = { x-route = "wild" } }
[[route]]
name = "host"
hosts = ["own.a.test"]
path = "/p"
service = "shop"
response_headers = { set = { x-route = "host" } }
[[route]]
name = "method"
path = "/p"
methods = ["PUT"]
service = "shop"
response_headers = { set = { x-route = "method" } }
[[route]]
name = "field"
path = "/p"
headers = { x-tenant = "a" }
service = "shop"
response_headers = { set = { x-route = "field" } }
[[route]]
name = "query"
path = "/p"
query = { version = "2" }
service = "shop"
response_headers = { set = { x-route = "query" } }
[[route]]
name = "stripped"
path = "/strip"
service = "shop"
strip_prefix = true
response_headers = { set = { x-route = "stripped" } }
[[route]]
name = "rewritten"
path = "/old"
service = "shop"
rewrite = "/new"
response_headers = { set = { x-route = "rewritten" } }
[[route]]
name = "moved"
path_exact = "/moved"
redirect = { scheme = "https", host = "b.test", path = "/there", status = 308 }
"#;

pub const CASES: &[Case] = &[
    passes("a prefix", "GET /p/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n").down(&["x-route: any"]),
    passes("the longer prefix", "GET /p/long/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: longer"]),
    passes("a prefix ends at a slash", "GET /p/longer/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: any"]),
    passes("the exact path", "GET /p/long/exact?@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: exact"]),
    passes("an exact path and more", "GET /p/long/exact/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: longer"]),
    passes("a pattern over a prefix", "GET /p/long/7/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: pattern"]),
    passes("a wildcard over any host", "GET /p/@@ HTTP/1.1\r\nHost: x.a.test\r\n\r\n")
        .down(&["x-route: wild"]),
    passes("a host over a wildcard", "GET /p/@@ HTTP/1.1\r\nHost: own.a.test\r\n\r\n")
        .down(&["x-route: host"]),
    passes("a host in other letters", "GET /p/@@ HTTP/1.1\r\nHost: OWN.A.test\r\n\r\n")
        .down(&["x-route: host"]),
    passes("a host with a port", "GET /p/@@ HTTP/1.1\r\nHost: own.a.test:81\r\n\r\n")
        .down(&["x-route: host"]),
    passes("a host with a dot", "GET /p/@@ HTTP/1.1\r\nHost: own.a.test.\r\n\r\n")
        .down(&["x-route: host"])
        .should(),
    passes("the target's host", "GET http://own.a.test/p/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: host"]),
    passes("a wildcard is no bare name", "GET /p/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: any"]),
    passes("a method", "PUT /p/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n").down(&["x-route: method"]),
    passes("a field", "GET /p/@@ HTTP/1.1\r\nHost: a.test\r\nX-Tenant: a\r\n\r\n")
        .down(&["x-route: field"]),
    passes("a field of another value", "GET /p/@@ HTTP/1.1\r\nHost: a.test\r\nX-Tenant: b\r\n\r\n")
        .down(&["x-route: any"]),
    passes("a query", "GET /p/@@?version=2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: query"]),
    passes("a query among others", "GET /p/@@?a=b&version=2&c HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: query"]),
    passes("a method over a field", "PUT /p/@@ HTTP/1.1\r\nHost: a.test\r\nX-Tenant: a\r\n\r\n")
        .down(&["x-route: method"]),
    passes("a prefix that is stripped", "GET /strip/x/@@?q HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: stripped"])
        .up(&["get /x/@@?q http"]),
    passes("a prefix that is replaced", "GET /old/x/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .down(&["x-route: rewritten"])
        .up(&["get /new/x/@@ http"]),
    passes("a redirect", "GET /moved?x=@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .statuses(&[308])
        .seen(0)
        .down(&["location: https://b.test/there?x=@@"]),
    passes("no route", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n").statuses(&[404]).seen(0),
    passes("no route for letters in another case", "GET /P/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .statuses(&[404])
        .seen(0),
    closes(
        "no route, and the client closes",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
    )
    .statuses(&[404])
    .seen(0),
];
