//! The walsender: committed transactions as pgoutput sends them (PostgreSQL's manual, 55.9), in pieces.

use super::rng::Rng;
use super::source::{Cells, Change, Commit, SHAPES, Shape};
use bytes::{BufMut, Bytes, BytesMut};

fn frame(out: &mut BytesMut, body: &[u8]) {
    out.put_u8(b'd');
    out.put_u32(u32::try_from(body.len() + 4).expect("short"));
    out.put_slice(body);
}

fn data(out: &mut BytesMut, message: &[u8]) {
    let mut body = BytesMut::new();
    body.put_u8(b'w');
    body.put_slice(&[0; 24]);
    body.put_slice(message);
    frame(out, &body);
}

fn name(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
    out.put_u8(0);
}

/// A table's description.
fn relation(number: usize, shape: &Shape) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u8(b'R');
    out.put_u32(oid(number));
    name(&mut out, "public");
    name(&mut out, shape.name);
    out.put_u8(if shape.full { b'f' } else { b'd' });
    out.put_u16(u16::try_from(shape.columns.len()).expect("few"));
    for (at, column) in shape.columns.iter().enumerate() {
        out.put_u8(u8::from(shape.full || shape.key.contains(&at)));
        name(&mut out, column);
        out.put_u32(25);
        out.put_i32(-1);
    }
    out
}

/// `pg_class.oid` of a table.
pub fn oid(number: usize) -> u32 {
    5000 + u32::try_from(number).expect("few")
}

fn tuple(out: &mut BytesMut, row: &Cells, left_out: impl Fn(usize) -> Option<u8>) {
    out.put_u16(u16::try_from(row.len()).expect("few"));
    for (at, cell) in row.iter().enumerate() {
        match (left_out(at), cell) {
            (Some(kind), _) => out.put_u8(kind),
            (None, None) => out.put_u8(b'n'),
            (None, Some(text)) => {
                out.put_u8(b't');
                out.put_u32(u32::try_from(text.len()).expect("short"));
                out.put_slice(text.as_bytes());
            }
        }
    }
}

/// The row before, as far as the replica identity tells it.
fn before(out: &mut BytesMut, shape: &Shape, old: &Cells) {
    out.put_u8(if shape.full { b'O' } else { b'K' });
    tuple(out, old, |at| (!shape.full && !shape.key.contains(&at)).then_some(b'n'));
}

fn change(number: usize, change: &Change) -> BytesMut {
    let mut out = BytesMut::new();
    let shape = &SHAPES[number];
    match change {
        Change::Insert(row) => {
            out.put_u8(b'I');
            out.put_u32(oid(number));
            out.put_u8(b'N');
            tuple(&mut out, row, |_| None);
        }
        Change::Update(old, new, untouched) => {
            out.put_u8(b'U');
            out.put_u32(oid(number));
            if shape.full || shape.key.iter().any(|&at| old[at] != new[at]) {
                before(&mut out, shape, old);
            }
            out.put_u8(b'N');
            tuple(&mut out, new, |at| (*untouched && shape.large == Some(at)).then_some(b'u'));
        }
        Change::Delete(old) => {
            out.put_u8(b'D');
            out.put_u32(oid(number));
            before(&mut out, shape, old);
        }
        Change::Truncate => {
            out.put_u8(b'T');
            out.put_u32(1);
            out.put_u8(0);
            out.put_u32(oid(number));
        }
        Change::Mark => {
            out.put_u8(b'M');
            out.put_u8(1);
            out.put_u64(0);
            name(&mut out, crate::source::MARK_PREFIX);
            out.put_u32(0);
        }
    }
    out
}

/// One connection's walsender: it describes each table before its first change.
#[derive(Default)]
pub struct Walsender {
    described: Vec<usize>,
}

impl Walsender {
    /// A transaction's frames, message by message.
    pub fn transaction(&mut self, commit: &Commit, rng: &mut Rng) -> Vec<Bytes> {
        let mut messages = Vec::new();
        let mut send = |message: &BytesMut| {
            if message[0] != b'B' && rng.percent(5) {
                // it has read so far, and says so
                messages.push(keepalive(commit.end));
            }
            let mut out = BytesMut::new();
            data(&mut out, message);
            messages.push(out.freeze());
        };
        let mut begin = BytesMut::new();
        begin.put_u8(b'B');
        begin.put_u64(commit.lsn);
        begin.put_u64(0);
        begin.put_u32(u32::try_from(commit.xid & 0xFFFF_FFFF).expect("32 bits"));
        send(&begin);
        for (number, one) in &commit.changes {
            if !matches!(one, Change::Mark) && !self.described.contains(number) {
                self.described.push(*number);
                send(&relation(*number, &SHAPES[*number]));
            }
            send(&change(*number, one));
        }
        let mut end = BytesMut::new();
        end.put_u8(b'C');
        end.put_u8(0);
        end.put_u64(commit.lsn);
        end.put_u64(commit.end);
        end.put_u64(0);
        send(&end);
        messages
    }
}

pub fn keepalive(end: u64) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(b'k');
    body.put_u64(end);
    body.put_u64(0);
    body.put_u8(0);
    let mut out = BytesMut::new();
    frame(&mut out, &body);
    out.freeze()
}
