//! One socket to one address: its options, and the timers that notice a peer that went silent.

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

/// A silent peer is found after idle + interval x probes = 25 s where nothing of ours is under way; keepalives rest while something
/// is, and then `USER_TIMEOUT` finds it. (Where it is set, the kernel goes by it for keepalives too: then it takes 30 s either way.)
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// What to make of a server that is there but does not read what we send.
///
/// `TCP_USER_TIMEOUT` (tcp(7)) does not tell it from one that is dead: it also counts the time in which data cannot be sent because
/// the peer's window is closed. Ordinary statements never get there, for a server reads a statement whole before it executes it. In
/// the middle of a COPY it does: it stops reading for as long as a trigger, an index or a disk takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BusyReader {
    /// It is cut after `USER_TIMEOUT`.
    #[default]
    Cut,
    /// It may take its time: its kernel answers our probes. One that is dead while data is under way is found by the kernel's own
    /// limit on retransmissions, a quarter of an hour; a session of the other sort, which always runs beside, finds it sooner.
    Wait,
}

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

pub(super) async fn open(address: &Address, busy_reader: BusyReader) -> io::Result<Plain> {
    match address {
        Address::Tcp(address) => Ok(Plain::Tcp(open_tcp(*address, busy_reader).await?)),
        Address::Unix(path) => Ok(Plain::Unix(UnixStream::connect(path).await?)),
    }
}

async fn open_tcp(address: SocketAddr, busy_reader: BusyReader) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    watch(&SockRef::from(&socket), (busy_reader == BusyReader::Cut).then_some(USER_TIMEOUT))?;
    TcpSocket::from_std_stream(socket.into()).connect(address).await
}

fn watch(socket: &SockRef<'_>, user_timeout: Option<Duration>) -> io::Result<()> {
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(user_timeout)?;
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
        let Plain::Tcp(stream) = open(&address, BusyReader::Cut).await.unwrap() else { panic!("tcp was asked for") };
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }

    /// A peer that is there and does not read for 3 s is cut by a user timeout of 1 s; without one it outlasts keepalives of 2 s.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_busy_reader_is_not_a_dead_one() {
        let (cut, waited) = tokio::join!(send_to_a_busy_reader(Some(SECOND)), send_to_a_busy_reader(None));
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::TimedOut);
        waited.unwrap();
    }

    const SECOND: Duration = Duration::from_secs(1);

    async fn send_to_a_busy_reader(user_timeout: Option<Duration>) -> io::Result<()> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = Address::Tcp(listener.local_addr()?);
        let Plain::Tcp(mut near) = open(&address, BusyReader::Wait).await? else { panic!("tcp was asked for") };
        let (mut far, _) = listener.accept().await?;
        let socket = SockRef::from(&near);
        assert_eq!(socket.tcp_user_timeout()?, None);
        watch(&socket, user_timeout)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SECOND).with_interval(SECOND).with_retries(1))?;
        let sent = vec![0; 32 << 20];
        let reads = async {
            tokio::time::sleep(3 * SECOND).await;
            let mut received = vec![0; sent.len()];
            far.read_exact(&mut received).await
        };
        let (wrote, read) = tokio::join!(near.write_all(&sent), reads);
        wrote.and(read.map(|_| ()))
    }
}
