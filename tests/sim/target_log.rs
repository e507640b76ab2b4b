//! The target's control tables of the Kafka log: partitions' checkpoints, barriers, the watermark.

use super::target::{Checkpoint, Key, Stop, Target, Tx, Val};
use super::target_session::{TargetSession, change_state, lsn, table_named};
use super::wire::{
    Answer, BOOL, INT4, INT8, INT8S, Params, TEXT, Value, bool_param, int4_param, int8_param, int8s_param, optional_int8,
    optional_text, text_param,
};
use crate::change::Lsn;

/// Statements: how they begin, their parameters, their columns.
pub const KNOWN: &[(&str, &[u32], &[u32])] = &[
    (
        "SELECT topic, partition, epoch, capture_epoch, position, end_lsn::text, log_offset FROM tablelift.checkpoint",
        &[TEXT],
        &[TEXT, INT4, INT8, INT8, TEXT, TEXT, INT8],
    ),
    ("UPDATE tablelift.checkpoint SET position = coalesce($5, position)", &[TEXT, TEXT, INT4, INT8, TEXT, INT8, INT8, INT8], &[]),
    ("DELETE FROM tablelift.checkpoint WHERE connector = $1 AND topic = $2", &[TEXT, TEXT], &[]),
    ("INSERT INTO tablelift.checkpoint (connector, topic, partition, log_offset)", &[TEXT, TEXT, INT8S], &[]),
    ("WITH mine AS (SELECT coalesce(log_offset, 0) <= $5 AS stands", &[TEXT, TEXT, TEXT, INT4, INT8, INT8], &[BOOL]),
    ("SELECT b.partition FROM tablelift.barrier AS b JOIN", &[TEXT, TEXT, TEXT], &[INT4]),
    ("SELECT coalesce(bool_and(capture_epoch = 0), true)", &[TEXT, TEXT], &[BOOL]),
    ("WITH here AS (DELETE FROM tablelift.barrier", &[TEXT, TEXT, TEXT, TEXT, INT8], &[]),
    ("DELETE FROM tablelift.barrier WHERE connector = $1 AND topic = $2 AND marker <", &[TEXT, TEXT, TEXT], &[]),
    ("DELETE FROM tablelift.barrier WHERE connector = $1 AND topic = $2", &[TEXT, TEXT], &[]),
    ("SELECT c.log_offset, EXISTS (SELECT FROM tablelift.barrier", &[TEXT, TEXT, INT4, TEXT], &[INT8, BOOL]),
    ("INSERT INTO tablelift.watermark AS w", &[TEXT, TEXT, TEXT], &[]),
    ("UPDATE tablelift.table_state SET lacks_from = $3, state = CASE", &[TEXT, TEXT, TEXT, BOOL, INT8, TEXT, TEXT, INT8], &[]),
    ("UPDATE tablelift.table_state SET window_until", &[TEXT, TEXT, TEXT, TEXT], &[]),
    ("DELETE FROM tablelift.reread WHERE connector = $1 AND id = ANY", &[TEXT, INT8S], &[]),
    ("INSERT INTO tablelift.connector (name", &[TEXT, TEXT, TEXT, INT4, TEXT, TEXT, INT4, TEXT, TEXT, INT4, TEXT], &[]),
    ("UPDATE tablelift.checkpoint SET capture_epoch = greatest", &[TEXT, INT8, INT8, TEXT], &[INT8]),
    (
        "SELECT FROM tablelift.checkpoint WHERE connector = $1 AND topic = $3 AND partition = 0 AND capture_epoch",
        &[TEXT, INT8, TEXT],
        &[],
    ),
];

fn row(key: &Key, found: &Checkpoint) -> Option<Vec<Value>> {
    let Key::Checkpoint(topic, partition) = key else { return None };
    let text = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    Some(vec![
        Value::Text(topic.clone()),
        Value::Int4(*partition),
        Value::Int8(found.epoch),
        Value::Int8(found.capture_epoch),
        text(found.position.clone()),
        text(found.end.map(|end| Lsn(end).to_string())),
        found.offset.map_or(Value::Null, Value::Int8),
    ])
}

