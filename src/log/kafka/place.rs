//! Where a partition is to be read from, held against what the log holds.

use super::consumer::{Partition, Start};
use super::group::Context;
use crate::log::{Doing, LogError};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::time::Duration;

/// The thread waits for the answer.
const ASK: Duration = Duration::from_secs(10);

/// The offset to start each partition at, held against what the log holds: `None`, not at all; an inner error is that partition's alone.
pub(super) fn place(
    consumer: &BaseConsumer<Context>,
    wanted: &[(&Partition, Start)],
) -> Result<Vec<Result<Option<i64>, LogError>>, LogError> {
    let asked = wanted.iter().filter(|(_, start)| *start != Start::Held).map(|(partition, _)| *partition);
    let asked: Vec<&Partition> = asked.collect();
    let (lows, highs) = (ends(consumer, &asked, Offset::Beginning)?, ends(consumer, &asked, Offset::End)?);
    let mut found = lows.into_iter().zip(highs);
    let place = |(partition, start): &(&Partition, Start)| {
        if *start == Start::Held {
            return Ok(None);
        }
        let (low, high) = found.next().expect("one answer for each that was asked");
        let (low, high) = (low?, high?);
        match *start {
            Start::At(wanted) if wanted < low || wanted > high => {
                Err(LogError::Gap { topic: partition.topic.to_string(), partition: partition.partition, wanted, low, high })
            }
            Start::At(wanted) => Ok(Some(wanted)),
            Start::Beginning | Start::Held => Ok(Some(low)),
        }
    };
    let places: Vec<Result<Option<i64>, LogError>> = wanted.iter().map(place).collect();
    // that a broker is away is nobody's own trouble
    match places.iter().find_map(|place| place.as_ref().err().filter(|error| error.topic().is_none())) {
        Some(error) => Err(error.clone()),
        None => Ok(places),
    }
}

/// One end of each partition, by one question to each broker.
fn ends(consumer: &BaseConsumer<Context>, asked: &[&Partition], which: Offset) -> Result<Vec<Result<i64, LogError>>, LogError> {
    let Some(first) = asked.first() else { return Ok(Vec::new()) };
    let mut list = TopicPartitionList::new();
    for partition in asked {
        // the question for a time, where these two stand for the ends
        let added = list.add_partition_offset(&partition.topic, partition.partition, which);
        added.map_err(|error| failed(&error, &partition.topic))?;
    }
    let answers = consumer.offsets_for_times(list, ASK).map_err(|error| failed(&error, &first.topic))?;
    let answer = |partition: &&Partition| {
        let found = answers.find_partition(&partition.topic, partition.partition).ok_or(LogError::Stopped)?;
        found.error().map_err(|error| failed(&error, &partition.topic))?;
        match found.offset() {
            Offset::Offset(offset) => Ok(offset),
            _ => Err(LogError::of_code(Doing::ReadEnds, None, Code::OffsetNotAvailable)),
        }
    };
    Ok(asked.iter().map(answer).collect())
}

pub(super) fn failed(error: &KafkaError, topic: &str) -> LogError {
    error.rdkafka_error_code().map_or(LogError::Stopped, |code| LogError::of_code(Doing::ReadEnds, Some(topic), code))
}
