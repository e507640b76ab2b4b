//! Frames of the stream (PostgreSQL's manual, 55.4 and 55.8): a kind, a length, and in CopyData an XLogData or a keepalive. Pure.

use crate::{
    change::{EndLsn, Lsn},
    pg::ServerError,
    source::SourceError,
};
use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::backend::Message;

/// A kind and a length that counts itself.
const HEADER: usize = 5;
/// `w`, start, end, clock.
const XLOG_DATA_HEADER: usize = 25;
/// A value is at most 1 GB, and so is a message of the server's.
const LONGEST: usize = 1 << 30;

/// What one look at the read buffer found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// So many bytes are whole frames.
    pub complete: usize,
    /// Whole size of the frame that is cut, if its header is there; else 0.
    pub next: usize,
    /// The furthest position that the whole frames name.
    pub received: EndLsn,
    /// A keepalive asks for an answer.
    pub asked: bool,
}

/// Looks at the frames in `input`. It reads headers only.
///
/// # Errors
/// [`SourceError::Frame`] for a length that cannot be.
pub fn scan(input: &[u8]) -> Result<Scan, SourceError> {
    let mut scan = Scan::default();
    while let Some([kind, l0, l1, l2, l3]) = input[scan.complete..].first_chunk::<HEADER>() {
        let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        if !(4..=LONGEST).contains(&length) {
            return Err(SourceError::Frame);
        }
        let frame = &input[scan.complete..];
        if frame.len() <= length {
            scan.next = length + 1;
            break;
        }
        if *kind == b'd' {
            scan.look(&frame[HEADER..=length]);
        }
        scan.complete += length + 1;
    }
    Ok(scan)
}

impl Scan {
    fn look(&mut self, data: &[u8]) {
        if let Some((kind, lsn)) = data.split_first().and_then(|(kind, rest)| Some((kind, rest.first_chunk::<8>()?))) {
            self.received = self.received.max(EndLsn(Lsn(u64::from_be_bytes(*lsn))));
            self.asked |= *kind == b'k' && data.get(17) == Some(&1);
        }
    }
}

/// One frame of the stream.
#[derive(Debug)]
pub enum Frame {
    /// A message of the output plugin.
    Data(Bytes),
    Keepalive(EndLsn),
    Error(ServerError),
    Notice(ServerError),
    /// CopyDone or CommandComplete: the server shuts down.
    End,
    /// A setting that changed.
    Other,
}

/// Takes the next frame off whole frames.
///
/// # Errors
/// [`SourceError::Frame`] if it is cut after all, [`SourceError::Unexpected`] for one that has no place in a stream.
pub fn take(input: &mut Bytes) -> Result<Frame, SourceError> {
    let header = input.first_chunk::<HEADER>().ok_or(SourceError::Frame)?;
    let [kind, length @ ..] = *header;
    let length = 1 + u32::from_be_bytes(length) as usize;
    if length < HEADER || input.len() < length {
        return Err(SourceError::Frame);
    }
    let mut frame = input.split_to(length);
    match kind {
        b'd' => {
            frame.advance(HEADER);
            data(frame)
        }
        b'E' | b'N' => said(&frame),
        b'c' | b'C' | b'Z' => Ok(Frame::End),
        b'S' | b'A' => Ok(Frame::Other),
        tag => Err(SourceError::Unexpected { doing: "stream", tag }),
    }
}

fn said(frame: &[u8]) -> Result<Frame, SourceError> {
    match Message::parse(&mut BytesMut::from(frame)) {
        Ok(Some(Message::ErrorResponse(body))) => Ok(Frame::Error(ServerError::from_body(&body)?)),
        Ok(Some(Message::NoticeResponse(body))) => Ok(Frame::Notice(ServerError::from_fields(body.fields())?)),
        _ => Err(SourceError::Frame),
    }
}

fn data(mut body: Bytes) -> Result<Frame, SourceError> {
    match body.first() {
        Some(b'w') if body.len() >= XLOG_DATA_HEADER => {
            body.advance(XLOG_DATA_HEADER);
            Ok(Frame::Data(body))
        }
        Some(b'k') if body.len() >= 18 => {
            body.advance(1);
            Ok(Frame::Keepalive(EndLsn(Lsn(body.get_u64()))))
        }
        Some(b'w' | b'k') | None => Err(SourceError::Frame),
        Some(&tag) => Err(SourceError::Unexpected { doing: "stream", tag }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short");
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    fn keepalive(lsn: u64, ask: u8) -> Vec<u8> {
        frame(b'd', &[&b"k"[..], &lsn.to_be_bytes(), &[0; 8], &[ask]].concat())
    }

    fn xlog(lsn: u64, message: &[u8]) -> Vec<u8> {
        frame(b'd', &[&b"w"[..], &lsn.to_be_bytes(), &[0; 16], message].concat())
    }

    #[test]
    fn whole_frames_are_told_from_a_cut_one() {
        let input = [xlog(7, b"abc"), keepalive(9, 1), xlog(8, b"de")].concat();
        let whole = scan(&input).unwrap();
        assert_eq!(whole, Scan { complete: input.len(), next: 0, received: EndLsn(Lsn(9)), asked: true });
        for cut in 0..input.len() {
            let part = scan(&input[..cut]).unwrap();
            assert!(part.complete <= cut && (part.next == 0 || part.complete + part.next > cut), "{cut}");
        }
        assert!(scan(b"d\0\0\0\x03").is_err());
        assert!(scan(b"d\xff\0\0\0").is_err());
    }

    #[test]
    fn frames_are_taken_in_order() {
        let mut input = Bytes::from(
            [
                xlog(7, b"abc"),
                keepalive(9, 0),
                frame(b'S', b"x"),
                frame(b'N', b"SWARNING\0C55000\0\0"),
                frame(b'E', b"C57P01\0Mbye\0\0"),
                frame(b'c', b""),
            ]
            .concat(),
        );
        assert!(matches!(take(&mut input), Ok(Frame::Data(data)) if &data[..] == b"abc"));
        assert!(matches!(take(&mut input), Ok(Frame::Keepalive(EndLsn(Lsn(9))))));
        assert!(matches!(take(&mut input), Ok(Frame::Other)));
        assert!(matches!(take(&mut input), Ok(Frame::Notice(notice)) if notice.sqlstate == "55000"));
        assert!(matches!(take(&mut input), Ok(Frame::Error(error)) if error.sqlstate == "57P01" && error.message == "bye"));
        assert!(matches!(take(&mut input), Ok(Frame::End)));
        assert!(input.is_empty());
        for bad in [frame(b'd', b""), frame(b'd', b"w"), frame(b'd', b"kkk"), frame(b'd', b"x"), frame(b'?', b""), vec![b'd', 0]]
        {
            assert!(take(&mut Bytes::from(bad)).is_err());
        }
    }
}
