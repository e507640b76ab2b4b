//! A transport and its two buffers: messages in, messages out.

use crate::pg::Transport;
use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use postgres_protocol::message::backend::Message;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(super) struct Wire {
    pub(super) transport: Box<dyn Transport>,
    /// With TLS, which hands bytes out a record or less at a time.
    encrypted: bool,
    pub(super) input: BytesMut,
    /// What was written but not sent yet.
    pub(super) output: BytesMut,
}

impl Wire {
    pub(super) fn new(transport: Box<dyn Transport>, encrypted: bool) -> Self {
        Self { transport, encrypted, input: BytesMut::with_capacity(16 * 1024), output: BytesMut::new() }
    }

    /// Sends what was written.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.transport.write_all_buf(&mut self.output).await?;
        self.transport.flush().await
    }

    /// The next message; the end of the connection is `UnexpectedEof`.
    pub(super) async fn message(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = Message::parse(&mut self.input)? {
                return Ok(message);
            }
            self.read().await?;
        }
    }

    /// Takes a CopyBothResponse off the front, if that is what comes next (`Message` does not know it).
    pub(super) async fn copy_both(&mut self) -> io::Result<bool> {
        loop {
            match *self.input {
                [kind, ..] if kind != b'W' => return Ok(false),
                [_, a, b, c, d, ..] => {
                    let length = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
                    if self.input.len() >= length {
                        self.input.advance(length);
                        return Ok(true);
                    }
                }
                _ => {}
            }
            self.read().await?;
        }
    }

    /// Reads what is there into a buffer that is not full, waiting for the first byte only. 0: the end.
    ///
    /// A plain socket is read once: to read again what has come meanwhile would be to read eagerly, piece by piece.
    pub(super) async fn read_into(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let mut total = self.transport.read_buf(buffer).await?;
        while self.encrypted && total > 0 && buffer.len() < buffer.capacity() {
            match self.transport.read_buf(buffer).now_or_never() {
                Some(Ok(more)) if more > 0 => total += more,
                _ => break, // an end or an error will be there again
            }
        }
        Ok(total)
    }

    async fn read(&mut self) -> io::Result<()> {
        self.input.reserve(1);
        match self.transport.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
