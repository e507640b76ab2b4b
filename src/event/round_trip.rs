//! What goes out comes back: seeded, hostile rows through encoder and decoder.

use super::*;
use crate::change::{
    Before, Cell, Change, Column, CommitLsn, Lsn, Op, Position, ReplicaIdentity, Row, RowBuilder, Table, TableName,
};
use crate::fate::Fate;
use std::sync::Arc;

/// xorshift64*: enough for tests, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }

    fn text(&mut self) -> String {
        let length = self.pick(&[0, 1, 3, 8, 40, 300]);
        let alphabet: Vec<char> =
            "\0\u{1}\u{8}\u{c}\n\r\t\u{1f}\u{7f}\"\\/'{}[],:. _xab01é\u{2028}\u{d7ff}\u{e000}\u{ffff}🦀".chars().collect();
        (0..length).map(|_| self.pick(&alphabet)).collect()
    }

    fn value(&mut self) -> String {
        let known = [
            "",
            "t",
            "f",
            "true",
            "null",
            "0",
            "-0",
            "-1",
            "007",
            "+5",
            "1e400",
            "NaN",
            "-Infinity",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "123456789012345678901234567890",
            "\\ud800",
            "\\u0000",
            "{\"a\":1}",
            UNAVAILABLE,
            "0044-03-15 BC",
            "{NULL,\"a,b\"}",
            "\\x00ff",
        ];
        if self.roll(2) == 0 { self.pick(&known).to_owned() } else { self.text() }
    }

    fn row(&mut self, table: &Table, unchanged: bool) -> Row {
        let mut row = RowBuilder::new(table.columns.len());
        for _ in &table.columns {
            let value = self.value();
            row.push(match self.roll(6) {
                0 => Cell::Null,
                1 if unchanged => Cell::Unchanged,
                _ => Cell::Text(value.as_bytes()),
            });
        }
        row.finish()
    }

    /// Names that differ, some of them hostile.
    fn table(&mut self, columns: usize) -> Arc<Table> {
        let column = |at: usize, dice: &mut Self| Column {
            name: format!("{}{at}", dice.text().replace('\0', "")),
            type_oid: dice.pick(&[16, 20, 21, 23, 25, 1700, 1184, 17, 114, 16_384]),
            type_modifier: -1,
            identity: dice.roll(3) == 0,
        };
        let columns = (0..columns).map(|at| column(at, self)).collect();
        let name = TableName::new("sch\"ema.é", "ta\\ble\n");
        Arc::new(Table { relation_id: 1, name, identity: ReplicaIdentity::Default, columns })
    }
}

fn keyed(table: &Table, row: &Row) -> Row {
    let mut key = RowBuilder::new(table.columns.len());
    for (cell, column) in row.cells().zip(&table.columns) {
        key.push(if column.identity { cell } else { Cell::Null });
    }
    key.finish()
}

fn change(dice: &mut Dice, table: &Arc<Table>) -> Change {
    let op = dice.pick(&[Op::Read, Op::Insert, Op::Update, Op::Delete, Op::Truncate]);
    let old = dice.row(table, false);
    let full = table.columns.iter().all(|column| column.identity);
    let before = match (op, dice.roll(3)) {
        (Op::Read | Op::Insert | Op::Truncate, _) | (Op::Update, 0) => Before::Absent,
        (_, 1) if !full => Before::Key(keyed(table, &old)),
        _ => Before::Full(old),
    };
    let after = matches!(op, Op::Read | Op::Insert | Op::Update).then(|| dice.row(table, true));
    let position = match op {
        Op::Read => Position::default(),
        _ => Position::new(dice.roll(9) as u32, CommitLsn(Lsn(dice.roll(1 << 30) as u64 * 77_777)), dice.roll(1 << 20) as u64),
    };
    Change { position, table: Arc::clone(table), op, before, after }
}

