//! One socket to one address: its options, and the timers that notice a peer that went silent.

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

/// A silent peer is found after at most idle + interval x probes = 25 s where nothing of ours is under way, and after
/// `USER_TIMEOUT` where something is.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a socket goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

pub(super) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The socket file of a server: `.s.PGSQL.PORT` in the folder; a folder that starts with `@` is an abstract name.
pub(super) fn path(folder: &Path, port: u16) -> PathBuf {
    let path = folder.join(format!(".s.PGSQL.{port}"));
    match path.to_str().and_then(|text| text.strip_prefix('@')) {
        Some(name) => PathBuf::from(format!("\0{name}")),
        None => path,
    }
}

/// `receive_buffer` in bytes: a small one makes the server send larger pieces to a reader that naps between reads.
pub(super) async fn open(address: &Address, receive_buffer: Option<usize>) -> io::Result<Plain> {
    match address {
        Address::Tcp(address) => Ok(Plain::Tcp(open_tcp(*address, receive_buffer).await?)),
        Address::Unix(path) => Ok(Plain::Unix(UnixStream::connect(path).await?)),
    }
}

async fn open_tcp(address: SocketAddr, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer {
        // Before connecting, for the window's scale is agreed on with the first packet.
        socket.set_recv_buffer_size(bytes)?;
    }
    watch(&SockRef::from(&socket))?;
    TcpSocket::from_std_stream(socket.into()).connect(address).await
}

fn watch(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_unix_socket() {
        assert_eq!(path(Path::new("/run/pg"), 5433), Path::new("/run/pg/.s.PGSQL.5433"));
        assert_eq!(path(Path::new("@pg"), 5432), Path::new("\0pg/.s.PGSQL.5432"));
    }

    #[tokio::test]
    async fn the_options_are_set() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let Plain::Tcp(stream) = open(&address, Some(64 * 1024)).await.unwrap() else { panic!("tcp was asked for") };
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        // Linux keeps twice what was asked for, for its own bookkeeping.
        assert!(socket.recv_buffer_size().unwrap() <= 128 * 1024);
    }
}
