use super::super::fit::width;
use super::*;
use crate::status::TableCopy;

const NARROW: Size = Size { columns: 79, rows: 16 };

fn copied(target: &str) -> Table {
    Table { target: target.into(), state: Some(Phase::Follow), rows_copied: 5, ..Table::default() }
}

fn waiting(target: &str) -> Table {
    Table { target: target.into(), state: Some(Phase::Copy), copy: Some(TableCopy::default()), ..Table::default() }
}

fn under_way(target: &str, percent: f64, rows_per_s: f64, eta_s: u64) -> Table {
    let rows = amount::whole(percent * 22_345.0);
    let pace = Pace { percent: Some(percent), rows_per_s: Some(rows_per_s), bytes_per_s: Some(0.0) };
    let copy = TableCopy { source_bytes_read: Some(rows), pace, eta_s: Some(eta_s), ..TableCopy::default() };
    Table { rows_copied: rows, bytes_copied: rows * 123, copy: Some(copy), ..waiting(target) }
}

fn status(tables: Vec<Table>) -> Status {
    let done = tables.iter().filter(|table| table.copy.is_none()).count() as u64;
    let pace = Pace { percent: Some(37.4), rows_per_s: Some(123_456.0), bytes_per_s: None };
    let copies =
        Copies { tables: tables.len() as u64, tables_copied: done, rows: 12_345_678, bytes: 3 << 30, pace, ..Copies::default() };
    let mut status = Status { phase: Some(Phase::Copy), copies: Some(copies), tables, ..Status::default() };
    status.eta.copy_s = Some(131);
    status
}

fn forty() -> Status {
    let mut tables: Vec<Table> = (0..12).map(|nth| copied(&format!("public.done_{nth}"))).collect();
    tables.push(under_way("public.orders", 81.5, 61_234.0, 9));
    tables.push(under_way("warehouse.a_table_with_a_very_long_name_2024_11", 42.0, 980.0, 12_100));
    tables.push(under_way("público.注文明細の表その二番目の長い名前", 3.9, 0.4, 190_000));
    tables.extend((0..25).map(|nth| waiting(&format!("public.later_{nth}"))));
    status(tables)
}

#[test]
fn forty_tables_at_eighty_columns() {
    let lines = copies(&forty(), NARROW);
    let golden = "\
copying                                       bytes    rows  rows/s        left
all 40 tables        [====         ]  37 %   3.0 GB  12.3 M   123 k  2 min 10 s
  public.orders      [==========   ]  81 %   213 MB   1.8 M  61.2 k         9 s
  warehouse…_2024_11 [=====        ]  42 %   110 MB   938 k     980  3 h 20 min
  público.…長い名前  [             ]   3 %  10.2 MB  87.1 k       0     2 d 5 h
  12 tables copied, 25 wait";
    assert_eq!(lines.join("\n"), golden, "\n{}", lines.join("\n"));
    assert!(lines.iter().all(|line| width(line) <= 79));
}

#[test]
fn a_low_terminal_sums_up_what_does_not_fit() {
    let lines = copies(&forty(), Size { columns: 79, rows: 5 });
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert_eq!(lines[4], "  1 more under way, 12 tables copied, 25 wait");
    let all = status((0..40).map(|nth| under_way(&format!("t{nth}"), 50.0, 1.0, 1)).collect());
    for rows in 3..60 {
        assert!(copies(&all, Size { columns: 79, rows }).len() <= rows, "{rows}");
    }
}

#[test]
fn every_width_is_kept() {
    let mut status = forty();
    status.tables[13].waiting_for = Some("somebody ".repeat(40));
    status.tables[14].halted_because = Some("x".into());
    for columns in 20..200 {
        for line in copies(&status, Size { columns, rows: 40 }) {
            assert!(width(&line) <= columns, "{columns}: {line}");
        }
    }
}

#[test]
fn a_table_that_waits_says_for_what_and_a_pause_is_said_once() {
    let mut one = under_way("public.t", 10.0, 5.0, 60);
    one.waiting_for = Some("target pid 7".into());
    let mut status = status(vec![one]);
    let lines = copies(&status, NARROW);
    assert_eq!(lines[3], "    waits: target pid 7");
    let all = status.copies.as_mut().unwrap();
    (all.paused, all.pace.rows_per_s) = (true, None);
    status.eta.copy_s = None;
    let lines = copies(&status, NARROW);
    assert!(lines.len() == 3 && lines[1].ends_with("-      paused") && lines[1].starts_with("1 table "), "{lines:#?}");
}

#[test]
fn without_a_terminal_it_is_a_sentence() {
    let told = plain(&forty()).unwrap();
    assert_eq!(
        told,
        "37 %, 12.3 M rows, 3.0 GB, 123 k rows/s, 2 min 10 s left; 12 of 40 tables copied; under way: public.orders 81 %, \
         warehouse.a_table_with_a_very_long_name_2024_11 42 %, público.注文明細の表その二番目の長い名前 3 %"
    );
    assert_eq!(plain(&Status::default()), None);
}

#[test]
fn nothing_is_known_yet() {
    let mut status = status(vec![waiting("public.a")]);
    status.copies = Some(Copies { tables: 1, ..Copies::default() });
    status.eta.copy_s = None;
    let lines = copies(&status, NARROW);
    assert_eq!(lines[1], "1 table                                  ?      0 B       0       -           -");
    assert_eq!(lines[2], "  1 table waits");
}

#[test]
fn what_is_being_built_has_a_line_each() {
    let phase = Some("building index: scanning table".to_owned());
    let one = Building { what: "index orders_placed_at".into(), phase, percent: Some(45.9) };
    let two = Building { what: "validation of orders_customer_fkey".into(), ..Building::default() };
    let mut table = copied("public.orders");
    table.after_load = Some(AfterLoad { open: 5, failed: 1, building: vec![one, two] });
    let mut status = Status { tables: vec![table], ..Status::default() };
    assert_eq!(
        builds(&status),
        [
            "building  45 % index orders_placed_at of public.orders (scanning table)",
            "building     - validation of orders_customer_fkey of public.orders",
            "  2 more to be built, 1 cannot be: see `tablelift status`"
        ]
    );
    status.tables.push(waiting("public.next"));
    status.tables[1].after_load = Some(AfterLoad { open: 3, ..AfterLoad::default() });
    assert_eq!(builds(&status).len(), 2, "what belongs to a table that is copied is not due");
}
