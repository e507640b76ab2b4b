//! What can go wrong with a log.

use crate::fate::Fate;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::fmt;

/// What we were about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Connect,
    Describe,
    CreateTopics,
    DeleteTopics,
    Produce,
    Consume,
    ReadEnds,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::Connect => "connecting to the broker",
            Doing::Describe => "describing topics",
            Doing::CreateTopics => "creating topics",
            Doing::DeleteTopics => "deleting topics",
            Doing::Produce => "producing",
            Doing::Consume => "consuming",
            Doing::ReadEnds => "reading a partition's ends",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The settings of `[log.kafka]` do not go together, or name a file that cannot be read. `reason` is librdkafka's.
    #[error("cannot make a Kafka client: {reason}\n  hint: look at `[log.kafka]` in the connector file")]
    Settings { reason: String },
    /// Nobody answers, or the answer is "not now".
    #[error("{doing}: the broker is away: {code}{}", because(.reason))]
    Away { doing: Doing, code: Code, reason: Option<String> },
    /// The broker refuses us: login, certificate, or access list.
    #[error(
        "{doing}: the broker refuses{}: {code}{}\n  hint: look at the login and the access lists of this connector's topics and group",
        about(.topic),
        because(.reason)
    )]
    Denied { doing: Doing, topic: Option<String>, code: Code, reason: Option<String> },
    /// The broker's answer is an error that time does not cure.
    #[error("{doing}{}: {code}{}", about(.topic), because(.reason))]
    Refused { doing: Doing, topic: Option<String>, code: Code, reason: Option<String> },
    #[error(
        "topic `{topic}` does not exist\n  hint: if it was deleted, its table must be copied again (deploy/runbooks/copy-a-table-again.md)"
    )]
    NoTopic { topic: String },
    #[error(
        "topic `{topic}` has no partition {partition}\n  hint: it was re-created with fewer; its table must be copied again (deploy/runbooks/copy-a-table-again.md)"
    )]
    NoPartition { topic: String, partition: i32 },
    #[error(
        "an event is larger than topic `{topic}` takes\n  hint: raise the topic's `max.message.bytes`, and `message.max.bytes` in `[log.kafka]` where that is the lower one"
    )]
    TooLarge { topic: String },
    /// The log does not hold the offset that comes next. Ours to know: what lay there is lost to us.
    #[error(
        "topic `{topic}` partition {partition} holds offsets {low} to {high}, and {wanted} comes next\n  hint: retention cut it off, or the topic was re-created; the table must be copied again (deploy/runbooks/copy-a-table-again.md)"
    )]
    Gap { topic: String, partition: i32, wanted: i64, low: i64, high: i64 },
    /// An event was acknowledged at an offset below one that was acknowledged before: another log has taken the place of ours.
    #[error(
        "topic `{topic}` partition {partition} acknowledged offset {offset}, below {end} that it had acknowledged before\n  hint: the topic was deleted and made again, or lost data; the table must be copied again (deploy/runbooks/copy-a-table-again.md)"
    )]
    Rewound { topic: String, partition: i32, offset: i64, end: i64 },
    /// The producer cannot go on without risking a gap or a change of order. Nothing after the last acknowledgement counts.
    #[error("the producer stopped: {code}")]
    Producer { code: Code },
    /// Its thread could not be started, or is gone.
    #[error("the log's client has stopped")]
    Stopped,
}

impl LogError {
    pub fn fate(&self) -> Fate {
        match self {
            Self::Away { .. } | Self::Producer { .. } | Self::Stopped => Fate::Retry,
            Self::Settings { .. }
            | Self::Denied { .. }
            | Self::Refused { .. }
            | Self::NoTopic { .. }
            | Self::NoPartition { .. }
            | Self::TooLarge { .. }
            | Self::Gap { .. }
            | Self::Rewound { .. } => Fate::Halt,
        }
    }

    /// The topic whose table this concerns; `None`: all of them.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::NoTopic { topic }
            | Self::NoPartition { topic, .. }
            | Self::TooLarge { topic }
            | Self::Gap { topic, .. }
            | Self::Rewound { topic, .. } => Some(topic),
            Self::Denied { topic, .. } | Self::Refused { topic, .. } => topic.as_deref(),
            Self::Settings { .. } | Self::Away { .. } | Self::Producer { .. } | Self::Stopped => None,
        }
    }

    /// By the broker's error code, for whatever was done to `topic`.
    pub(super) fn of_code(doing: Doing, topic: Option<&str>, code: Code) -> Self {
        let owned = topic.map(str::to_owned);
        match (code, topic) {
            (Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition, Some(topic)) => {
                Self::NoTopic { topic: topic.to_owned() }
            }
            (code, _) if is_denied(code) => Self::Denied { doing, topic: owned, code, reason: None },
            (code, _) if is_away(code) => Self::Away { doing, code, reason: None },
            (code, _) => Self::Refused { doing, topic: owned, code, reason: None },
        }
    }

    /// With librdkafka's own words, where it has some.
    pub(super) fn because_of(mut self, words: String) -> Self {
        if let Self::Away { reason, .. } | Self::Denied { reason, .. } | Self::Refused { reason, .. } = &mut self {
            *reason = Some(words);
        }
        self
    }
}

fn is_denied(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::SSL
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::SecurityDisabled
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::UnacceptableCredential
    )
}

fn is_away(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::WaitingForCoordinator
            | Code::ISRInsufficient
            | Code::BrokerDestroy
            | Code::DestroyBroker
            | Code::InProgress
            | Code::PreviousInProgress
            | Code::State
            | Code::Retry
            | Code::WaitCache
            | Code::UnknownBroker
            | Code::Fail
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::KafkaStorageError
            | Code::OffsetNotAvailable
            | Code::UnknownLeaderEpoch
            | Code::FencedLeaderEpoch
            | Code::EligibleLeadersNotAvailable
            | Code::PreferredLeaderNotAvailable
            | Code::ReassignmentInProgress
            | Code::ListenerNotFound
            | Code::StaleBrokerEpoch
            | Code::ThrottlingQuotaExceeded
            | Code::UnknownTopicId
            | Code::RebootstrapRequired
    )
}

fn about(topic: &Option<String>) -> String {
    topic.as_ref().map(|topic| format!(" for topic `{topic}`")).unwrap_or_default()
}

fn because(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_fates() {
        let of = |code| LogError::of_code(Doing::Produce, Some("p.s.t"), code);
        assert_eq!(of(Code::UnknownTopicOrPartition), LogError::NoTopic { topic: "p.s.t".to_owned() });
        for code in [Code::AllBrokersDown, Code::OperationTimedOut, Code::NotEnoughReplicas, Code::LeaderNotAvailable] {
            assert_eq!(of(code).fate(), Fate::Retry, "{code}");
        }
        for code in [Code::TopicAuthorizationFailed, Code::PolicyViolation, Code::InvalidRecord] {
            assert_eq!((of(code).fate(), of(code).topic().is_some()), (Fate::Halt, true), "{code}");
        }
        assert!(of(Code::SaslAuthenticationFailed).to_string().contains("refuses for topic `p.s.t`"));
    }
}
