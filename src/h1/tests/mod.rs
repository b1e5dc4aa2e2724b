//! Tables of what is read, refused and written, and properties over any input.

mod body;
mod fields;
mod request;
mod response;
mod write;

use proptest::prelude::*;

use super::fields::Fields;
use super::head::HeadLimits;

const LIMITS: HeadLimits = HeadLimits { bytes: 8192, fields: 100, target: 2048 };

/// Fields as `name: value` lines, those that stop here in parentheses.
fn shown(fields: &Fields) -> Vec<String> {
    let line = |name: &[u8], value: &[u8]| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    let mark = |text: String, hop| if hop { format!("({text})") } else { text };
    fields.iter().map(|field| mark(line(field.name(), field.value()), field.hop)).collect()
}

/// Field lines of which two heads are likely to have some in common, good ones and bad ones.
fn lines_of_few() -> impl Strategy<Value = Vec<&'static str>> {
    let lines = prop::sample::select(vec![
        "Host: a\r\n",
        "Host: a\r\n",
        "Host: ab\r\n",
        "Accept: text/html, application/xhtml+xml, application/xml;q=0.9\r\n",
        "Accept: text/html, application/xhtml+xml, application/xml;q=0.8\r\n",
        "Cookie: a=b\r\n",
        "Cookie: a=c\r\n",
        "Connection: keep-alive\r\n",
        "Connection: close, x\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n",
        "X: y\r\n",
        "X:\t y \r\n",
        "X: y\n",
        "X:\r\n",
        " folded\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "no name\r\n",
    ]);
    proptest::collection::vec(lines, 0..5)
}
