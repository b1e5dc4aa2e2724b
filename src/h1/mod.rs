//! HTTP/1.1 on the wire, without sockets, clocks or tasks: bytes in, heads and framing out, and back.
//!
//! A head is read once into a type that cannot hold ambiguity: one host, one framing, one target.
//! What cannot be read without doubt is refused with a reason. Bodies are framed anew, so that no
//! byte of a peer's own framing ever passes through.

pub mod body;
pub mod fields;
pub mod head;
mod request;
mod response;
mod target;
#[cfg(test)]
mod tests;
pub mod write;
