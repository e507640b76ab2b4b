//! The one task that owns the socket: it answers the server, reads while there is room, and hands on whole frames.

use super::{
    budget::{self, Budget, Room},
    connection::Connection,
    frame,
    pace::Pace,
    status::Progress,
    wire::Wire,
};
use crate::{change::EndLsn, source::SourceError};
use bytes::Bytes;
use futures_util::FutureExt;
use postgres_protocol::message::frontend;
use std::{io, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

/// Size of a read buffer, and so of a chunk, but for longer frames.
const READ: usize = 256 * 1024;
/// Confirmations are passed on at most so often.
const CONFIRM_GAP: Duration = Duration::from_millis(100);
/// At the latest the server hears of us so often, whatever it says it needs.
const STATUS_GAP: Duration = Duration::from_secs(10);
/// A source that shuts down gets so long to send the rest. What is not sent is still in the slot.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whole frames in the order of the stream; an error is the last.
pub type Chunks = mpsc::UnboundedReceiver<Result<Bytes, SourceError>>;

/// What bounds the pump.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes in flight.
    pub budget: usize,
    /// After so long without a byte the connection counts as dead.
    pub silence: Duration,
}

pub struct Pump {
    wire: Wire,
    /// What was read: whole frames are taken off, so it starts with the frame that is cut, and always has room for it.
    input: Vec<u8>,
    progress: Progress,
    confirmed: watch::Receiver<EndLsn>,
    leaving: watch::Receiver<bool>,
    chunks: mpsc::UnboundedSender<Result<Bytes, SourceError>>,
    budget: Budget,
    /// Whole frames that wait for room. Nothing is read meanwhile.
    held: Option<Vec<u8>>,
    pace: Pace,
    status_gap: Duration,
    silence: Duration,
    last_status: Option<Instant>,
    /// A confirmation is to be passed on.
    news: bool,
    /// When a byte was last heard, or listening began again.
    heard: Instant,
    /// When we asked the server to say something.
    asked: Option<Instant>,
    /// Since when the source is known to shut down.
    left: Option<Instant>,
}

enum Input {
    ConsumerGone,
    Confirmed,
    SourceLeaving,
    Time,
    Room(Room),
    Read(io::Result<usize>),
}

/// A pump on a connection that streams from `start` on, and what comes out of it.
pub fn pump(
    connection: Connection,
    limits: Limits,
    (start, confirmed): (EndLsn, watch::Receiver<EndLsn>),
    leaving: watch::Receiver<bool>,
) -> (Pump, Chunks) {
    let (chunks, receiver) = mpsc::unbounded_channel();
    let mut input = Vec::with_capacity(READ);
    input.extend_from_slice(&connection.wire.input);
    let progress = Progress::new(start, *confirmed.borrow());
    let third = Some(connection.sender_timeout() / 3).filter(|third| !third.is_zero());
    let pump = Pump {
        pace: Pace::new(connection.round_trip()),
        wire: connection.wire,
        input,
        progress,
        confirmed,
        leaving,
        chunks,
        budget: Budget::new(limits.budget),
        held: None,
        status_gap: third.unwrap_or(STATUS_GAP).min(STATUS_GAP),
        silence: limits.silence,
        last_status: None,
        news: false,
        heard: Instant::now(),
        asked: None,
        left: None,
    };
    (pump, receiver)
}

impl Pump {
    /// Runs until the stream ends, which is then the last of the chunks, or nobody wants the chunks.
    pub async fn run(mut self) {
        let end = match self.take_frames().await {
            Ok(()) => self.stream().await,
            Err(error) => Err(error),
        };
        match end {
            Ok(()) => self.say_goodbye().await,
            Err(error) => drop(self.chunks.send(Err(error))),
        }
    }

    async fn stream(&mut self) -> Result<(), SourceError> {
        loop {
            match self.next().await {
                Input::ConsumerGone => return Ok(()),
                Input::Confirmed => self.news |= self.progress.confirm(*self.confirmed.borrow_and_update()),
                Input::SourceLeaving => self.left = Some(Instant::now()),
                Input::Time => self.on_time().await?,
                Input::Room(room) => self.deliver(room),
                Input::Read(read) => self.on_read(read?).await?,
            }
        }
    }

    /// Answering goes first, so that no amount of work on either side keeps the server waiting.
    async fn next(&mut self) -> Input {
        let alarm = self.alarm();
        tokio::select! {
            biased;
            () = self.chunks.closed() => Input::ConsumerGone,
            Ok(()) = self.confirmed.changed(), if !self.news => Input::Confirmed,
            Ok(()) = self.leaving.changed(), if self.left.is_none() => Input::SourceLeaving,
            () = sleep_until(alarm) => Input::Time,
            room = room(&self.budget, self.held.as_ref()), if self.held.is_some() => Input::Room(room),
            read = self.wire.read_into(&mut self.input), if self.held.is_none() => Input::Read(read),
        }
    }

    fn status_due(&self) -> Option<Instant> {
        self.last_status.map(|last| last + if self.news { CONFIRM_GAP } else { self.status_gap })
    }

