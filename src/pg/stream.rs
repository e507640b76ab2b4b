//! A connected socket that can rest: for a while nobody is woken when bytes arrive on it.

use socket2::SockRef;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

/// A byte stream to a server, TLS already done where the endpoint asks for it, nothing sent on it yet.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {
    /// Takes the socket out of the runtime's sight until it is next used. A runtime that waits for a socket is woken by each piece
    /// that arrives, however little; that is what makes many small pieces dear, for the sender too.
    ///
    /// # Errors
    /// The kernel's; the stream is then of no further use.
    fn rest(&mut self) -> io::Result<()>;

    /// Sets SO_RCVBUF, in bytes: a small one makes the server send larger pieces to a reader that naps between reads. Of no use to a
    /// Unix socket.
    ///
    /// # Errors
    /// The kernel's.
    fn narrow(&mut self, bytes: usize) -> io::Result<()>;
}

impl<S: Transport> Transport for TlsStream<S> {
    fn rest(&mut self) -> io::Result<()> {
        self.get_mut().0.rest()
    }

    fn narrow(&mut self, bytes: usize) -> io::Result<()> {
        self.get_mut().0.narrow(bytes)
    }
}

/// A socket, seen by the runtime or not.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    RestingTcp(std::net::TcpStream),
    RestingUnix(std::os::unix::net::UnixStream),
    /// What it was when the kernel refused it.
    Lost,
}

impl Transport for Stream {
    fn rest(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Stream::Lost) {
            Stream::Tcp(stream) => Stream::RestingTcp(stream.into_std()?),
            Stream::Unix(stream) => Stream::RestingUnix(stream.into_std()?),
            resting => resting,
        };
        Ok(())
    }

    fn narrow(&mut self, bytes: usize) -> io::Result<()> {
        match self {
            Stream::Tcp(socket) => SockRef::from(&*socket).set_recv_buffer_size(bytes),
            Stream::RestingTcp(socket) => SockRef::from(&*socket).set_recv_buffer_size(bytes),
            _ => Ok(()),
        }
    }
}

impl Stream {
    fn wake(&mut self) -> io::Result<()> {
        if matches!(self, Stream::RestingTcp(_) | Stream::RestingUnix(_)) {
            *self = match std::mem::replace(self, Stream::Lost) {
                Stream::RestingTcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
                Stream::RestingUnix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
                awake => awake,
            };
        }
        Ok(())
    }
}

/// Hands a poll to the socket, awake.
macro_rules! awake {
    ($stream:expr, $socket:ident => $poll:expr) => {{
        let stream = $stream.get_mut();
        stream.wake()?;
        match stream {
            Stream::Tcp(socket) => {
                let $socket = Pin::new(socket);
                $poll
            }
            Stream::Unix(socket) => {
                let $socket = Pin::new(socket);
                $poll
            }
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }};
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        awake!(self, socket => socket.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        awake!(self, socket => socket.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        awake!(self, socket => socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        awake!(self, socket => socket.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn it_wakes_when_it_is_used() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut near = Stream::Unix(near);
        let mut byte = [0];
        for sent in 1..4 {
            near.rest().unwrap();
            near.rest().unwrap();
            far.write_all(&[sent]).await.unwrap();
            near.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, [sent]);
            near.rest().unwrap();
            near.write_all(&byte).await.unwrap();
            far.read_exact(&mut byte).await.unwrap();
        }
        near.rest().unwrap();
        drop(far);
        assert_eq!(near.read(&mut byte).await.unwrap(), 0);
    }
}
