//! The PROXY protocol, versions 1 and 2: who a connection is from, said by the proxy before us, and
//! said by us to those behind.
//!
//! Reading is strict: whatever is not exactly a header is damage, and the connection ends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::{PROXY_HEADER_BYTES_MAX, PROXY_LINE_BYTES_MAX};

/// What every header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What every header of version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyVersion {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The connection is from this client.
    Client(SocketAddr),
    /// It is the sender's own, as for a health check, or from what has no address.
    Own,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

/// Reads a header from the beginning of a connection: what it says and how long it is, or `None`
/// while it is not whole.
pub fn parse(bytes: &[u8]) -> Result<Option<(Source, usize)>, Damaged> {
    let begins = |with: &[u8]| {
        let common = with.len().min(bytes.len());
        with[..common] == bytes[..common]
    };
    if begins(SIGNATURE) {
        return parse_v2(bytes);
    }
    if begins(WORD) {
        return parse_v1(bytes);
    }
    Err(Damaged)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(Source, usize)>, Damaged> {
    let within = &bytes[..bytes.len().min(PROXY_LINE_BYTES_MAX)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < PROXY_LINE_BYTES_MAX { Ok(None) } else { Err(Damaged) };
    };
    let line = within[..end].strip_suffix(b"\r").ok_or(Damaged)?;
    let line = std::str::from_utf8(line).map_err(|_| Damaged)?;
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next().ok_or(Damaged);
    let source = match word()? {
        // What follows `UNKNOWN` says nothing.
        "UNKNOWN" => return Ok(Some((Source::Own, end + 1))),
        "TCP4" => {
            let (from, _): (Ipv4Addr, Ipv4Addr) = (address(word()?)?, address(word()?)?);
            SocketAddr::new(from.into(), port(word()?)?)
        }
        "TCP6" => {
            let (from, _): (Ipv6Addr, Ipv6Addr) = (address(word()?)?, address(word()?)?);
            SocketAddr::new(from.into(), port(word()?)?)
        }
        _ => return Err(Damaged),
    };
    port(word()?)?;
    match words.next() {
        None => Ok(Some((Source::Client(source), end + 1))),
        Some(_) => Err(Damaged),
    }
}

fn address<T: std::str::FromStr>(word: &str) -> Result<T, Damaged> {
    word.parse().map_err(|_| Damaged)
}

fn port(word: &str) -> Result<u16, Damaged> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain || word.len() > 1 && word.starts_with('0') {
        return Err(Damaged);
    }
    word.parse().map_err(|_| Damaged)
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(Source, usize)>, Damaged> {
    let Some(head) = bytes.get(SIGNATURE.len()..SIGNATURE.len() + 4) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let whole = SIGNATURE.len() + 4 + length;
    // The addresses of a command and family, or none where it has none that could be believed.
    let addresses = match (head[0], head[1]) {
        (0x20, _) | (0x21, 0x00) => None,
        (0x21, 0x11) => Some(12),
        (0x21, 0x21) => Some(36),
        // Unix sockets have no address that means anything here.
        (0x21, 0x31) => None,
        _ => return Err(Damaged),
    };
    if whole > PROXY_HEADER_BYTES_MAX || addresses.is_some_and(|needed| length < needed) {
        return Err(Damaged);
    }
    let Some(rest) = bytes.get(SIGNATURE.len() + 4..whole) else { return Ok(None) };
    let Some(needed) = addresses else { return Ok(Some((Source::Own, whole))) };
    check_extras(&rest[needed..])?;
    let source = match needed {
        12 => {
            let ip = IpAddr::from([rest[0], rest[1], rest[2], rest[3]]);
            SocketAddr::new(ip, u16::from_be_bytes([rest[8], rest[9]]))
        }
        _ => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&rest[..16]);
            SocketAddr::new(octets.into(), u16::from_be_bytes([rest[32], rest[33]]))
        }
    };
    Ok(Some((Source::Client(source), whole)))
}

/// What stands behind the addresses: pieces that each say their own length.
fn check_extras(mut rest: &[u8]) -> Result<(), Damaged> {
    while !rest.is_empty() {
        let length = rest.get(1..3).ok_or(Damaged)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        rest = rest.get(3 + length..).ok_or(Damaged)?;
    }
    Ok(())
}

