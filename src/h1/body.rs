//! stub
use super::{fields::Fields, head::Framing};
#[derive(Debug)] pub struct Decoder;
#[derive(Debug)] pub struct Encoder;
#[derive(Debug)] pub struct BodyError;
impl BodyError { pub fn reason(&self) -> &'static str { todo!() } }
pub struct Step { pub consumed: usize, pub data: std::ops::Range<usize> }
impl Decoder { pub fn new(_: Framing) -> Self { todo!() } pub fn decode(&mut self, _: &[u8]) -> Result<Step, BodyError> { todo!() } pub fn is_done(&self) -> bool { todo!() } pub fn on_eof(&mut self) -> Result<(), BodyError> { todo!() } pub fn trailers(&self) -> &Fields { todo!() } }
impl Encoder { pub fn new(_: Framing) -> Self { todo!() } pub fn is_framed(&self) -> bool { todo!() } pub fn begin_data(&mut self, _: &mut Vec<u8>, _: usize) -> Result<(), BodyError> { todo!() } pub fn end_data(&mut self, _: &mut Vec<u8>) { todo!() } pub fn finish(&mut self, _: &mut Vec<u8>, _: Option<&Fields>) -> Result<(), BodyError> { todo!() } }