    /// When to ask for a sign of life, or to give up. We cannot hear what we don't read.
    fn silence_due(&self) -> Option<Instant> {
        let third = self.silence / 3;
        self.held.is_none().then(|| self.asked.map_or(self.heard + third, |asked| asked + 2 * third))
    }

    /// A stalled stream would hold up the source for as long as the consumer is away.
    fn farewell_due(&self) -> Option<Instant> {
        self.left.map(|left| if self.held.is_some() { left } else { left + FAREWELL })
    }

    fn alarm(&self) -> Instant {
        let status = self.status_due().unwrap_or_else(Instant::now);
        [self.silence_due(), self.farewell_due()].into_iter().flatten().fold(status, Instant::min)
    }

    async fn on_time(&mut self) -> Result<(), SourceError> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if due(self.farewell_due()) {
            return Err(SourceError::ShuttingDown);
        }
        if due(self.silence_due()) {
            if self.asked.is_some() {
                return Err(SourceError::Silent(self.silence));
            }
            self.asked = Some(Instant::now());
            return self.send_status().await;
        }
        if self.last_status.is_none() || due(self.status_due()) {
            return self.send_status().await;
        }
        Ok(())
    }

    async fn send_status(&mut self) -> Result<(), SourceError> {
        self.progress.confirm(*self.confirmed.borrow_and_update());
        for status in self.progress.statuses() {
            status.write_to(self.asked.is_some(), &mut self.wire.output);
        }
        (self.last_status, self.news) = (Some(Instant::now()), false);
        match timeout(self.silence, self.wire.flush()).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(SourceError::Silent(self.silence)),
        }
    }

    async fn on_read(&mut self, bytes: usize) -> Result<(), SourceError> {
        if bytes == 0 {
            return Err(SourceError::Closed);
        }
        (self.heard, self.asked) = (Instant::now(), None);
        self.take_frames().await?;
        if let Some(nap) = self.pace.after(self.heard.into_std(), bytes) {
            self.wire.transport.rest()?;
            sleep(nap).await;
        }
        Ok(())
    }

    /// Takes the whole frames off the input and delivers them, or holds them until there is room.
    async fn take_frames(&mut self) -> Result<(), SourceError> {
        let scan = frame::scan(&self.input)?;
        self.progress.received(scan.received);
        if scan.complete > 0 {
            let chunk = take_front(&mut self.input, scan.complete, scan.next);
            let room = room(&self.budget, Some(&chunk)).now_or_never();
            self.held = Some(chunk);
            room.into_iter().for_each(|room| self.deliver(room));
        } else if scan.next > self.input.capacity() {
            self.input.reserve_exact(scan.next - self.input.len());
        }
        if scan.asked { self.send_status().await } else { Ok(()) }
    }

    fn deliver(&mut self, room: Room) {
        if let Some(chunk) = self.held.take() {
            self.heard = Instant::now();
            self.chunks.send(Ok(budget::shared(chunk, room))).ok(); // nobody there: `closed` says so next
        }
    }

    /// The last confirmation, and an end that the server does not take for an accident.
    async fn say_goodbye(&mut self) {
        self.asked = None;
        let goodbye = async {
            self.send_status().await?;
            frontend::terminate(&mut self.wire.output);
            self.wire.flush().await?;
            self.wire.transport.shutdown().await?;
            Ok::<(), SourceError>(())
        };
        timeout(FAREWELL, goodbye).await.ok(); // a server that is gone needs no goodbye
    }
}

async fn room(budget: &Budget, chunk: Option<&Vec<u8>>) -> Room {
    match chunk {
        Some(chunk) => budget.room_for(chunk).await,
        None => std::future::pending().await,
    }
}

/// The first `complete` bytes, which leave `input`; after that `input` has room for a frame of `next` bytes. A nearly full
/// buffer is given away, little is copied, so that a chunk never pins much more than it holds.
fn take_front(input: &mut Vec<u8>, complete: usize, next: usize) -> Vec<u8> {
    let keep_buffer = complete < input.capacity() / 2 && next <= input.capacity();
    if keep_buffer {
        let front = input[..complete].to_vec();
        input.drain(..complete);
        return front;
    }
    let mut rest = Vec::with_capacity(READ.max(next));
    rest.extend_from_slice(&input[complete..]);
    input.truncate(complete);
    std::mem::replace(input, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_copied_or_given_away() {
        let mut input = Vec::with_capacity(READ);
        input.extend_from_slice(b"frames|cut");
        let buffer = input.as_ptr();
        let front = take_front(&mut input, 7, 0);
        assert_eq!((&front[..], &input[..], input.as_ptr()), (&b"frames|"[..], &b"cut"[..], buffer));
        assert!(front.capacity() < 100);

        input.resize(READ - 3, b'x');
        let front = take_front(&mut input, READ - 10, 3 * READ);
        assert_eq!((front.len(), input.len(), front.as_ptr()), (READ - 10, 7, buffer));
        assert!(input.capacity() >= 3 * READ);
    }
}