/// A header that says a connection is from `client` to `server`; without them, that it is our own.
pub fn write(version: ProxyVersion, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((client, server)) = ends else {
        return match version {
            ProxyVersion::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
            ProxyVersion::V2 => [SIGNATURE.as_slice(), &[0x20, 0, 0, 0]].concat(),
        };
    };
    let (from, to) = (client.ip().to_canonical(), server.ip().to_canonical());
    let (ports, both_v4) = ((client.port(), server.port()), (from.is_ipv4() && to.is_ipv4()));
    match (version, both_v4) {
        (ProxyVersion::V1, true) => {
            format!("PROXY TCP4 {from} {to} {} {}\r\n", ports.0, ports.1).into_bytes()
        }
        (ProxyVersion::V1, false) => {
            let (from, to) = (v6(from), v6(to));
            format!("PROXY TCP6 {from} {to} {} {}\r\n", ports.0, ports.1).into_bytes()
        }
        (ProxyVersion::V2, is_v4) => {
            let mut out = SIGNATURE.to_vec();
            let (family, length) = if is_v4 { (0x11, 12) } else { (0x21, 36) };
            out.extend_from_slice(&[0x21, family, 0, length]);
            for ip in [from, to] {
                match ip {
                    IpAddr::V4(ip) if is_v4 => out.extend_from_slice(&ip.octets()),
                    ip => out.extend_from_slice(&v6(ip).octets()),
                }
            }
            out.extend_from_slice(&ports.0.to_be_bytes());
            out.extend_from_slice(&ports.1.to_be_bytes());
            out
        }
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Source {
        Source::Client(text.parse().unwrap())
    }

    fn v2(head: [u8; 2], rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &head, &length, rest].concat()
    }

    #[test]
    fn headers_are_read_and_what_follows_is_left() {
        let v4 = [192, 0, 2, 1, 192, 0, 2, 9, 0x1f, 0x90, 0, 80];
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 16], &[1, 0, 0, 80]].concat();
        let with_extra = [&v4[..], &[4, 0, 2, 0, 0]].concat();
        let cases: &[(Vec<u8>, Source)] = &[
            (b"PROXY TCP4 192.0.2.1 192.0.2.9 8080 80\r\n".to_vec(), client("192.0.2.1:8080")),
            (b"PROXY TCP6 2001:db8::1 ::1 256 80\r\n".to_vec(), client("[2001:db8::1]:256")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Source::Own),
            (b"PROXY UNKNOWN ff:: what ever\r\n".to_vec(), Source::Own),
            (v2([0x21, 0x11], &v4), client("192.0.2.1:8080")),
            (v2([0x21, 0x11], &with_extra), client("192.0.2.1:8080")),
            (v2([0x21, 0x21], &v6), client("[2001:db8::1]:256")),
            (v2([0x20, 0x00], &[]), Source::Own),
            (v2([0x20, 0x11], &v4), Source::Own),
            (v2([0x21, 0x00], &[]), Source::Own),
        ];
        for (header, source) in cases {
            let shown = String::from_utf8_lossy(header);
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Ok(None), "{shown} cut at {cut}");
            }
            let whole = [header.as_slice(), b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&whole), Ok(Some((*source, header.len()))), "{shown}");
        }
    }

    #[test]
    fn damage_is_told_from_what_is_not_whole() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(PROXY_LINE_BYTES_MAX));
        let lines: &[&[u8]] = &[
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01",
            b"PROXY TCP4 192.0.2.1 192.0.2.9 80 80\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.9 80\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.9 80 80 80\r\n",
            b"PROXY TCP4  192.0.2.1 192.0.2.9 80 80\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.9 080 80\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.9 +80 80\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.9 65536 80\r\n",
            b"PROXY TCP4 192.0.2.01 192.0.2.9 80 80\r\n",
            b"PROXY TCP4 ::1 ::1 80 80\r\n",
            b"PROXY TCP6 192.0.2.1 192.0.2.9 80 80\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.9 80 80\r\n",
            b"PROXY \r\n",
            b"proxy TCP4 192.0.2.1 192.0.2.9 80 80\r\n",
            long.as_bytes(),
        ];
        for line in lines {
            assert_eq!(parse(line), Err(Damaged), "{}", String::from_utf8_lossy(line));
        }
        let too_long = [SIGNATURE.as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat();
        let binary = [
            v2([0x11, 0x11], &[0; 12]),
            v2([0x22, 0x11], &[0; 12]),
            v2([0x21, 0x12], &[0; 12]),
            v2([0x21, 0x11], &[0; 11]),
            v2([0x21, 0x21], &[0; 35]),
            v2([0x21, 0x11], &[0; 13]),
            v2([0x21, 0x11], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 9, 0]),
            too_long,
        ];
        for header in binary {
            assert_eq!(parse(&header), Err(Damaged), "{header:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let ends = [
            ("192.0.2.1:8080", "192.0.2.9:80", "192.0.2.1:8080"),
            ("[2001:db8::1]:1", "[::1]:80", "[2001:db8::1]:1"),
            ("[::ffff:192.0.2.1]:1", "192.0.2.9:80", "192.0.2.1:1"),
            ("192.0.2.1:1", "[2001:db8::9]:80", "[::ffff:192.0.2.1]:1"),
        ];
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            for (from, to, read) in ends {
                let header = write(version, Some((from.parse().unwrap(), to.parse().unwrap())));
                let length = header.len();
                assert_eq!(parse(&header), Ok(Some((client(read), length))), "{from} {to}");
            }
            let own = write(version, None);
            assert_eq!(parse(&own), Ok(Some((Source::Own, own.len()))));
        }
    }
}
