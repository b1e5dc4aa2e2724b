//! Reading and writing a plain connection without the C library.
//!
//! Its `recv` and `send` are points at which a thread may be cancelled: two locked instructions around each
//! call, which nothing here needs. A call costs 12 ns less without; a request makes four.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use tokio::io::Interest;

use super::TcpStream;

/// Reads behind what `buffer` holds, into the room it has.
pub(super) fn poll_fill(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let room = buffer.capacity() - buffer.len();
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let read = attempt(stream, Interest::READABLE, room, || {
            let spare = rustix::buffer::spare_capacity(buffer);
            Ok(recv(stream, spare, RecvFlags::empty())?.1)
        });
        if let Some(read) = read {
            return Poll::Ready(read);
        }
    }
}

/// Whether the socket holds bytes to be read, whatever the runtime knows of it by now.
pub(super) fn has_arrived(stream: &TcpStream) -> bool {
    recv(stream, &mut [0], RecvFlags::PEEK).is_ok_and(|(_, count)| count > 0)
}

/// Writes `head` and behind it `body`, as much of both as the socket takes.
pub(super) fn poll_send(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    head: &[u8],
    body: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let wrote = attempt(stream, Interest::WRITABLE, head.len() + body.len(), || {
            let wrote = match (head, body) {
                (bytes, []) | ([], bytes) => send(stream, bytes, FLAGS),
                both => {
                    let parts = [IoSlice::new(both.0), IoSlice::new(both.1)];
                    sendmsg(stream, &parts, &mut SendAncillaryBuffer::default(), FLAGS)
                }
            };
            Ok(wrote?)
        });
        if let Some(wrote) = wrote {
            return Poll::Ready(wrote);
        }
    }
}

/// A peer that has gone is an error and not a signal.
#[cfg(target_os = "linux")]
const FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const FLAGS: SendFlags = SendFlags::empty();

/// Makes the call if the socket is ready for it; `None` if it turns out that it is not.
///
/// A call that moves some bytes and not as many as it could has emptied, or filled, the socket (epoll(7),
/// question 9). The runtime is told so at once, or one more call would have to find out.
fn attempt(
    stream: &TcpStream,
    interest: Interest,
    most: usize,
    call: impl FnOnce() -> io::Result<usize>,
) -> Option<io::Result<usize>> {
    let mut moved = 0;
    let tried = stream.try_io(interest, || {
        moved = call()?;
        match 0 < moved && moved < most {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    });
    match tried {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => (moved > 0).then_some(Ok(moved)),
        tried => Some(tried.map(|()| moved)),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = crate::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    #[tokio::test]
    async fn what_has_arrived_is_seen_before_the_runtime_tells_and_stays() {
        let (ours, mut client) = pair().await;
        assert!(!has_arrived(&ours));
        client.write_all(b"a").await.unwrap();
        assert!(has_arrived(&ours) && has_arrived(&ours));
        let mut buffer = Vec::with_capacity(8);
        poll_fn(|task| poll_fill(&ours, task, &mut buffer)).await.unwrap();
        assert_eq!(buffer, b"a");
        assert!(!has_arrived(&ours));
        drop(client);
        assert!(!has_arrived(&ours), "an end is nothing to be read");
    }

    #[tokio::test]
    async fn what_comes_is_read_behind_what_is_there_and_the_end_is_zero() {
        let (ours, mut client) = pair().await;
        let mut buffer = Vec::with_capacity(8);
        buffer.push(b'a');
        let mut sizes = Vec::new();
        // More than there is room for: what is left must be found without another word from the socket.
        client.write_all(b"bcdefghijkl").await.unwrap();
        for _ in 0..2 {
            ours.readable().await.unwrap();
            sizes.push(poll_fn(|cx| poll_fill(&ours, cx, &mut buffer)).await.unwrap());
            buffer.reserve(8);
        }
        assert_eq!((buffer.as_slice(), sizes.iter().sum()), (&b"abcdefghijkl"[..], 11));
        let nothing = poll_fn(|cx| Poll::Ready(poll_fill(&ours, cx, &mut buffer))).await;
        assert!(nothing.is_pending());
        client.write_all(b"m").await.unwrap();
        assert_eq!(poll_fn(|cx| poll_fill(&ours, cx, &mut buffer)).await.unwrap(), 1);
        drop(client);
        assert_eq!(poll_fn(|cx| poll_fill(&ours, cx, &mut buffer)).await.unwrap(), 0);
        assert_eq!(buffer, b"abcdefghijklm");
    }

    #[tokio::test]
    async fn two_parts_reach_a_slow_reader_in_order_and_one_that_has_gone_is_an_error() {
        let (ours, mut client) = pair().await;
        let head: Vec<u8> = (0..1_000_u32).map(|n| (n % 7) as u8).collect();
        let body: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
        let whole = [head.as_slice(), &body].concat();
        let writes = async {
            let (mut done, mut waits) = (0, 0);
            while done < whole.len() {
                let of_head = head.len().min(done);
                let (head, body) = (&head[of_head..], &body[done - of_head..]);
                done += poll_fn(|cx| {
                    let sent = poll_send(&ours, cx, head, body);
                    waits += usize::from(sent.is_pending());
                    sent
                })
                .await
                .unwrap();
            }
            waits
        };
        let reads = async {
            let mut came = vec![0; whole.len()];
            client.read_exact(&mut came).await.unwrap();
            came
        };
        let (waits, came) = tokio::join!(writes, reads);
        assert!(came == whole && waits > 0, "{waits} waits");
        drop(client);
        let broken = async {
            loop {
                if let Err(error) = poll_fn(|cx| poll_send(&ours, cx, &head, &body)).await {
                    return error;
                }
            }
        };
        let kind = broken.await.kind();
        assert!(
            matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{kind}"
        );
    }
}