fn about(op: Op) -> About<'static> {
    let at = -1_234_567;
    let origin = match op {
        Op::Read => Origin::Copy { attempt: "a-7", lsn: Lsn(9), read_at: at, base: None },
        _ => Origin::Stream { xid: 777, committed_at: at, base: None },
    };
    About { epoch: u64::MAX, now: 1_700_000_000_123_456, origin }
}

fn decoded<'f>(decoder: &mut Decoder, frame: &'f Frame) -> Result<Event<'f>, DecodeError> {
    decoder.event(frame.value(), frame.headers().map(|(name, value)| (name.as_bytes(), Some(value))))
}

#[test]
fn every_change_comes_back_byte_for_byte() {
    for seed in 1..400 {
        let mut dice = Dice(seed * 0x9E37_79B9);
        let columns = dice.pick(&[0, 1, 2, 5, 20]);
        let table = dice.table(columns);
        let key: Vec<String> = table.columns.iter().filter(|column| column.identity).map(|column| column.name.clone()).collect();
        let encoder = Encoder::new(Arc::clone(&table), &key, "d\"b", "shop-orders").unwrap();
        let mut decoder = Decoder::new(Arc::clone(&table));
        let mut frame = Frame::default();
        for _ in 0..25 {
            let sent = change(&mut dice, &table);
            let row = sent.before.row().or(sent.after.as_ref()).map(Row::detached).unwrap_or_else(|| dice.row(&table, false));
            let cells = encoder.key_cells(&row).map(|cell| if cell == Cell::Unchanged { Cell::Null } else { cell });
            encoder.change(&mut frame, &sent, cells, &about(sent.op)).unwrap();
            let tree: serde_json::Value = serde_json::from_slice(frame.value().unwrap()).unwrap();
            assert_eq!(tree["source"]["name"], "shop-orders");
            assert_eq!(frame.key().is_some(), !key.is_empty() && sent.op != Op::Truncate);
            let event = decoded(&mut decoder, &frame).unwrap();
            let read = sent.op == Op::Read;
            assert_eq!(
                (event.epoch, event.attempt, event.position),
                (u64::MAX, read.then_some("a-7"), (!read).then_some(sent.position))
            );
            assert_eq!(event.kind, Kind::Change { change: sent, at: -1_234_567 }, "seed {seed}");
        }
    }
}

fn orders() -> Arc<Table> {
    let column = |name: &str, type_oid, identity| Column { name: name.to_owned(), type_oid, type_modifier: -1, identity };
    let columns = vec![column("note", 25, false), column("id", 20, true), column("paid", 16, false), column("line", 1700, true)];
    Arc::new(Table { relation_id: 1, name: TableName::new("public", "orders"), identity: ReplicaIdentity::Default, columns })
}

