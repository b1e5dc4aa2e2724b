//! What carries a connection's bytes: a plain socket, or TLS over one?

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use rustls::ClientConnection;

use crate::certificate::Trust;

/// A non-blocking byte stream to the proxy.
pub struct Wire {
    stream: TcpStream,
    session: Option<Box<ClientConnection>>,
}

impl Wire {
    /// Over this socket; with TLS when there is a certificate to trust.
    pub fn new(stream: TcpStream, trust: Option<&Trust>) -> io::Result<Self> {
        let session = trust.map(Trust::session).transpose()?.map(Box::new);
        Ok(Wire { stream, session })
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether a read that did not fill its buffer has emptied the socket. TLS hands out what one
    /// record holds, whatever waits behind it.
    pub fn short_read_empties(&self) -> bool {
        self.session.is_none()
    }

    /// Takes bytes to send. TLS takes them before its handshake is over and sends them after it.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.stream.write(bytes) };
        let taken = session.writer().write(bytes)?;
        flush(session, &mut self.stream)?;
        // The session holds a bounded amount until the socket takes it.
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Sends what was taken and did not fit into the socket.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.session {
            Some(session) => flush(session, &mut self.stream),
            None => Ok(()),
        }
    }

    /// Reads bytes; 0 when the other side has closed.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.stream.read(buffer) };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Closed without a farewell: the answer's length tells whether anything is missing.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            session.read_tls(&mut self.stream)?;
            session.process_new_packets().map_err(io::Error::other)?;
            flush(session, &mut self.stream)?;
        }
    }
}

fn flush(session: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(stream) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => drop(other?),
        }
    }
    Ok(())
}
