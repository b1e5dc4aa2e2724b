//! Request lines, target forms by method, and hosts.

use crate::suite::case::{Case, closes, passes, refused};

pub const LINES: &[Case] = &[
    passes("plain", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["get /@@ http/1.1\r\n", "\r\nhost: a.test\r\n"]),
    passes("query", "GET /@@?a=b&c=%20 HTTP/1.1\r\nHost: a.test\r\n\r\n").up(&["/@@?a=b&c=%20 "]),
    passes("empty query", "GET /@@? HTTP/1.1\r\nHost: a.test\r\n\r\n").up(&["get /@@? http"]),
    passes("question marks in the query", "GET /@@?a?b HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["/@@?a?b "]),
    passes("encoded slash stays", "GET /@@%2Fb HTTP/1.1\r\nHost: a.test\r\n\r\n").up(&["/@@%2fb "]),
    passes("dot segments are resolved", "GET /x/./y/../../@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["get /@@ "])
        .not_up(&["/x"]),
    passes("encoded dot segments", "GET /x/%2e%2E/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["get /@@ "])
        .not_up(&["/x"]),
    passes("dots above the root", "GET /../../@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["get /@@ "]),
    passes("dots in the query stay", "GET /@@?a=/../b HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["get /@@?a=/../b "]),
    passes("double slash stays", "GET /@@//b HTTP/1.1\r\nHost: a.test\r\n\r\n").up(&["/@@//b "]),
    passes("encoded NUL stays encoded", "GET /@@%00 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["/@@%00 "]),
    passes("encoded CRLF stays encoded", "GET /@@%0d%0aX:y HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["/@@%0d%0ax:y "]),
    passes("sub-delims", "GET /@@;a=1,b!$&'()*+:@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["/@@;a=1,b!$&'()*+:@ "]),
    passes("HEAD", "HEAD /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n").to_head().up(&["head /@@ "]),
    passes("DELETE", "DELETE /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n").up(&["delete /@@ "]),
    passes("OPTIONS with a path", "OPTIONS /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["options /@@ "]),
    passes("OPTIONS asterisk", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\nX-Case: @@\r\n\r\n")
        .up(&["options * http/1.1"]),
    passes(
        "PATCH with a body",
        "PATCH /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi",
    )
    .up(&["patch /@@ ", "\r\n\r\nhi"]),
    passes("unknown method", "PURGE /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n").up(&["purge /@@ "]),
    passes("token method", "M-SEARCH /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n").up(&["m-search /@@ "]),
    passes("methods are case-sensitive", "get /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n").should(),
    passes("one empty line before", "\r\nGET /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    passes("absolute form", "GET http://b.test/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["get /@@ http/1.1", "\r\nhost: b.test\r\n"])
        .not_up(&["host: a.test"]),
    passes("absolute form, same host", "GET http://a.test/@@?q HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["get /@@?q http/1.1"]),
    passes("absolute form with a port", "GET http://b.test:81/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["\r\nhost: b.test:81\r\n"]),
    passes("absolute form, https", "GET https://b.test/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["\r\nhost: b.test\r\n"]),
    passes("absolute form, upper case", "GET HTTP://b.test/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["\r\nhost: b.test\r\n"]),
    passes(
        "absolute form without a path",
        "GET http://b.test HTTP/1.1\r\nHost: a.test\r\nX-Case: @@\r\n\r\n",
    )
    .up(&["get / http/1.1"]),
    passes(
        "absolute form with a query alone",
        "GET http://b.test?@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    )
    .up(&["get /?@@ http/1.1"]),
    passes(
        "OPTIONS absolute without a path",
        "OPTIONS http://b.test HTTP/1.1\r\nHost: a.test\r\nX-Case: @@\r\n\r\n",
    )
    .up(&["options * http/1.1"])
    .should(),
    refused(
        "absolute form, other scheme",
        "GET ftp://a.test/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        &[400],
    ),
    refused("absolute form, no host", "GET http:///@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused(
        "absolute form, user",
        "GET http://u@a.test/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        &[400],
    ),
    refused("absolute form, no Host", "GET http://a.test/@@ HTTP/1.1\r\n\r\n", &[400]),
    refused(
        "absolute form, two Hosts",
        "GET http://a.test/@@ HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        &[400],
    ),
    refused(
        "absolute form, bad Host",
        "GET http://a.test/@@ HTTP/1.1\r\nHost: a b\r\n\r\n",
        &[400],
    ),
    refused(
        "absolute form, bad port",
        "GET http://a.test:x/@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        &[400],
    ),
    refused(
        "authority form with GET",
        "GET a.test:80 HTTP/1.1\r\nHost: a.test\r\nX: @@\r\n\r\n",
        &[400],
    ),
    refused("asterisk with GET", "GET * HTTP/1.1\r\nHost: a.test\r\nX: @@\r\n\r\n", &[400]),
    refused("asterisk and more", "OPTIONS *a HTTP/1.1\r\nHost: a.test\r\nX: @@\r\n\r\n", &[400]),
    refused("no leading slash", "GET @@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("query alone", "GET ?@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("fragment", "GET /@@#f HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("backslash path", "GET /\\@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]).should(),
    refused("tab in target", "GET /@@\tx HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("NUL in target", "GET /@@\0 HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("DEL in target", "GET /@@\x7f HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("raw high byte in target", "GET /@@\u{e9} HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400])
        .should(),
    refused("space in target", "GET /@@ b HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("two spaces", "GET  /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("two spaces before the version", "GET /@@  HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("tabs for spaces", "GET\t/@@\tHTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("trailing space", "GET /@@ HTTP/1.1 \r\nHost: a.test\r\n\r\n", &[400, 505]),
    refused("leading space", " GET /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("no target", "GET HTTP/1.1\r\nHost: a.test\r\nX: @@\r\n\r\n", &[400]),
    refused("no version", "GET /@@\r\nHost: a.test\r\n\r\n", &[400]),
    refused("HTTP/0.9", "GET /@@\r\n\r\n", &[400]),
    refused("HTTP/2.0", "GET /@@ HTTP/2.0\r\nHost: a.test\r\n\r\n", &[400, 505]),
    refused("HTTP/3", "GET /@@ HTTP/3\r\nHost: a.test\r\n\r\n", &[400, 505]),
    refused("HTTP/1.2", "GET /@@ HTTP/1.2\r\nHost: a.test\r\n\r\n", &[400, 505]).should(),
    refused("HTTP/1.10", "GET /@@ HTTP/1.10\r\nHost: a.test\r\n\r\n", &[400, 505]),
    refused("HTTP/01.1", "GET /@@ HTTP/01.1\r\nHost: a.test\r\n\r\n", &[400, 505]),
    refused("HTTP/1,1", "GET /@@ HTTP/1,1\r\nHost: a.test\r\n\r\n", &[400, 505]),
    refused("HTTP/ alone", "GET /@@ HTTP/\r\nHost: a.test\r\n\r\n", &[400, 505]),
    refused("version in lower case", "GET /@@ http/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("other protocol", "GET /@@ ICAP/1.0\r\nHost: a.test\r\n\r\n", &[400, 505]),
    refused("method with a bracket", "G(T /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("method with a colon", "GET: /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("method with NUL", "G\0ET /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("method with a high byte", "G\u{c9}T /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("bare LF after the line", "GET /@@ HTTP/1.1\nHost: a.test\r\n\r\n", &[400]),
    refused("bare CR in the line", "GET /@@\rX HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("bare CR after the line", "GET /@@ HTTP/1.1\rHost: a.test\r\n\r\n", &[400]),
    refused("bare LF before", "\nGET /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400]),
    refused("a TLS hello", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03@@\r\n\r\n", &[400]),
    refused("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 505]),
    refused(
        "CONNECT",
        "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\nX: @@\r\n\r\n",
        &[400, 405, 501],
    ),
    refused(
        "CONNECT with a path",
        "CONNECT /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        &[400, 405, 501],
    ),
    refused(
        "TRACE with a body",
        "TRACE /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi",
        &[400, 405],
    ),
];

/// What ends a connection, and what follows on one.
pub const KEPT: &[Case] = &[
    closes("HTTP/1.0", "GET /@@ HTTP/1.0\r\n\r\n").up(&["get /@@ http/1.1\r\n"]),
    closes("HTTP/1.0 with Host", "GET /@@ HTTP/1.0\r\nHost: a.test\r\n\r\n")
        .up(&["\r\nhost: a.test\r\n"]),
    passes(
        "HTTP/1.0 keep-alive",
        "GET /@@ HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
    )
    .down(&["connection: keep-alive"])
    .should(),
    closes("HTTP/1.1 close", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        .down(&["\r\nconnection: close\r\n"]),
    closes(
        "close among others",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: x, CLOSE\r\n\r\n",
    ),
    closes(
        "close beats keep-alive",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
    ),
    passes(
        "pipelined",
        "GET /@@1 HTTP/1.1\r\nHost: a.test\r\n\r\nPOST /@@2 HTTP/1.1\r\nHost: a.test\r\n\
         Content-Length: 3\r\n\r\nabcGET /@@3 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    )
    .statuses(&[200, 200, 200])
    .seen(3),
    passes(
        "pipelined with chunks",
        "POST /@@1 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
         \r\nGET /@@2 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    )
    .statuses(&[200, 200])
    .seen(2),
    refused(
        "pipelined behind what is refused",
        "GET /@@1 HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\nGET /@@2 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        &[400],
    ),
];

pub const HOSTS: &[Case] = &[
    refused("none", "GET /@@ HTTP/1.1\r\n\r\n", &[400]),
    refused("empty", "GET /@@ HTTP/1.1\r\nHost:\r\n\r\n", &[400]).should(),
    refused("two", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", &[400]),
    refused(
        "two that are equal",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        &[400],
    ),
    refused(
        "two, one far behind",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X: y\r\n*40>>hOST: b.test\r\n\r\n",
        &[400],
    ),
    refused("two in HTTP/1.0", "GET /@@ HTTP/1.0\r\nHost: a.test\r\nHost: b.test\r\n\r\n", &[400]),
    refused("space before the colon", "GET /@@ HTTP/1.1\r\nHost : a.test\r\n\r\n", &[400]),
    refused("a list", "GET /@@ HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", &[400]),
    refused("two words", "GET /@@ HTTP/1.1\r\nHost: a.test b.test\r\n\r\n", &[400]),
    refused("a tab inside", "GET /@@ HTTP/1.1\r\nHost: a.test\tb\r\n\r\n", &[400]),
    refused("user information", "GET /@@ HTTP/1.1\r\nHost: u@a.test\r\n\r\n", &[400]),
    refused("a path", "GET /@@ HTTP/1.1\r\nHost: a.test/b\r\n\r\n", &[400]),
    refused("a query", "GET /@@ HTTP/1.1\r\nHost: a.test?b\r\n\r\n", &[400]),
    refused("a fragment", "GET /@@ HTTP/1.1\r\nHost: a.test#b\r\n\r\n", &[400]),
    refused("a scheme", "GET /@@ HTTP/1.1\r\nHost: http://a.test\r\n\r\n", &[400]),
    refused("a backslash", "GET /@@ HTTP/1.1\r\nHost: a.test\\b\r\n\r\n", &[400]),
    refused("port in words", "GET /@@ HTTP/1.1\r\nHost: a.test:http\r\n\r\n", &[400]),
    refused("port too great", "GET /@@ HTTP/1.1\r\nHost: a.test:65536\r\n\r\n", &[400]).should(),
    refused("negative port", "GET /@@ HTTP/1.1\r\nHost: a.test:-1\r\n\r\n", &[400]),
    refused("two ports", "GET /@@ HTTP/1.1\r\nHost: a.test:80:81\r\n\r\n", &[400]),
    refused("port and user", "GET /@@ HTTP/1.1\r\nHost: a.test:80@b.test\r\n\r\n", &[400]),
    refused("only a port", "GET /@@ HTTP/1.1\r\nHost: :80\r\n\r\n", &[400]),
    refused("brackets unclosed", "GET /@@ HTTP/1.1\r\nHost: [::1\r\n\r\n", &[400]),
    refused("brackets around a name", "GET /@@ HTTP/1.1\r\nHost: [a.test]\r\n\r\n", &[400]),
    refused("text after brackets", "GET /@@ HTTP/1.1\r\nHost: [::1]x\r\n\r\n", &[400]),
    refused("NUL", "GET /@@ HTTP/1.1\r\nHost: a.te\0st\r\n\r\n", &[400]),
    refused("high byte", "GET /@@ HTTP/1.1\r\nHost: \u{e4}.test\r\n\r\n", &[400]),
    refused("quotes", "GET /@@ HTTP/1.1\r\nHost: \"a.test\"\r\n\r\n", &[400]),
    refused("angle brackets", "GET /@@ HTTP/1.1\r\nHost: <a.test>\r\n\r\n", &[400]),
    refused("only a dot", "GET /@@ HTTP/1.1\r\nHost: .\r\n\r\n", &[400]).should(),
    refused("empty label", "GET /@@ HTTP/1.1\r\nHost: a..test\r\n\r\n", &[400]).should(),
    refused("longer than a name", "GET /@@ HTTP/1.1\r\nHost: <<a.*150>>test\r\n\r\n", &[400])
        .should(),
    refused("folded", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n b\r\n\r\n", &[400]),
    passes("spaces around", "GET /@@ HTTP/1.1\r\nHost: \t a.test \t\r\n\r\n")
        .up(&["\r\nhost: a.test\r\n"]),
    passes("no space", "GET /@@ HTTP/1.1\r\nHost:a.test\r\n\r\n").up(&["\r\nhost: a.test\r\n"]),
    passes("upper case", "GET /@@ HTTP/1.1\r\nHOST: A.Test\r\n\r\n").up(&["host: a.test"]),
    passes("final dot", "GET /@@ HTTP/1.1\r\nHost: a.test.\r\n\r\n").should(),
    passes("port", "GET /@@ HTTP/1.1\r\nHost: a.test:8080\r\n\r\n").up(&["host: a.test:8080"]),
    passes("empty port", "GET /@@ HTTP/1.1\r\nHost: a.test:\r\n\r\n").should(),
    passes("IPv4", "GET /@@ HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n").up(&["host: 127.0.0.1:80"]),
    passes("IPv6", "GET /@@ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").up(&["host: [::1]:80"]),
    passes("not the first field", "GET /@@ HTTP/1.1\r\nA: b\r\nHost: a.test\r\n\r\n"),
];
