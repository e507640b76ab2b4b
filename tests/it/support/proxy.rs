//! A TCP proxy between the daemon and a server: it cuts, falls silent, or delays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Connections before this number stay open and nothing passes on them, as when a firewall drops its state; later ones pass.
    Silent(u64),
    /// Open connections are closed, new ones too.
    Cut,
}

/// Ends with the test's runtime.
pub struct Proxy {
    pub port: u16,
    accepted: Arc<AtomicU64>,
    line: watch::Sender<Line>,
}

impl Proxy {
    /// A proxy on this port, before the server on that one.
    pub async fn on(port: u16, server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let (line, seen) = watch::channel(Line::Pass(Duration::ZERO));
        let accepted = Arc::new(AtomicU64::new(0));
        let counted = accepted.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((client, _)) = listener.accept().await else { return };
                counted.store(number + 1, Ordering::SeqCst);
                if *seen.borrow() == Line::Cut {
                    continue;
                }
                let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                client.set_nodelay(true).ok();
                upstream.set_nodelay(true).ok();
                let ((a, b), (c, d)) = (client.into_split(), upstream.into_split());
                pump(number, a, d, seen.clone());
                pump(number, c, b, seen.clone());
            }
        });
        Self { port, accepted, line }
    }

    pub fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// Nothing passes any more, on any connection.
    pub fn silence(&self) {
        self.line.send_replace(Line::Silent(u64::MAX));
    }

    /// Nothing passes any more on the connections that are open now. New ones are well.
    pub fn silence_open(&self) {
        self.line.send_replace(Line::Silent(self.accepted.load(Ordering::SeqCst)));
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
fn pump(number: u64, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let mut cut = line.clone();
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let delay = match *line.borrow_and_update() {
                Line::Pass(delay) => Some(delay),
                Line::Silent(before) => (number >= before).then_some(Duration::ZERO),
                Line::Cut => return,
            };
            match delay {
                None => {
                    if line.changed().await.is_err() {
                        return;
                    }
                }
                Some(delay) => tokio::select! {
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
