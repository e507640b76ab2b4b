//! Asks a daemon for its `/status`, on this machine or wherever `listen` is.

use crate::status::Status;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than a daemon waits for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// A longer answer is not a daemon's.
const LONGEST: u64 = 16 << 20;

/// Its answer; `None`: nobody there, or somebody else.
pub(super) async fn daemon(listen: SocketAddr) -> Option<Status> {
    tokio::time::timeout(PATIENCE, answer(listen)).await.ok()?
}

async fn answer(listen: SocketAddr) -> Option<Status> {
    let mut stream = TcpStream::connect(reachable(listen)).await.ok()?;
    // 1.0: the answer ends with the connection, and comes in one piece.
    stream.write_all(format!("GET /status HTTP/1.0\r\nHost: {listen}\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await.ok()?;
    let text = std::str::from_utf8(&answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let ok = head.split(' ').nth(1) == Some("200");
    if ok { serde_json::from_str(body).ok() } else { None }
}

/// Who listens on every address is reached by the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
