//! Topics made, described, deleted; brokers that are not there.

use crate::{Broker, PATIENCE, kafka};
use std::time::{Duration, Instant};
use tablelift::fate::Fate;
use tablelift::log::LogError;
use tablelift::log::kafka::{Admin, TopicSpec};

#[tokio::test]
async fn topics_are_made_once_described_and_deleted() {
    let kafka = kafka(&Broker::shared(), "made");
    let admin = Admin::new(&kafka).unwrap();
    assert_eq!(admin.brokers(PATIENCE).await, Ok(1));
    let specs = [TopicSpec::table("made.public.t", &kafka, 3), TopicSpec::control(&kafka)];
    let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    assert_eq!(admin.describe(&names, PATIENCE).await.unwrap(), [None, None]);
    assert_eq!(admin.ensure(&specs, PATIENCE).await.unwrap(), names);
    assert_eq!(admin.ensure(&specs, PATIENCE).await.unwrap(), Vec::<String>::new());
    let states: Vec<_> = admin.describe(&names, PATIENCE).await.unwrap().into_iter().map(Option::unwrap).collect();
    let [table, control] = &states[..] else { panic!("{states:?}") };
    assert_eq!((table.partitions, table.replication_factor, table.leaderless, table.min_insync_replicas), (3, 1, 0, 1));
    assert_eq!((table.cleanup_policy.as_str(), table.retention_ms, table.retention_bytes), ("delete", 604_800_000, -1));
    assert!(!table.unclean_leader_election && table.max_message_bytes > 16 << 20);
    assert_eq!((control.partitions, control.cleanup_policy.as_str()), (1, "compact"));
    assert_eq!(admin.members("nobody", PATIENCE).await, Ok(0));
    assert_eq!(admin.delete(&names, PATIENCE).await.unwrap(), names);
    assert_eq!(admin.delete(&names, PATIENCE).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn too_many_replicas_are_refused() {
    let mut kafka = kafka(&Broker::shared(), "replicas");
    kafka.replication_factor = 3;
    let refused = Admin::new(&kafka).unwrap().ensure(&[TopicSpec::table("replicas.s.t", &kafka, 1)], PATIENCE).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, LogError::Refused { .. }), "{error}");
    assert_eq!((error.fate(), error.topic()), (Fate::Halt, Some("replicas.s.t")));
}

#[tokio::test]
async fn nobody_there_is_said_in_time_with_the_reason() {
    let start = Instant::now();
    let error = Admin::new(&kafka("127.0.0.1:9", "p")).unwrap().brokers(Duration::from_secs(2)).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(matches!(&error, LogError::Away { reason: Some(reason), .. } if reason.contains("refused")), "{error}");
    assert_eq!(error.fate(), Fate::Retry);
}

#[tokio::test]
async fn a_broker_that_speaks_otherwise_is_said() {
    let mut kafka = kafka(&Broker::shared(), "p");
    kafka.settings.push(("security.protocol".to_owned(), "ssl".to_owned()));
    let error = Admin::new(&kafka).unwrap().brokers(Duration::from_secs(3)).await.unwrap_err();
    assert!(matches!(&error, LogError::Away { reason: Some(reason), .. } if reason.contains("SSL")), "{error}");
}