/// A topic's checkpoints.
fn checkpoints(target: &Target, tx: &Tx, topic: Option<&str>) -> Vec<(Key, Checkpoint)> {
    let of = |(key, value): (&Key, &Val)| match (key, value) {
        (Key::Checkpoint(at, _), Val::Checkpoint(found)) if topic.is_none_or(|topic| topic == at) => {
            Some((key.clone(), found.clone()))
        }
        _ => None,
    };
    let mut all: Vec<_> = target.each(tx).filter_map(of).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// The partitions that stand before a marker.
fn arrived(target: &Target, tx: &Tx, topic: &str, which: impl Fn(&str) -> bool) -> Vec<(Key, i64)> {
    let of = |(key, value): (&Key, &Val)| match (key, value) {
        (Key::Barrier(at, marker, _), Val::Offset(offset)) if at == topic && which(marker) => Some((key.clone(), *offset)),
        _ => None,
    };
    let mut all: Vec<_> = target.each(tx).filter_map(of).collect();
    all.sort();
    all
}

/// The checkpoint has not passed an offset.
fn is_before(target: &Target, tx: &Tx, at: &Key, offset: i64) -> bool {
    matches!(target.get(tx, at), Some(Val::Checkpoint(found)) if found.offset.unwrap_or(0) <= offset)
}

fn remove_all(target: &mut Target, tx: &mut Tx, keys: impl IntoIterator<Item = Key>) -> Result<Answer, Stop> {
    let mut count = 0;
    for key in keys {
        target.put(tx, key, None)?;
        count += 1;
    }
    Ok(Answer::Done(count))
}

impl TargetSession {
    /// `None`: it is no statement of these.
    pub fn log(&mut self, sql: &str, params: &Params) -> Option<Result<Answer, Stop>> {
        let which = KNOWN.iter().position(|(start, _, _)| sql.starts_with(start))?;
        let text = |at| text_param(params, at);
        Some(match which {
            0 => self.within(|target, tx, _| {
                let all = checkpoints(target, tx, None);
                Ok(Answer::Rows(all.iter().filter_map(|(key, found)| row(key, found)).collect()))
            }),
            1 => self.move_partition(params),
            2 => self.within(|target, tx, _| {
                let all = checkpoints(target, tx, Some(&text(1)));
                remove_all(target, tx, all.into_iter().map(|(key, _)| key))
            }),
            3 => self.within(|target, tx, _| {
                for (partition, offset) in (0..).zip(int8s_param(params, 2)) {
                    let new = Checkpoint { offset: Some(offset), ..Checkpoint::default() };
                    target.put(tx, Key::Checkpoint(text(1), partition), Some(Val::Checkpoint(new)))?;
                }
                Ok(Answer::Done(1))
            }),
            4 => self.arrive(params),
            5 => self.within(|target, tx, _| {
                let (topic, marker) = (text(1), text(2));
                let mut rows = Vec::new();
                for (key, offset) in arrived(target, tx, &topic, |at| at == marker) {
                    target.lock(tx, &key)?;
                    let Key::Barrier(_, _, partition) = key else { continue };
                    let at = Key::Checkpoint(topic.clone(), partition);
                    target.lock(tx, &at)?;
                    if is_before(target, tx, &at, offset) {
                        rows.push(vec![Value::Int4(partition)]);
                    }
                }
                Ok(Answer::Rows(rows))
            }),
            6 => self.within(|target, tx, _| {
                let untouched = checkpoints(target, tx, Some(&text(1))).iter().all(|(_, found)| found.capture_epoch == 0);
                Ok(Answer::Rows(vec![vec![Value::Bool(untouched)]]))
            }),
            7 => self.open_barrier(params),
            8 => self.within(|target, tx, _| {
                let (topic, marker) = (text(1), text(2));
                let is_older = |at: &str| at < &marker[..] && at.starts_with("r:") && marker.starts_with("r:");
                let all = arrived(target, tx, &topic, is_older);
                remove_all(target, tx, all.into_iter().map(|(key, _)| key))
            }),
            9 => self.within(|target, tx, _| {
                let all = arrived(target, tx, &text(1), |_| true);
                remove_all(target, tx, all.into_iter().map(|(key, _)| key))
            }),
            10 => self.within(|target, tx, _| {
                let (topic, marker) = (text(1), text(3));
                let is_later = |at: &str| at > &marker[..] && at.starts_with("r:") && marker.starts_with("r:");
                let later = !arrived(target, tx, &topic, is_later).is_empty();
                let found = target.get(tx, &Key::Checkpoint(topic, int4_param(params, 2)));
                let Some(Val::Checkpoint(found)) = found else { return Ok(Answer::Rows(Vec::new())) };
                Ok(Answer::Rows(vec![vec![found.offset.map_or(Value::Null, Value::Int8), Value::Bool(later)]]))
            }),
            11 => self.within(|target, tx, _| {
                let (end, ends) = (lsn(&text(1)), serde_json::from_str(&text(2)).expect("offsets by topic"));
                target.lock(tx, &Key::Watermark)?;
                match target.get(tx, &Key::Watermark) {
                    Some(Val::Watermark(old, _)) if old > end => Ok(Answer::Done(0)),
                    _ => target.put(tx, Key::Watermark, Some(Val::Watermark(end, ends))).map(|()| Answer::Done(1)),
                }
            }),
            12 => self.mirror(params),
            13 => self.within(|target, tx, _| {
                let until = lsn(&text(3));
                let done = change_state(target, tx, table_named(&text(2)), |state| state.window = state.window.max(Some(until)));
                done.map(Answer::Done)
            }),
            14 => self.within(|target, tx, _| {
                let ids = int8s_param(params, 1);
                let is_done = |value: &Val| matches!(value, Val::Reread(reread) if ids.contains(&reread.id));
                let all: Vec<Key> = target.each(tx).filter(|(_, value)| is_done(value)).map(|(key, _)| key.clone()).collect();
                remove_all(target, tx, all)
            }),
            15 => Ok(Answer::Done(1)),
            17 => self.within(|target, tx, _| {
                let (number, key) = (int8_param(params, 1), Key::Checkpoint(String::new(), 0));
                target.lock(tx, &key)?;
                let ours = matches!(target.get(tx, &key), Some(Val::Checkpoint(found)) if found.capture_epoch == number);
                Ok(Answer::Rows(if ours { vec![Vec::new()] } else { Vec::new() }))
            }),
            _ => self.within(|target, tx, _| {
                let (epoch, known, key) = (int8_param(params, 1), int8_param(params, 2), Key::Checkpoint(String::new(), 0));
                target.lock(tx, &key)?;
                let Some(Val::Checkpoint(old)) =
                    target.get(tx, &key).filter(|found| matches!(found, Val::Checkpoint(found) if found.epoch == epoch))
                else {
                    return Ok(Answer::Rows(Vec::new()));
                };
                let capture_epoch = old.capture_epoch.max(known) + 1;
                target.put(tx, key, Some(Val::Checkpoint(Checkpoint { capture_epoch, ..old })))?;
                Ok(Answer::Rows(vec![vec![Value::Int8(capture_epoch)]]))
            }),
        })
    }

    fn move_partition(&mut self, params: &Params) -> Result<Answer, Stop> {
        let key = Key::Checkpoint(text_param(params, 1), int4_param(params, 2));
        let (epoch, position) = (int8_param(params, 3), optional_text(params, 4));
        let (offset, capture_epoch) = (int8_param(params, 5), int8_param(params, 6));
        self.within(|target, tx, _| {
            target.lock(tx, &key)?;
            let Some(Val::Checkpoint(old)) = target.get(tx, &key) else { return Ok(Answer::Done(0)) };
            if broken!(PartitionCheckpointLost) {
                return Ok(Answer::Done(1));
            }
            if old.epoch != epoch && !broken!(NoPartitionEpoch)
                || old.offset.is_some_and(|old| old > offset && !broken!(NoPartitionEpoch))
            {
                return Ok(Answer::Done(0));
            }
            let new = Checkpoint {
                position: position.or(old.position),
                offset: Some(offset),
                capture_epoch: old.capture_epoch.max(capture_epoch),
                ..old
            };
            if broken!(PartitionCheckpointOutside) {
                target.committed.insert(key.clone(), Val::Checkpoint(new.clone()));
            }
            target.put(tx, key, Some(Val::Checkpoint(new)))?;
            Ok(Answer::Done(1))
        })
    }

    fn arrive(&mut self, params: &Params) -> Result<Answer, Stop> {
        let (topic, marker, partition) = (text_param(params, 1), text_param(params, 2), int4_param(params, 3));
        let (offset, epoch) = (int8_param(params, 4), int8_param(params, 5));
        self.within(|target, tx, _| {
            let at = Key::Checkpoint(topic.clone(), partition);
            let is_ours = matches!(target.get(tx, &at), Some(Val::Checkpoint(found)) if found.epoch == epoch);
            if !is_ours {
                return Ok(Answer::Rows(Vec::new()));
            }
            let stands = is_before(target, tx, &at, offset);
            if stands {
                target.put(tx, Key::Barrier(topic, marker, partition), Some(Val::Offset(offset)))?;
            }
            Ok(Answer::Rows(vec![vec![Value::Bool(stands)]]))
        })
    }

    fn open_barrier(&mut self, params: &Params) -> Result<Answer, Stop> {
        let (topic, marker) = (text_param(params, 1), text_param(params, 2));
        let (position, capture_epoch) = (optional_text(params, 3), int8_param(params, 4));
        self.within(|target, tx, _| {
            let most = if broken!(MarkerMovesOne) { 1 } else { usize::MAX };
            for (key, offset) in arrived(target, tx, &topic, |at| at == marker).into_iter().take(most) {
                let Key::Barrier(_, _, partition) = key else { continue };
                let at = Key::Checkpoint(topic.clone(), partition);
                target.put(tx, key, None)?;
                target.lock(tx, &at)?;
                let Some(Val::Checkpoint(old)) = target.get(tx, &at) else { continue };
                let new = Checkpoint {
                    offset: Some(offset + 1),
                    position: position.clone().or(old.position),
                    capture_epoch: old.capture_epoch.max(capture_epoch),
                    ..old
                };
                target.put(tx, at, Some(Val::Checkpoint(new)))?;
            }
            Ok(Answer::Done(1))
        })
    }

    /// Capture's word on a table.
    fn mirror(&mut self, params: &Params) -> Result<Answer, Stop> {
        let name = text_param(params, 1);
        let table = table_named(name.rsplit('.').next().expect("a table's name"));
        let (lacks, copied) = (optional_text(params, 2), bool_param(params, 3));
        let halted = optional_text(params, 5).map(|because| (because, format!("capture: {}", text_param(params, 6))));
        let _rows = optional_int8(params, 4);
        self.within(|target, tx, _| {
            let key = Key::State(table);
            let Some(Val::State(found)) = target.get(tx, &key) else { return Ok(Answer::Done(0)) };
            let because = found.halted.as_ref().map(|(because, _)| because);
            let differs = (&found.lacks, because) != (&lacks, halted.as_ref().map(|(because, _)| because));
            if !(differs || copied && found.state == "new") {
                return Ok(Answer::Done(0));
            }
            let done = change_state(target, tx, table, |state| {
                state.lacks = lacks;
                if copied && state.state == "new" {
                    "follow".clone_into(&mut state.state);
                }
                let theirs = state.halted.take().filter(|(_, hint)| !hint.starts_with("capture: "));
                state.halted = halted.or(theirs);
            });
            done.map(Answer::Done)
        })
    }
}
