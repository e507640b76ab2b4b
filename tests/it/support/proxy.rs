//! A TCP proxy between the daemon and a server: it cuts, falls silent, or delays.

use super::servers::free_port;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    /// Bytes pass, each so much later, in either direction.
    Pass(Duration),
    /// Connections stay open and nothing passes, as when a firewall drops its state.
    Silent,
    /// Open connections are closed, new ones too.
    Cut,
}

/// Ends with the test's runtime.
pub struct Proxy {
    pub port: u16,
    line: watch::Sender<Line>,
}

impl Proxy {
    /// A proxy before a server on this machine.
    pub async fn before(server: u16) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let (line, seen) = watch::channel(Line::Pass(Duration::ZERO));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *seen.borrow() == Line::Cut {
                    continue;
                }
                let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                client.set_nodelay(true).ok();
                upstream.set_nodelay(true).ok();
                let ((a, b), (c, d)) = (client.into_split(), upstream.into_split());
                pump(a, d, seen.clone());
                pump(c, b, seen.clone());
            }
        });
        Self { port, line }
    }

    pub fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    pub fn silence(&self) {
        self.line.send_replace(Line::Silent);
    }

    /// Half of the round trip: each direction takes so long.
    pub fn delay(&self, time: Duration) {
        self.line.send_replace(Line::Pass(time));
    }

    /// All is well again. Connections that were silenced go on where they stopped.
    pub fn mend(&self) {
        self.delay(Duration::ZERO);
    }
}

/// Moves bytes one way. Late bytes wait in a queue, so a delay costs latency and not throughput.
fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let mut cut = line.clone();
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let now = *line.borrow_and_update();
            match now {
                Line::Cut => return,
                Line::Silent => {
                    if line.changed().await.is_err() {
                        return;
                    }
                }
                Line::Pass(delay) => tokio::select! {
                    _ = line.changed() => {}
                    got = from.read(&mut buffer) => match got {
                        Ok(len) if len > 0 => {
                            if queue.send((Instant::now() + delay, buffer[..len].to_vec())).await.is_err() { return }
                        }
                        _ => return,
                    },
                },
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    };
    tokio::spawn(read);
    tokio::spawn(async move {
        tokio::select! {
            () = write => {}
            _ = cut.wait_for(|line| *line == Line::Cut) => {}
        }
    });
}
