//! A transport and its two buffers: messages in, messages out.

use crate::pg::Transport;
use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::Message;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(super) struct Wire {
    pub(super) transport: Box<dyn Transport>,
    pub(super) input: BytesMut,
    /// What was written but not sent yet.
    pub(super) output: BytesMut,
}

impl Wire {
    pub(super) fn new(transport: Box<dyn Transport>) -> Self {
        Self { transport, input: BytesMut::with_capacity(16 * 1024), output: BytesMut::new() }
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

    async fn read(&mut self) -> io::Result<()> {
        self.input.reserve(1);
        match self.transport.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
