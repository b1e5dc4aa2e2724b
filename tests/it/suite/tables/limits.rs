//! What is too large, too many or too slow.

use crate::suite::case::{Case, passes, refused};

/// Tight, so that the cases are small and quick.
pub const KEYS: &str = "[listener.limits]\nmax_body = \"1KiB\"\nheader_timeout = \"2s\"\n\
    body_timeout = \"2s\"\nmax_header_bytes = \"16KiB\"\nmax_headers = 20";

pub const CASES: &[Case] = &[
    refused("a target too long", "GET /@@<<x*20000>> HTTP/1.1\r\nHost: a.test\r\n\r\n", &[414]),
    refused("a query too long", "GET /@@?<<x*20000>> HTTP/1.1\r\nHost: a.test\r\n\r\n", &[414]),
    refused("a target without end", "GET /@@<<x*100000>>", &[414]),
    refused(
        "a method without end",
        "<<G*20000>> /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        &[400, 431, 501],
    ),
    refused(
        "a value too long",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: <<y*20000>>\r\n\r\n",
        &[431],
    ),
    refused(
        "a name too long",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X*20000>>: y\r\n\r\n",
        &[431],
    ),
    refused("a value without end", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: <<y*100000>>", &[431]),
    refused("too many fields", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X: y\r\n*20>>\r\n", &[431]),
    refused(
        "far too many fields",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X: y\r\n*2000>>\r\n",
        &[431],
    ),
    refused(
        "fields too large together",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n*300>>\r\n",
        &[431],
    ),
    passes(
        "as many fields as there may be",
        "GET /@@ HTTP/1.1\r\nHost: a.test\r\n<<X: y\r\n*19>>\r\n",
    ),
    refused(
        "a body too long",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1025\r\n\r\n",
        &[413],
    ),
    refused(
        "a body far too long",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9223372036854775807\r\n\r\n",
        &[413],
    ),
    refused(
        "a body too long with Expect",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 1025\r\n\r\n",
        &[413],
    )
    .not_down(&["100 continue"]),
    refused(
        "chunks too long",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n<<x*1025>>\r\n0\r\n\r\n",
        &[413],
    ),
    refused(
        "one chunk too many",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n<<x*1024>>\r\n1\r\nx\r\n0\r\n\r\n",
        &[413],
    ),
    refused(
        "a chunk announced too long",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n<<x*2000>>",
        &[413],
    ),
    passes(
        "a body as long as may be",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1024\r\n\r\n<<x*1024>>",
    ),
    passes(
        "chunks as long as may be",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n<<x*1024>>\r\n0\r\n\r\n",
    ),
    refused("half a request line", "GET /@@ HT", &[408]).alone(),
    refused("half a head", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nX: y", &[408]).alone(),
    refused("a head without its end", "GET /@@ HTTP/1.1\r\nHost: a.test\r\n", &[408]).alone(),
    refused(
        "half a body",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf",
        &[408],
    )
    .alone(),
    refused(
        "half a chunk",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        &[408],
    )
    .alone(),
    refused(
        "no last chunk",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        &[408],
    )
    .alone(),
    refused(
        "a body that never begins",
        "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n",
        &[408],
    )
    .alone(),
];
