//! Where a request ends: every way to make two readers disagree about it.

use crate::suite::case::{Case, closes, passes, refused};

/// Content-Length alone, and against Transfer-Encoding.
pub const AMBIGUOUS: &[Case] = &[
    passes("a length", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello")
        .up(&["content-length: 5", "\r\n\r\nhello"]),
    passes("no body", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
        .up(&["content-length: 0"]),
    passes("POST without any framing", "POST /@@ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    passes("GET with a body", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
        .up(&["content-length: 2", "\r\n\r\nhi"]),
    passes("DELETE with a body", "DELETE /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
        .up(&["\r\n\r\nhi"]),
    passes("a body that is a request", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .up(&["get /smuggled"]),
    passes("white space around a length", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: \t2\t \r\n\r\nhi")
        .up(&["\r\n\r\nhi"]),
    passes("leading zeros are one number", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 002\r\n\r\nhi")
        .up(&["content-length: 2\r\n"])
        .should(),
    refused("CL and TE", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("TE and CL", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", &[400]),
    refused("CL.TE with a prefix", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", &[400]),
    refused("TE.CL with a request", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2c\r\nGET /smuggled-@@ HTTP/1.1\r\nHost: a.test\r\n\r\n\r\n0\r\n\r\n", &[400]),
    refused("CL 0 and TE", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("GET with CL and TE", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("CL, nominated away, and TE", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Content-Length\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("TE, nominated away, and CL", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nConnection: Transfer-Encoding\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("two lengths", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", &[400]),
    refused("two equal lengths", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", &[400]).should(),
    refused("a list of lengths", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1, 2\r\n\r\nab", &[400]),
    refused("a list of equal lengths", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2, 2\r\n\r\nab", &[400]).should(),
    refused("a list with nothing", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2,\r\n\r\nab", &[400]),
    refused("plus", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: +2\r\n\r\nab", &[400]),
    refused("minus", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: -2\r\n\r\nab", &[400]),
    refused("minus zero", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: -0\r\n\r\n", &[400]),
    refused("empty", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length:\r\n\r\n", &[400]),
    refused("white space alone", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: \t\r\n\r\n", &[400]),
    refused("hexadecimal", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x2\r\n\r\nab", &[400]),
    refused("letters", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: two\r\n\r\nab", &[400]),
    refused("a number and letters", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2a\r\n\r\nab", &[400]),
    refused("a space within", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1 2\r\n\r\nab", &[400]),
    refused("a dot", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2.0\r\n\r\nab", &[400]),
    refused("an exponent", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1e1\r\n\r\nab", &[400]),
    refused("an underscore", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1_0\r\n\r\nab", &[400]),
    refused("quotes", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: \"2\"\r\n\r\nab", &[400]),
    refused("a vertical tab", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length:\x0b2\r\n\r\nab", &[400]),
    refused("a non-breaking space", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: \u{a0}2\r\n\r\nab", &[400]),
    refused("NUL behind", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\0\r\n\r\nab", &[400]),
    refused("other digits", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: \u{b2}\r\n\r\nab", &[400]),
    refused("2 to the 64", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551616\r\n\r\n", &[400, 413]),
    refused("2 to the 64 and 3", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551619\r\n\r\nabc", &[400, 413]),
    refused("2 to the 63", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9223372036854775808\r\n\r\n", &[400, 413]),
    refused("a hundred digits", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length: <<9*100>>\r\n\r\n", &[400, 413]),
    refused("space before the colon", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length : 2\r\n\r\nab", &[400]),
    refused("a folded length", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent-Length:\r\n 2\r\n\r\nab", &[400]),
    refused("a length behind a bare LF", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nX: y\nContent-Length: 2\r\n\r\nab", &[400]),
    refused("a length behind a bare CR", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nX: y\rContent-Length: 2\r\n\r\nab", &[400]),
    passes("a look-alike name is not the length", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nContent_Length: 9\r\nContent-Length: 2\r\n\r\nab")
        .up(&["content-length: 2", "\r\n\r\nab"]),
    closes("HTTP/1.0 with a length", "POST /@@ HTTP/1.0\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
        .up(&["\r\n\r\nhi"]),
];

/// Transfer-Encoding that is not exactly `chunked`.
pub const CODINGS: &[Case] = &[
    passes("chunked", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .up(&["transfer-encoding: chunked", "\r\n\r\nhi"]),
    passes("in another case", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTRANSFER-encoding: CHUNKED\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .up(&["transfer-encoding: chunked", "\r\n\r\nhi"]),
    passes("white space around", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \t chunked \t\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .up(&["\r\n\r\nhi"]),
    passes("GET with chunks", "GET /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .up(&["\r\n\r\nhi"]),
    refused("twice in a line", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("twice", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("identity", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\n", &[400, 501]),
    refused("identity and a length", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", &[400, 501]),
    refused("chunked, identity", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("gzip", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\n\r\n", &[400, 501]),
    refused("gzip, chunked", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("gzip and chunked in two lines", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("chunked and gzip in two lines", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("xchunked", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("chunkedx", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("with a parameter", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("quoted", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("leading comma", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("trailing comma", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("empty", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:\r\n\r\n", &[400, 501]),
    refused("empty and chunked", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("vertical tab", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("NUL", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", &[400]),
    refused("a high byte", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \u{ff}chunked\r\n\r\n0\r\n\r\n", &[400, 501]),
    refused("space before the colon", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("tab before the colon", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("space before the name", "POST /@@ HTTP/1.1\r\nHost: a.test\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("folded", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("behind a bare LF", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("behind a bare CR", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("behind NUL", "POST /@@ HTTP/1.1\r\nHost: a.test\r\n\0Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("TE on HTTP/1.0", "POST /@@ HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("TE and CL on HTTP/1.0", "POST /@@ HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", &[400]),
    passes("a look-alike name is none", "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n")
        .up(&["content-length: 5"]),
];

/// Chunks: what is good is framed anew, what is not ends the connection and no request.
pub const CHUNKED: &[Case] = &[
    chunks("several", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").up(&["\r\n\r\nabcde"]),
    chunks("nothing", "0\r\n\r\n"),
    chunks("upper case digits", "A\r\n0123456789\r\n0\r\n\r\n").up(&["0123456789"]),
    chunks("leading zeros", "0003\r\nabc\r\n0\r\n\r\n").up(&["\r\n\r\nabc"]),
    chunks("a last chunk of zeros", "3\r\nabc\r\n000\r\n\r\n").up(&["\r\n\r\nabc"]),
    chunks("an extension goes", "3;a=b\r\nabc\r\n0;c\r\n\r\n")
        .up(&["\r\n\r\nabc"])
        .not_up(&["a=b"]),
    chunks("a quoted extension goes", "3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n").not_up(&["b;c"]),
    chunks("a body that looks like chunks", "7\r\n0\r\n\r\nGE\r\n0\r\n\r\n").up(&["0\r\n\r\nge"]),
    chunks("trailers", "0\r\nX-Sum: 7\r\n\r\n").up(&["trailer x-sum: 7"]),
    chunks("large", "8000\r\n<<0123456789abcdef*2048>>\r\n0\r\n\r\n").up(&["89abcdef0123"]),
    chunks("no Content-Length by a trailer", "0\r\nContent-Length: 9\r\n\r\n")
        .not_up(&["content-length"]),
    chunks("no Transfer-Encoding by a trailer", "0\r\nTransfer-Encoding: x\r\n\r\n")
        .not_up(&["trailer transfer-encoding"]),
    chunks("no Host by a trailer", "0\r\nHost: evil.test\r\n\r\n").not_up(&["evil.test"]),
    chunks("no X-Forwarded-For by a trailer", "0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        .not_up(&["6.6.6.6"]),
    chunks("no Authorization by a trailer", "0\r\nAuthorization: Basic x\r\n\r\n")
        .not_up(&["authorization"]),
    chunks("no Cookie by a trailer", "0\r\nCookie: a=b\r\n\r\n").not_up(&["cookie"]),
    chunks("no Connection by a trailer", "0\r\nConnection: close\r\n\r\n")
        .not_up(&["trailer connection"]),
    chunks("no Expect by a trailer", "0\r\nExpect: 100-continue\r\n\r\n").not_up(&["expect"]),
    bad("data longer than its size", "2\r\nabc\r\n0\r\n\r\n"),
    bad("data shorter than its size", "4\r\nabc\r\n0\r\n\r\n"),
    bad("junk behind the data", "3\r\nabcXX0\r\n\r\n"),
    bad("no CR LF behind the data", "3\r\nabc0\r\n\r\n"),
    bad("LF behind the data", "3\r\nabc\n0\r\n\r\n"),
    bad("CR behind the data", "3\r\nabc\r0\r\n\r\n"),
    bad("LF behind the size", "3\nabc\r\n0\r\n\r\n"),
    bad("CR behind the size", "3\rabc\r\n0\r\n\r\n"),
    bad("LF alone at the end", "0\n\n"),
    bad("LF at the very end", "3\r\nabc\r\n0\r\n\n"),
    bad("no size", "\r\nabc\r\n0\r\n\r\n"),
    bad("letters that are no digits", "zz\r\nabc\r\n0\r\n\r\n"),
    bad("0x", "0x3\r\nabc\r\n0\r\n\r\n"),
    bad("plus", "+3\r\nabc\r\n0\r\n\r\n"),
    bad("minus", "-3\r\nabc\r\n0\r\n\r\n"),
    bad("minus zero", "-0\r\n\r\n"),
    bad("space before the size", " 3\r\nabc\r\n0\r\n\r\n"),
    bad("underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    bad("two numbers", "3 3\r\nabc\r\n0\r\n\r\n"),
    bad("a comma", "3,3\r\nabc\r\n0\r\n\r\n"),
    bad("NUL in the size", "3\0\r\nabc\r\n0\r\n\r\n"),
    bad("64 bits", "ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    bad("65 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
    bad("2 to the 32 hidden in many digits", "<<0*40>>3\r\nabc\r\n0\r\n\r\n").should(),
    bad("2 to the 64 and 3", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
    bad("LF in an extension", "3;a\n\r\nabc\r\n0\r\n\r\n"),
    bad("LF ends an extension", "3;a\nabc\r\n0\r\n\r\n"),
    bad("CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
    bad("NUL in an extension", "3;a\0b\r\nabc\r\n0\r\n\r\n"),
    bad("an endless extension", "3;<<a*20000>>\r\nabc\r\n0\r\n\r\n"),
    bad("extensions of many chunks", "<<1;aaaaaaaaaaaaaaaaaaaa\r\nx\r\n*2000>>0\r\n\r\n").should(),
    bad("a trailer without colon", "0\r\nX\r\n\r\n"),
    bad("a trailer with a space before the colon", "0\r\nX : y\r\n\r\n"),
    bad("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n"),
    bad("a trailer ended by LF", "0\r\nX: y\n\r\n"),
    bad("a trailer with NUL", "0\r\nX: \0\r\n\r\n"),
    bad("a trailer without name", "0\r\n: y\r\n\r\n"),
    bad("a huge trailer", "0\r\nX: <<y*70000>>\r\n\r\n"),
    bad("too many trailers", "0\r\n<<X: y\r\n*1000>>\r\n"),
    bad(
        "a request behind a broken chunk",
        "3\r\nabcX\r\nGET /smuggled-@@ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ),
];

const fn chunks(name: &'static str, body: &'static str) -> Case {
    passes(name, HEAD).behind(body)
}

const fn bad(name: &'static str, body: &'static str) -> Case {
    refused(name, HEAD, &[400, 413, 431]).behind(body)
}

const HEAD: &str = "POST /@@ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
