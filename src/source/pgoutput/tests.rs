use super::*;
use crate::change::{Cell, RowBuilder};

/// Writes messages as a server does.
#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn row(self, cells: &[Cell<'_>]) -> Self {
        let count = u16::try_from(cells.len()).unwrap();
        cells.iter().fold(self.bytes(&count.to_be_bytes()), |out, cell| match cell {
            Cell::Null => out.bytes(b"n"),
            Cell::Unchanged => out.bytes(b"u"),
            Cell::Text(text) => out.bytes(b"t").bytes(&u32::try_from(text.len()).unwrap().to_be_bytes()).bytes(text),
        })
    }
}

fn message(tag: u8) -> Out {
    Out(vec![tag])
}

fn row(cells: &[Cell<'_>]) -> Row {
    let mut row = RowBuilder::new(cells.len());
    cells.iter().for_each(|cell| row.push(*cell));
    row.finish()
}

const OLD: [Cell<'static>; 3] = [Cell::Text(b"1"), Cell::Null, Cell::Null];
const NEW: [Cell<'static>; 3] = [Cell::Text(b"2"), Cell::Unchanged, Cell::Text(b"\xff")];

/// One of each kind, with its bytes.
fn all() -> Vec<(Vec<u8>, Message)> {
    let (relation, table) = (7u32.to_be_bytes(), 7);
    let (commit, end) = (CommitLsn(Lsn(0x10)), EndLsn(Lsn(0x20)));
    let column = |name: &str, identity| Column { name: name.into(), type_oid: 25, type_modifier: -1, identity };
    let named = |out: Out, identity: u8, name: &[u8]| {
        out.bytes(&[identity]).bytes(name).bytes(&25u32.to_be_bytes()).bytes(&(-1i32).to_be_bytes())
    };
    let described = Table {
        relation_id: 7,
        name: TableName::new("pg_catalog", "t"),
        identity: ReplicaIdentity::Full,
        columns: vec![column("id", true), column("ü", false)],
    };
    let relation_out = message(b'R').bytes(&relation).bytes(b"\0t\0f\0\x02");
    let logical = |flags, prefix: &[u8]| message(b'M').bytes(&[flags]).bytes(&[0; 8]).bytes(prefix).bytes(b"\0\0\0\x02hi");
    let cases = [
        (
            message(b'B').bytes(&0x10u64.to_be_bytes()).bytes(&1i64.to_be_bytes()).bytes(&9u32.to_be_bytes()),
            Message::Begin { commit, committed_at: EPOCH_2000_MICROS + 1, xid: 9 },
        ),
        (
            message(b'C').bytes(&[0]).bytes(&0x10u64.to_be_bytes()).bytes(&0x20u64.to_be_bytes()).bytes(&2i64.to_be_bytes()),
            Message::Commit { commit, end, committed_at: EPOCH_2000_MICROS + 2 },
        ),
        (named(named(relation_out, 1, b"id\0"), 0, "ü\0".as_bytes()), Message::Relation(described)),
        (message(b'I').bytes(&relation).bytes(b"N").row(&NEW), Message::Insert { relation: table, new: row(&NEW) }),
        (
            message(b'U').bytes(&relation).bytes(b"N").row(&NEW),
            Message::Update { relation: table, before: Before::Absent, new: row(&NEW) },
        ),
        (
            message(b'U').bytes(&relation).bytes(b"K").row(&OLD).bytes(b"N").row(&NEW),
            Message::Update { relation: table, before: Before::Key(row(&OLD)), new: row(&NEW) },
        ),
        (
            message(b'U').bytes(&relation).bytes(b"O").row(&OLD).bytes(b"N").row(&NEW),
            Message::Update { relation: table, before: Before::Full(row(&OLD)), new: row(&NEW) },
        ),
        (
            message(b'D').bytes(&relation).bytes(b"K").row(&OLD),
            Message::Delete { relation: table, before: Before::Key(row(&OLD)) },
        ),
        (
            message(b'D').bytes(&relation).bytes(b"O").row(&OLD),
            Message::Delete { relation: table, before: Before::Full(row(&OLD)) },
        ),
        (
            message(b'T').bytes(&2u32.to_be_bytes()).bytes(&[1]).bytes(&relation).bytes(&8u32.to_be_bytes()),
            Message::Truncate { relations: vec![7, 8] },
        ),
        (logical(1, b"tablelift\0"), Message::Mark),
        (logical(0, b"tablelift\0"), Message::Ignored),
        (logical(1, b"other\0"), Message::Ignored),
        (message(b'O').bytes(&[0; 8]).bytes(b"origin\0"), Message::Ignored),
        (message(b'Y').bytes(&relation).bytes(b"public\0type\0"), Message::Ignored),
    ];
    cases.into_iter().map(|(out, message)| (out.0, message)).collect()
}

#[test]
fn every_message_is_read() {
    for (bytes, message) in all() {
        assert_eq!(decode(Bytes::from(bytes)), Ok(message));
    }
}

#[test]
fn what_is_cut_or_too_long_is_an_error() {
    for (bytes, message) in all().into_iter().filter(|(bytes, _)| !b"OY".contains(&bytes[0])) {
        for cut in 0..bytes.len() {
            assert!(decode(Bytes::copy_from_slice(&bytes[..cut])).is_err(), "{message:?} cut to {cut}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert_eq!(decode(Bytes::from(longer)), Err(DecodeError::Long { tag: bytes[0], bytes: 1 }));
    }
    assert_eq!(decode(Bytes::new()), Err(DecodeError::Empty));
    assert_eq!(decode(Bytes::from_static(b"S")), Err(DecodeError::Tag { tag: b'S' }));
}

#[test]
fn a_wrong_count_does_not_take_memory() {
    let truncate = message(b'T').bytes(&u32::MAX.to_be_bytes()).bytes(&[0; 9]).0;
    assert_eq!(decode(Bytes::from(truncate)), Err(DecodeError::Short { tag: b'T' }));
    let relation = message(b'R').bytes(&[0; 4]).bytes(b"s\0t\0d\xff\xff").0;
    assert_eq!(decode(Bytes::from(relation)), Err(DecodeError::Short { tag: b'R' }));
}

/// A small generator (SplitMix64), so that a seed says it all.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    let seeds = all();
    for seed in 0..200_000 {
        let mut dice = Dice(seed);
        let mut bytes = seeds[dice.below(seeds.len())].0.clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(bytes.len().max(1));
            match dice.below(4) {
                0 if !bytes.is_empty() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, [0, 1, 0x7f, 0xff][dice.below(4)]),
                _ if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
                _ => {}
            }
        }
        // What was accepted can be walked.
        if let Ok(Message::Insert { new, .. } | Message::Update { new, .. }) = decode(Bytes::from(bytes)) {
            assert_eq!(new.cells().count(), new.len(), "seed {seed}");
        }
    }
}
