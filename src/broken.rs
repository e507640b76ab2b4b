//! Rules that the simulation breaks on purpose, one at a time, to be seen finding it (`tests/sim`). Outside of its tests nothing of it is there.

/// Whether a rule is broken now.
#[cfg(test)]
macro_rules! broken {
    ($rule:ident) => {
        crate::broken::is(crate::broken::Rule::$rule)
    };
}

#[cfg(not(test))]
macro_rules! broken {
    ($rule:ident) => {
        false
    };
}

#[cfg(test)]
pub use kept::{Rule, broken_by, is, none};

#[cfg(test)]
mod kept {
    use std::cell::Cell;

    macro_rules! rules {
        ([$($(#[doc = $doc:literal])* $rule:ident,)*] [$($(#[doc = $doc2:literal])* $of_kafka:ident,)*]) => {
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum Rule {
                $($(#[doc = $doc])* $rule,)*
                $($(#[doc = $doc2])* $of_kafka,)*
            }

            impl Rule {
                pub const ALL: &[Rule] = &[$(Rule::$rule,)* $(Rule::$of_kafka,)*];

                /// It is a rule of the Kafka log alone.
                pub fn is_of_kafka(self) -> bool {
                    matches!(self, $(Rule::$of_kafka)|*)
                }
            }
        };
    }

    rules! {
        [
        /// What ran when the barrier was drawn is not waited for.
        NoBarrier,
        /// The barrier is drawn without an own transaction id.
        NoOwnXid,
        /// A snapshot need not see what the stream has brought.
        LateIgnored,
        /// The stream's 32 bits are taken to be of the present epoch.
        NarrowXid,
        /// What the stream brings is not remembered.
        EmitsNothing,
        /// What is too much to remember is forgotten, and no barrier is drawn.
        ForgetsEmitted,
        /// A chunk enters in the middle of the stream's writing.
        NoTurns,
        /// Nobody looks whether the table has another file.
        AnyFile,
        /// A range ends a block early.
        StopsShort,
        /// A chunk's progress is kept though its rows are not.
        ProgressOutside,
        /// An update that finds no row is passed over.
        MissIgnored,
        /// A row that is read again and is not there stays.
        AbsentStays,
        /// The slot is confirmed before the target has committed.
        ConfirmsAhead,
        /// What the checkpoint covers is applied again.
        ReplaysApplied,
        /// The parts of a large transaction are committed one by one.
        PartsCommitted,
        TruncateIgnored,
        /// The row of the old key stays.
        KeyChangeLeaves,
        /// An unchanged value counts as sent.
        UnchangedTaken,
        /// Rows of another moment count as rows of this one.
        AlwaysExact,
        /// A copy that is complete says nothing of the moment that its rows are of.
        WindowForgotten,
        /// A delete without a key takes all equal rows.
        DeletesAll,
        /// A keepalive inside of a transaction counts.
        IdleInside,
        /// The checkpoint is kept though the rows are not.
        CheckpointOutside,
        /// The rows are kept though the checkpoint is not.
        CheckpointLost,
        /// A re-read is asked for by nobody.
        RereadForgotten,
        /// All re-reads of a table end with one.
        DoneByTable,
        /// The writer may write in another epoch.
        NoEpoch,
        /// A chunk may be brought in another epoch.
        NoEpochChunk,
        /// What came before a refusal is not done again.
        LadderNoReplay,
        ] [
        /// What a capture sends that another has followed is applied.
        LateCaptureTaken,
        /// A capture numbers itself by what the control topic says.
        SameCaptureEpoch,
        /// The last record in the control topic counts, whoever wrote it.
        LastRecordWins,
        /// A capture draws the target's epoch behind what it has said in the log.
        EpochsApart,
        /// A topic's checkpoints are moved by whoever began, though another has since.
        BeginsUnasked,
        /// The source is told to forget what is on its way to the log.
        ConfirmsUnacknowledged,
        /// Acknowledgements are not waited for.
        AcksUnawaited,
        /// A chunk's progress is recorded while its rows are on their way.
        ProgressUnacknowledged,
        /// How far the events reach is not said.
        EventEndsForgotten,
        /// How far a chunk's rows reach is not said.
        ChunkEndsForgotten,
        /// What was applied is applied again when it comes again.
        LogReplaysApplied,
        TruncateReplayed,
        /// Rows of a copy are taken for replays.
        ReadsHavePlaces,
        /// TRUNCATE is a change as any other.
        TruncateNoMarker,
        /// TRUNCATE goes to one partition.
        TruncateToOne,
        /// The first partition at a marker opens it.
        MarkerAlone,
        /// An older capture's word on how far the target is, behind a newer one's first event.
        MirrorUnfenced,
        /// Whoever opens a marker moves one partition's checkpoint.
        MarkerMovesOne,
        /// A row that moves is one event, in its new key's partition.
        MovesWhole,
        /// Both events of a row that moves have one place.
        MovesAtOnePlace,
        /// A re-read is done when it is sent.
        AnsweredWhenSent,
        /// A re-read is never done.
        AnswersForgotten,
        /// What lacks what it builds on is passed over.
        LogRereadForgotten,
        /// A row that is read again and is not there stays, through the log.
        AbsentPassedOver,
        /// Every assignment begins at the log's first offset.
        OffsetIgnored,
        PositionForgotten,
        CaptureEpochForgotten,
        /// A batch that is cut short knows a capture from behind the cut.
        CaptureOfBehind,
        /// What was read before a partition was begun anew counts.
        OldRunTaken,
        /// Whoever lost a partition may still move its checkpoint.
        NoPartitionEpoch,
        /// The partition's checkpoint is kept though the rows are not.
        PartitionCheckpointOutside,
        /// The rows are kept though the partition's checkpoint is not.
        PartitionCheckpointLost,
        ]
    }

    thread_local! {
        static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    pub fn is(rule: Rule) -> bool {
        BROKEN.get() == Some(rule)
    }

    pub fn none() -> bool {
        BROKEN.get().is_none()
    }

    /// Runs something with a rule broken.
    pub fn broken_by<T>(rule: Option<Rule>, run: impl FnOnce() -> T) -> T {
        BROKEN.set(rule);
        let done = run();
        BROKEN.set(None);
        done
    }
}
