use super::*;
use crate::change::{Column, EndLsn, Lsn, ReplicaIdentity};

const COMMIT: CommitLsn = CommitLsn(Lsn(100));

fn row(cells: &[Option<&str>]) -> Row {
    let mut row = RowBuilder::new(cells.len());
    cells.iter().for_each(|cell| row.push(cell.map_or(Cell::Unchanged, |text| Cell::Text(text.as_bytes()))));
    row.finish()
}

fn table(relation_id: u32) -> Table {
    let column = |name: &str, identity| Column { name: name.into(), type_oid: 25, type_modifier: -1, identity };
    let columns = vec![column("id", true), column("long", false)];
    Table { relation_id, name: TableName::new("public", format!("t{relation_id}")), identity: ReplicaIdentity::Default, columns }
}

fn begin() -> Message {
    Message::Begin { commit: COMMIT, committed_at: 5, xid: 9 }
}

fn commit() -> Message {
    Message::Commit { commit: COMMIT, end: EndLsn(Lsn(120)), committed_at: 5 }
}

fn feed(messages: impl IntoIterator<Item = Message>) -> Result<Vec<Feed>, AssemblyError> {
    let (mut assembly, mut out) = (Assembly::new(3, KnownLeaves::default()), Vec::new());
    messages.into_iter().try_for_each(|message| assembly.push(message, &mut out))?;
    Ok(out)
}

fn changes(feed: &[Feed]) -> Vec<&Change> {
    feed.iter().filter_map(|one| if let Feed::Change(change) = one { Some(change) } else { None }).collect()
}

#[test]
fn row_messages_are_two_ordinals_apart() {
    let new = row(&[Some("1"), Some("x")]);
    let key = Before::Key(row(&[Some("1"), Some("")]));
    let out = feed([
        begin(),
        Message::Relation(table(1)),
        Message::Insert { relation: 1, new },
        Message::Mark,
        Message::Update { relation: 1, before: key.clone(), new: row(&[Some("2"), Some("x")]) },
        Message::Relation(table(2)),
        Message::Truncate { relations: vec![1, 2] },
        Message::Delete { relation: 1, before: key },
        commit(),
    ]);
    let out = out.unwrap();
    let found: Vec<_> = changes(&out).iter().map(|change| (change.op, change.position, change.table.relation_id)).collect();
    let at = |ordinal| Position::new(3, COMMIT, ordinal);
    let expected = [(Op::Insert, 0, 1), (Op::Update, 2, 1), (Op::Truncate, 4, 1), (Op::Truncate, 6, 2), (Op::Delete, 8, 1)];
    assert_eq!(found, expected.map(|(op, ordinal, relation)| (op, at(ordinal), relation)));
    assert!(matches!(out[1], Feed::Shape(_)) && out[3] == Feed::Mark);
    assert_eq!(out[0], Feed::Begin { commit: COMMIT, xid: 9, committed_at: 5 });
    assert_eq!(out.last(), Some(&Feed::Commit { commit: COMMIT, end: EndLsn(Lsn(120)), committed_at: 5 }));
}

#[test]
fn the_same_shape_stays_the_same_value() {
    let mut wider = table(1);
    wider.columns[1].type_oid = 17;
    let out = feed([begin(), Message::Relation(table(1)), Message::Relation(table(1)), Message::Relation(wider)]).unwrap();
    let shapes: Vec<_> = out.iter().filter_map(|one| if let Feed::Shape(shape) = one { Some(shape) } else { None }).collect();
    assert!(Arc::ptr_eq(shapes[0], shapes[1]) && !Arc::ptr_eq(shapes[1], shapes[2]));
}

#[test]
fn unchanged_is_filled_from_what_is_known_of_the_old_row() {
    let update = |before, new: &[Option<&str>]| {
        let out = feed([begin(), Message::Relation(table(1)), Message::Update { relation: 1, before, new: row(new) }]).unwrap();
        changes(&out)[0].after.clone().unwrap()
    };
    let old = || row(&[Some("1"), Some("old")]);
    assert_eq!(update(Before::Full(old()), &[Some("1"), None]), old());
    assert_eq!(update(Before::Key(old()), &[None, None]), row(&[Some("1"), None]), "the key only, the rest of it means nothing");
    assert_eq!(update(Before::Absent, &[Some("1"), None]), row(&[Some("1"), None]));
}

#[test]
fn broken_rules_are_errors() {
    let one = |relation, cells: &[Option<&str>]| Message::Insert { relation, new: row(cells) };
    assert_eq!(feed([one(1, &[])]), Err(AssemblyError::Outside("an insert")));
    assert_eq!(feed([Message::Mark]), Err(AssemblyError::Outside("a mark")));
    assert_eq!(feed([commit()]), Err(AssemblyError::Outside("a commit")));
    assert_eq!(feed([begin(), begin()]), Err(AssemblyError::Nested));
    assert_eq!(feed([begin(), one(1, &[])]), Err(AssemblyError::UnknownRelation(1)));
    assert_eq!(feed([begin(), Message::Truncate { relations: vec![4] }]), Err(AssemblyError::UnknownRelation(4)));
    let narrow = feed([begin(), Message::Relation(table(1)), one(1, &[Some("1")])]);
    assert_eq!(narrow, Err(AssemblyError::Width { table: TableName::new("public", "t1"), cells: 1, columns: 2 }));
    let other = Message::Commit { commit: CommitLsn(Lsn(7)), end: EndLsn(Lsn(8)), committed_at: 0 };
    assert_eq!(feed([begin(), other]), Err(AssemblyError::OtherCommit { begun: COMMIT, ended: CommitLsn(Lsn(7)) }));
    assert_eq!(feed([begin(), commit(), begin(), commit()]).map(|out| out.len()), Ok(4), "empty transactions are fine");
}

#[test]
fn a_partition_is_known_before_its_first_change_is_handed_on() {
    let insert = |relation| Message::Insert { relation, new: row(&[Some("1"), Some("x")]) };
    let leaf = KnownLeaf { until: EndLsn(COMMIT.0), made: None };
    let feed = |known: &[u32], messages: Vec<Message>| {
        let known = KnownLeaves::from_iter([(1, known.iter().map(|&one| (one, leaf)).collect())]);
        let (mut assembly, mut out) = (Assembly::new(3, known), Vec::new());
        messages.into_iter().try_for_each(|message| assembly.push(message, &mut out))
    };
    let described = |ids: &[u32]| ids.iter().map(|&id| Message::Relation(table(id))).collect::<Vec<_>>();
    let change = |known: &[u32], ids: &[u32]| feed(known, [vec![begin()], described(ids), vec![insert(1)]].concat());
    assert_eq!(change(&[], &[1, 7]), Err(AssemblyError::PartitionCame { table: 1, partition: 7, xid: 9 }));
    assert_eq!(change(&[7], &[1, 7]), Ok(()));
    assert_eq!(change(&[], &[1]), Ok(()), "its own rows");
    let truncate = Message::Truncate { relations: vec![1, 7] };
    assert_eq!(feed(&[], [vec![begin()], described(&[1, 7]), vec![truncate, insert(1)]].concat()), Ok(()));
    let of_another = [vec![begin()], described(&[1, 2, 7]), vec![insert(2)], vec![insert(1)]].concat();
    assert_eq!(feed(&[], of_another), Ok(()), "a table that nobody asked about");
    let made_by = |xid| KnownLeaf { made: Some(xid), ..leaf }.was_made_in(9);
    assert_eq!([8, 9, 10, 9 + (1 << 31)].map(made_by), [false, true, true, false], "in the transaction, or in a part of it");
}
