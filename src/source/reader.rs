//! A slot's stream as feed: opens it, and runs the three tasks behind it (pump, decoder, sentinel).

use super::{
    Assembly, KnownLeaves, SlotName, SourceError, pgoutput,
    replication::{
        Chunks, Connection, Limits,
        frame::{self, Frame},
        pump,
    },
    sentinel::Sentinel,
};
use crate::{
    change::{EndLsn, Feed},
    pg::Endpoint,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Decoded batches that may wait. What they weigh is in the budget.
const BATCHES: usize = 4;
/// A row's frame and its feed are seldom shorter.
const BYTES_PER_FEED: usize = 96;

/// `object_not_in_prerequisite_state`: as a warning within a stream it says that a publication was left out.
const NOT_AS_NEEDED: &str = "55000";

/// What to read, and within which bounds.
#[derive(Clone, Debug)]
pub struct ReaderConfig {
    pub endpoint: Endpoint,
    pub application: String,
    pub slot: SlotName,
    /// All that this connector ever reads: a message's place in its transaction depends on them.
    pub publications: Vec<String>,
    /// Goes into every position.
    pub incarnation: u32,
    /// Where to begin; an earlier place than the slot's confirmed position means that one.
    pub start: EndLsn,
    /// Of these partitioned tables no other partition's changes are handed on.
    pub partitions: KnownLeaves,
    /// Bytes of read buffers that may be on their way, or pinned by rows that are still held. The feed made of them weighs about
    /// as much again. A longer row passes alone.
    pub budget: usize,
    /// After so long without a byte from the server the stream ends, to be opened again.
    pub silence: Duration,
}

impl ReaderConfig {
    /// With the usual bounds, from the slot's confirmed position on.
    pub fn new(endpoint: Endpoint, application: impl Into<String>, slot: SlotName, publications: Vec<String>) -> Self {
        Self {
            endpoint,
            application: application.into(),
            slot,
            publications,
            incarnation: 0,
            start: EndLsn::default(),
            partitions: KnownLeaves::default(),
            budget: 8 << 20,
            silence: Duration::from_secs(60),
        }
    }
}

/// A stream that runs. Drop it to end it: the last confirmation is still sent, then its tasks end.
#[derive(Debug)]
pub struct Reader {
    batches: mpsc::Receiver<Result<Vec<Feed>, SourceError>>,
    feedback: Feedback,
    confirmed: EndLsn,
}

/// Tells the source what is safe downstream.
#[derive(Clone, Debug)]
pub struct Feedback(watch::Sender<EndLsn>);

impl Feedback {
    /// Everything that ends at or before `end` is safe: the source may forget it. Never goes back. The server hears of it within
    /// 0.1 s, as long as the reader lives.
    pub fn confirm(&self, end: EndLsn) {
        self.0.send_if_modified(|confirmed| {
            let news = end > *confirmed;
            *confirmed = end.max(*confirmed);
            news
        });
    }
}

impl Reader {
    /// Reads what a simulated server sends, for as long as `spawn` runs its task.
    #[cfg(test)]
    pub fn simulated(
        (incarnation, confirmed): (u32, EndLsn),
        chunks: Chunks,
        spawn: impl FnOnce(BoxFuture<'static, ()>),
    ) -> (Self, watch::Receiver<EndLsn>) {
        let (sender, batches) = mpsc::channel(BATCHES);
        spawn(Box::pin(decode(chunks, Assembly::new(incarnation, KnownLeaves::default()), sender)));
        let feedback = Feedback(watch::Sender::new(confirmed));
        let confirms = feedback.0.subscribe();
        (Self { batches, feedback, confirmed }, confirms)
    }

    /// Opens the stream and starts its tasks through `spawn`.
    ///
    /// # Errors
    /// See [`SourceError`]; [`SourceError::SlotActive`] where another session reads the slot.
    pub async fn start(config: ReaderConfig, spawn: &(dyn Fn(BoxFuture<'static, ()>) + Sync)) -> Result<Self, SourceError> {
        let ReaderConfig { endpoint, application, slot, publications, incarnation, start, partitions, budget, silence } = config;
        let mut connection = Connection::open_for_stream(&endpoint, &application).await?;
        let host = connection.host();
        let open = async {
            let facts = connection.slot_facts(&slot).await?.ok_or_else(|| SourceError::SlotMissing(slot.clone()))?;
            let confirmed = facts.fits(&slot)?;
            if let Some(missing) = connection.missing_publication(&publications).await? {
                return Err(SourceError::PublicationMissing(missing));
            }
            connection.start_stream(&slot, &publications, start).await?;
            Ok((confirmed, connection))
        };
        let (opened, sentinel) = futures_util::join!(open, Sentinel::post(&endpoint, host, &application));
        let ((confirmed, connection), sentinel) = (opened?, sentinel?);

        let feedback = Feedback(watch::Sender::new(confirmed));
        let limits = Limits { budget, silence };
        let (pump, chunks) = pump(connection, limits, (start, feedback.0.subscribe()), sentinel.signal());
        let (sender, batches) = mpsc::channel(BATCHES);
        spawn(Box::pin(sentinel.run()));
        spawn(Box::pin(pump.run()));
        spawn(Box::pin(decode(chunks, Assembly::new(incarnation, partitions), sender)));
        Ok(Self { batches, feedback, confirmed })
    }

    /// The next part of the stream, in its order; its end is an error, after which there is nothing more. Cancel safe.
    ///
    /// Rows share memory with the read buffers, and these are bounded: whoever waits for more while it holds on to rows (without
    /// [`crate::change::Row::detached`]) may wait for ever.
    ///
    /// # Errors
    /// Why the stream ended.
    pub async fn next(&mut self) -> Result<Vec<Feed>, SourceError> {
        self.batches.recv().await.unwrap_or(Err(SourceError::Closed))
    }

    /// As [`Reader::next`], without waiting; `None`: nothing is there now.
    ///
    /// # Errors
    /// Why the stream ended.
    pub fn try_next(&mut self) -> Result<Option<Vec<Feed>>, SourceError> {
        match self.batches.try_recv() {
            Ok(batch) => batch.map(Some),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(SourceError::Closed),
        }
    }

    pub fn feedback(&self) -> Feedback {
        self.feedback.clone()
    }

    /// The slot's confirmed position when the stream began.
    pub fn confirmed_at_start(&self) -> EndLsn {
        self.confirmed
    }
}

/// Decodes beside the pump, one batch a chunk.
async fn decode(mut chunks: Chunks, mut assembly: Assembly, batches: mpsc::Sender<Result<Vec<Feed>, SourceError>>) {
    loop {
        let chunk = tokio::select! {
            biased;
            () = batches.closed() => return,
            chunk = chunks.recv() => chunk,
        };
        let mut feeds = Vec::new();
        let end = match chunk {
            Some(Ok(chunk)) => decode_chunk(chunk, &mut assembly, &mut feeds).err(),
            Some(Err(error)) => Some(error),
            None => Some(SourceError::Closed),
        };
        if !feeds.is_empty() && batches.send(Ok(feeds)).await.is_err() {
            return;
        }
        if let Some(error) = end {
            batches.send(Err(error)).await.ok();
            return;
        }
    }
}

fn decode_chunk(mut chunk: Bytes, assembly: &mut Assembly, feeds: &mut Vec<Feed>) -> Result<(), SourceError> {
    feeds.reserve(chunk.len() / BYTES_PER_FEED);
    while !chunk.is_empty() {
        match frame::take(&mut chunk)? {
            Frame::Data(message) => assembly.push(pgoutput::decode(message)?, feeds)?,
            // Inside a transaction it says nothing that may be confirmed.
            Frame::Keepalive(end) if !assembly.is_open() || broken!(IdleInside) => feeds.push(Feed::Keepalive { end }),
            Frame::Notice(notice) if notice.sqlstate == NOT_AS_NEEDED => return Err(SourceError::PublicationSkipped(notice)),
            Frame::Keepalive(_) | Frame::Notice(_) | Frame::Other => {}
            Frame::Error(source) => return Err(SourceError::Refused { doing: "go on with the stream", source }),
            Frame::End => return Err(SourceError::ShuttingDown),
        }
    }
    Ok(())
}
