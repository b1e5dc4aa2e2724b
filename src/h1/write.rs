//! stub
use super::head::Framing;
pub fn request_line(_: &mut Vec<u8>, _: &str, _: &str, _: Option<&str>) { todo!() }
pub fn status_line(_: &mut Vec<u8>, _: u16) { todo!() }
pub fn field(_: &mut Vec<u8>, _: &[u8], _: &[u8]) { todo!() }
pub fn framing(_: &mut Vec<u8>, _: Framing) { todo!() }
pub fn end(_: &mut Vec<u8>) { todo!() }