fn row(cells: &[Cell<'_>]) -> Row {
    let mut row = RowBuilder::new(cells.len());
    cells.iter().for_each(|cell| row.push(*cell));
    row.finish()
}

fn encoder(table: &Arc<Table>) -> Encoder {
    Encoder::new(Arc::clone(table), &["line".to_owned(), "id".to_owned()], "shop", "shop-orders").unwrap()
}

fn update(table: &Arc<Table>) -> Change {
    let text = |text: &'static str| Cell::Text(text.as_bytes());
    Change {
        position: Position::new(1, CommitLsn(Lsn(258)), 3),
        table: Arc::clone(table),
        op: Op::Update,
        before: Before::Key(row(&[Cell::Null, text("7"), Cell::Null, text("1.0")])),
        after: Some(row(&[Cell::Unchanged, text("7"), text("t"), text("1.00")])),
    }
}

#[test]
fn the_envelope_is_debeziums() {
    let table = orders();
    let (encoder, change) = (encoder(&table), update(&table));
    let mut frame = Frame::default();
    let key = [Cell::Text(b"7"), Cell::Text(b"1")];
    let about = About {
        epoch: 5,
        now: 1_700_000_000_123_456,
        origin: Origin::Stream { xid: 42, committed_at: 1_699_999_999_999_999, base: Some("mixed") },
    };
    encoder.change(&mut frame, &change, key, &about).unwrap();
    assert_eq!(frame.key(), Some(br#"{"id":7,"line":"1"}"#.as_slice()));
    let value = std::str::from_utf8(frame.value().unwrap()).unwrap().replace(env!("CARGO_PKG_VERSION"), "V");
    let expected = concat!(
        r#"{"before":{"id":7,"line":"1.0"},"after":{"note":"__debezium_unavailable_value","id":7,"paid":true,"line":"1.00"},"#,
        r#""source":{"version":"V","connector":"postgresql","name":"shop-orders","ts_ms":1699999999999,"snapshot":"false","#,
        r#""db":"shop","sequence":"[\"258\",\"3\"]","ts_us":1699999999999999,"schema":"public","table":"orders","txId":42,"lsn":258,"#,
        r#""xmin":null},"op":"u","ts_ms":1700000000123}"#,
    );
    assert_eq!(value, expected);
    let headers: Vec<_> = frame.headers().map(|(name, text)| (name, std::str::from_utf8(text).unwrap())).collect();
    assert_eq!(
        headers,
        [(HEADER_EPOCH, "5"), (HEADER_POSITION, "1/0/102/3"), (super::HEADER_BASE, "mixed"), (HEADER_UNCHANGED, r#"["note"]"#)]
    );
    assert!(frame.into_tombstone() && frame.value().is_none());
    assert_eq!(decoded(&mut Decoder::new(table), &frame).unwrap().kind, Kind::Tombstone);
}

#[test]
fn resets_and_strangers_are_told_apart() {
    let table = orders();
    let mut frame = Frame::default();
    encoder(&table).reset(&mut frame, "copy-2", Lsn(7), 5, 0);
    let tree: serde_json::Value = serde_json::from_slice(frame.value().unwrap()).unwrap();
    assert_eq!(
        (&tree["op"], &tree["message"]["prefix"], &tree["after"]),
        (&"m".into(), &"tablelift".into(), &serde_json::Value::Null)
    );
    let mut decoder = Decoder::new(Arc::clone(&table));
    let event = decoded(&mut decoder, &frame).unwrap();
    assert_eq!((event.kind, event.attempt, event.epoch, event.position), (Kind::Reset, Some("copy-2"), 5, None));
    let stranger = decoder.event(Some(b"\xff"), [(b"trace".as_slice(), None)]).unwrap();
    assert_eq!(stranger.kind, Kind::Foreign);
}

#[test]
fn sixteen_hundred_columns_and_none() {
    let mut dice = Dice(3);
    for columns in [0, 1600] {
        let table = dice.table(columns);
        let encoder = Encoder::new(Arc::clone(&table), &[], "db", "c").unwrap();
        let sent = Change {
            position: Position::new(1, CommitLsn(Lsn(1)), 0),
            table: Arc::clone(&table),
            op: Op::Insert,
            before: Before::Absent,
            after: Some(dice.row(&table, true)),
        };
        let mut frame = Frame::default();
        encoder.change(&mut frame, &sent, [], &about(Op::Insert)).unwrap();
        assert_eq!(frame.key(), None);
        let event = decoded(&mut Decoder::new(table), &frame).unwrap();
        assert_eq!(event.kind, Kind::Change { change: sent, at: -1_234_567 });
    }
}

#[test]
fn what_has_no_form_is_refused_by_name() {
    let table = orders();
    let (encoder, mut frame) = (encoder(&table), Frame::default());
    let refused = |change: &Change, key: &[Cell<'_>], frame: &mut Frame| {
        let error = encoder.change(frame, change, key.iter().copied(), &about(Op::Update)).unwrap_err();
        assert_eq!(error.fate(), Fate::Halt);
        error
    };
    let key = [Cell::Text(b"7"), Cell::Text(b"1")];
    let mut change = update(&table);
    change.after = Some(row(&[Cell::Text(b"secret\xff"), Cell::Null, Cell::Null, Cell::Null]));
    let error = refused(&change, &key, &mut frame);
    assert_eq!(error, EncodeError::NotUtf8 { table: table.name.clone(), column: "note".to_owned() });
    assert!(!error.to_string().contains("secret"));
    let change = update(&table);
    assert!(matches!(
        refused(&change, &key[..1], &mut frame),
        EncodeError::Cells { part: RowPart::Key, wanted: 2, found: 1, .. }
    ));
    assert!(matches!(refused(&change, &[Cell::Null; 3], &mut frame), EncodeError::Cells { part: RowPart::Key, found: 3, .. }));
    assert!(matches!(refused(&change, &[Cell::Unchanged; 2], &mut frame), EncodeError::Unchanged { part: RowPart::Key, .. }));
    let mut short = update(&table);
    short.after = Some(row(&[Cell::Null]));
    assert!(matches!(refused(&short, &key, &mut frame), EncodeError::Cells { part: RowPart::After, wanted: 4, found: 1, .. }));
    let unknown = Encoder::new(Arc::clone(&table), &["nope".to_owned()], "db", "c").err();
    assert_eq!(unknown, Some(EncodeError::KeyColumn { table: table.name.clone(), column: "nope".to_owned() }));
}

#[test]
fn what_cannot_be_read_is_refused_by_name_and_never_quoted() {
    let table = orders();
    let mut decoder = Decoder::new(Arc::clone(&table));
    let name = table.name.clone();
    let column = |column: &str| (name.clone(), column.to_owned());
    let headers = [(b"tablelift-epoch".as_slice(), Some(b"1".as_slice())), (b"tablelift-position", Some(b"1/0/1/0"))];
    let mut refused = |after: &str| {
        let value = format!(r#"{{"before":null,"after":{after},"source":{{"ts_us":1}},"op":"c"}}"#);
        let error = decoder.event(Some(value.as_bytes()), headers).unwrap_err();
        assert!(!error.to_string().contains("secret") && error.fate() == Fate::Halt, "{error}");
        error
    };
    let (table, column) = column("id");
    assert_eq!(
        refused(r#"{"line":"1","paid":false,"note":"x"}"#),
        DecodeError::NoColumn { table: table.clone(), column: column.clone() }
    );
    assert_eq!(refused(r#"{"id":1.5}"#), DecodeError::Form { table: table.clone(), column: column.clone() });
    assert_eq!(refused(r#"{"id":1,"id":"secret"}"#), DecodeError::Twice { table: table.clone(), column });
    assert_eq!(refused(r#"{"extra":1}"#), DecodeError::UnknownColumn { table: table.clone(), column: "extra".to_owned() });
    assert!(matches!(refused(r#"{"note":{"secret":1}}"#), DecodeError::Json { .. }));
    assert!(matches!(refused(r#""secret""#), DecodeError::Json { .. }));
    assert_eq!(refused("null"), DecodeError::NoField { table: table.clone(), field: "after" });
    // any order of columns is read
    let value = br#"{"op":"c","after":{"line":"1","paid":false,"id":2,"note":null},"source":{"ts_ms":5}}"#;
    let event = decoder.event(Some(value), headers).unwrap();
    let Kind::Change { change, at: 5000 } = event.kind else { panic!("{event:?}") };
    assert_eq!(change.after, Some(row(&[Cell::Null, Cell::Text(b"2"), Cell::Text(b"f"), Cell::Text(b"1")])));
    let no_position = decoder.event(Some(value), [headers[0]]).unwrap_err();
    assert_eq!(no_position, DecodeError::NoHeader { table: table.clone(), name: HEADER_POSITION });
    let bad = decoder.event(Some(value), [(b"tablelift-epoch".as_slice(), Some(b"-1".as_slice()))]).unwrap_err();
    assert_eq!(bad, DecodeError::Header { table, name: HEADER_EPOCH });
}
