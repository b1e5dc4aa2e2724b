//! A strict reader of HTTP/1.1 that shares nothing with the proxy's: what it does not take, the
//! proxy should not have written.

/// One message, framing taken off.
#[derive(Debug, Clone)]
pub struct Message {
    /// First line and fields, without the empty line.
    pub head: String,
    pub body: String,
    /// Trailer lines.
    pub trailers: String,
}

/// Which message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    /// Of a response: whether it answers HEAD.
    Response {
        to_head: bool,
    },
}

/// How far the reading came.
#[derive(Debug)]
pub enum Read {
    /// A message and the bytes it took.
    Whole(Message, usize),
    /// The head is whole, the body is not.
    Head(Message),
    Partial,
    Bad(String),
}

/// Bytes as characters of the same numbers, so that every byte can be shown and searched.
pub fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

impl Message {
    /// Status of a response.
    pub fn status(&self) -> u16 {
        self.head.get(9..12).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// One of which nothing but its target is known.
    pub fn named(target: &str) -> Self {
        let head = format!("GET {target} HTTP/2.0");
        Self { head, body: String::new(), trailers: String::new() }
    }

    /// All of it in lower case, to search in.
    pub fn text(&self) -> String {
        format!("{}\r\n\r\n{}{}", self.head, self.body, self.trailers).to_ascii_lowercase()
    }
}

/// Reads one message off the beginning of `bytes`. `eof`: no more will come.
pub fn read(bytes: &[u8], kind: Kind, eof: bool) -> Read {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else { return Read::Partial };
    let head = latin(&bytes[..end]);
    let framing = match check_head(&head, kind) {
        Ok(framing) => framing,
        Err(fault) => return Read::Bad(format!("{fault}: {head:?}")),
    };
    let mut message = Message { head, body: String::new(), trailers: String::new() };
    let rest = &bytes[end + 4..];
    match framing {
        Framing::Length(length) if rest.len() >= length => {
            message.body = latin(&rest[..length]);
            Read::Whole(message, end + 4 + length)
        }
        Framing::Length(_) => Read::Head(message),
        Framing::UntilClose if eof => {
            message.body = latin(rest);
            Read::Whole(message, bytes.len())
        }
        Framing::UntilClose => Read::Head(message),
        Framing::Chunked => match chunks(rest, &mut message) {
            Ok(Some(length)) => Read::Whole(message, end + 4 + length),
            Ok(None) => Read::Head(message),
            Err(fault) => Read::Bad(fault),
        },
    }
}

enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

fn check_head(head: &str, kind: Kind) -> Result<Framing, String> {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    check_first(first, kind)?;
    let (mut lengths, mut codings, mut hosts) = (Vec::new(), Vec::new(), 0);
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or("a line without a colon and a space")?;
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("a name that is no token: {name:?}"));
        }
        if value.chars().any(|char| char.is_ascii_control() && char != '\t') {
            return Err(format!("a control character in a value: {value:?}"));
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value),
            "transfer-encoding" => codings.push(value),
            "host" => hosts += 1,
            "keep-alive" | "proxy-connection" | "proxy-authorization" => {
                return Err(format!("{name} came through"));
            }
            "te" if value != "trailers" => return Err(format!("TE came through: {value}")),
            _ => {}
        }
    }
    if let Kind::Request = kind
        && hosts > 1
    {
        return Err(format!("{hosts} hosts"));
    }
    let status = first.get(9..12).unwrap_or_default();
    let bodiless = match kind {
        Kind::Request => false,
        Kind::Response { to_head } => {
            to_head || status.starts_with('1') || ["204", "304"].contains(&status)
        }
    };
    match (lengths.as_slice(), codings.as_slice()) {
        ([] | [_], []) if bodiless => Ok(Framing::Length(0)),
        ([], []) if kind == Kind::Request => Ok(Framing::Length(0)),
        ([], []) => Ok(Framing::UntilClose),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|_| "a length beyond numbers".into())
        }
        ([], ["chunked"]) if bodiless => Ok(Framing::Length(0)),
        ([], ["chunked"]) => Ok(Framing::Chunked),
        other => Err(format!("an ambiguous framing: {other:?}")),
    }
}

fn check_first(line: &str, kind: Kind) -> Result<(), String> {
    let words: Vec<&str> = line.split(' ').collect();
    let good = match kind {
        Kind::Request => {
            words.len() == 3
                && (words[1].starts_with('/') || words[1] == "*")
                && words[2] == "HTTP/1.1"
        }
        Kind::Response { .. } => {
            words.len() >= 2 && words[0] == "HTTP/1.1" && words[1].len() == 3 && line.len() > 12
        }
    };
    if good { Ok(()) } else { Err(format!("a first line: {line:?}")) }
}

/// Chunks as an encoder without extensions writes them.
fn chunks(bytes: &[u8], message: &mut Message) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line) = line(&bytes[at..]) else { return Ok(None) };
        if line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("a chunk size: {line:?}"));
        }
        let size = usize::from_str_radix(&line, 16).map_err(|_| format!("a size: {line:?}"))?;
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        if bytes.len() < at + size + 2 {
            return Ok(None);
        }
        message.body += &latin(&bytes[at..at + size]);
        if &bytes[at + size..at + size + 2] != b"\r\n" {
            return Err("a chunk without its end".into());
        }
        at += size + 2;
    }
    loop {
        let Some(line) = line(&bytes[at..]) else { return Ok(None) };
        at += line.chars().count() + 2;
        if line.is_empty() {
            return Ok(Some(at));
        }
        message.trailers += &format!("trailer {line}\r\n");
    }
}

fn line(bytes: &[u8]) -> Option<String> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some(latin(&bytes[..end]))
}
