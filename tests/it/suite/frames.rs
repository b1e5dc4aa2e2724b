//! Frames of HTTP/2 by hand: written as a case says, whatever the protocol says, and read.

use super::case::expand;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// What every peer takes.
const FRAME_BYTES_MAX: usize = 16_384;

/// A step of a client.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// A request head of exactly these fields; whether it ends the stream.
    Head(u32, bool, &'static [(&'static str, &'static str)]),
    /// A good GET with further fields.
    Get(u32, bool, &'static [(&'static str, &'static str)]),
    /// A good POST with further fields.
    Post(u32, bool, &'static [(&'static str, &'static str)]),
    /// Data; whether it ends the stream.
    Data(u32, bool, &'static str),
    /// Trailers.
    Trailers(u32, &'static [(&'static str, &'static str)]),
    /// Any frame: type, flags, stream, payload.
    Frame(u8, u8, u32, &'static str),
    /// So many times these, each time on a stream of its own.
    Many(u32, &'static [Op]),
    /// So many times these, on the same stream.
    Again(u32, &'static [Op]),
    /// Bytes instead of the preface.
    Instead(&'static str),
}

/// All frames of a case. `place` names it.
pub fn written(ops: &[Op], place: usize) -> Vec<u8> {
    let mut out = match ops.first() {
        Some(Op::Instead(bytes)) => return expand(bytes, place),
        _ => PREFACE.to_vec(),
    };
    // No dynamic table towards us: what is read needs no state.
    frame(&mut out, SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
    for op in ops {
        write(&mut out, *op, place, 0);
    }
    out
}

/// The frames of an upstream that answers on this stream; they are written for stream 1.
pub fn answered(ops: &[Op], stream: u32, place: usize) -> Vec<u8> {
    if let Some(Op::Instead(bytes)) = ops.first() {
        return expand(bytes, place);
    }
    let mut out = Vec::new();
    ops.iter().for_each(|op| write(&mut out, *op, place, stream - 1));
    out
}

fn write(out: &mut Vec<u8>, op: Op, place: usize, shift: u32) {
    let end = |end: bool| if end { END_STREAM } else { 0 };
    match op {
        Op::Head(stream, ends, fields) => {
            head(out, end(ends), stream + shift, &block(fields, place));
        }
        Op::Get(stream, ends, fields) => {
            let all = [block(&good("GET"), place), block(fields, place)].concat();
            head(out, end(ends), stream + shift, &all);
        }
        Op::Post(stream, ends, fields) => {
            let all = [block(&good("POST"), place), block(fields, place)].concat();
            head(out, end(ends), stream + shift, &all);
        }
        Op::Data(stream, ends, text) => {
            frame(out, DATA, end(ends), stream + shift, &expand(text, place));
        }
        Op::Trailers(stream, fields) => {
            let flags = END_HEADERS | END_STREAM;
            frame(out, HEADERS, flags, stream + shift, &block(fields, place));
        }
        Op::Frame(kind, flags, stream, payload) => {
            let stream = if stream == 0 { 0 } else { stream + shift };
            frame(out, kind, flags, stream, &expand(payload, place));
        }
        Op::Many(count, ops) => {
            for turn in 0..count {
                ops.iter().for_each(|op| write(out, *op, place, 2 * turn));
            }
        }
        Op::Again(count, ops) => {
            for _ in 0..count {
                ops.iter().for_each(|op| write(out, *op, place, shift));
            }
        }
        Op::Instead(_) => {}
    }
}

fn good(method: &'static str) -> [(&'static str, &'static str); 4] {
    [(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", "/@@")]
}

/// A head in as many frames as it takes.
fn head(out: &mut Vec<u8>, flags: u8, stream: u32, block: &[u8]) {
    let (first, rest) = block.split_at(block.len().min(FRAME_BYTES_MAX));
    let last = if rest.is_empty() { END_HEADERS } else { 0 };
    frame(out, HEADERS, flags | last, stream, first);
    let mut rest = rest.chunks(FRAME_BYTES_MAX).peekable();
    while let Some(piece) = rest.next() {
        let last = if rest.peek().is_none() { END_HEADERS } else { 0 };
        frame(out, CONTINUATION, last, stream, piece);
    }
}

/// One frame.
pub fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Fields as literals that no table keeps.
pub fn block(fields: &[(&str, &str)], place: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            let text = expand(text, place);
            match text.len() {
                short @ ..127 => out.push(u8::try_from(short).unwrap()),
                long => {
                    out.push(127);
                    let mut left = long - 127;
                    while left >= 128 {
                        out.push(u8::try_from(left % 128).unwrap() | 128);
                        left /= 128;
                    }
                    out.push(u8::try_from(left).unwrap());
                }
            }
            out.extend_from_slice(&text);
        }
    }
    out
}

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// Takes a frame off the beginning, if it is all there.
pub fn take(buffer: &mut Vec<u8>) -> Option<Frame> {
    let [a, b, c, kind, flags, s0, s1, s2, s3, ..] = *buffer.as_slice() else { return None };
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if buffer.len() < 9 + length {
        return None;
    }
    let payload = buffer[9..9 + length].to_vec();
    buffer.drain(..9 + length);
    let stream = u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff;
    Some(Frame { kind, flags, stream, payload })
}

/// The status that a block begins with: it is always the first field.
pub fn status(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // Changes of the table's size may stand before it.
    let Some(start) = block.iter().position(|byte| byte & 0xe0 != 0x20) else { return 0 };
    match block[start..] {
        [index @ 0x88..=0x8e, ..] => INDEXED[usize::from(index - 0x88)],
        [0x08 | 0x18 | 0x48, length, ref rest @ ..] => {
            let bytes = rest.get(..usize::from(length & 0x7f)).unwrap_or_default();
            let text = if length & 0x80 == 0 { bytes.to_vec() } else { digits(bytes) };
            String::from_utf8_lossy(&text).parse().unwrap_or(0)
        }
        _ => 0,
    }
}

/// Digits in Huffman's code: `0` to `2` take five bits, the others six.
fn digits(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |sum, bit| sum * 2 + bit);
    let (mut out, mut at) = (Vec::new(), 0);
    while at + 5 <= bits.len() && out.len() < 3 {
        let five = number(&bits[at..at + 5]);
        if five < 3 {
            out.push(b'0' + five);
            at += 5;
        } else if at + 6 <= bits.len() {
            out.push(b'3' + number(&bits[at..at + 6]).wrapping_sub(0x19));
            at += 6;
        } else {
            break;
        }
    }
    out
}
