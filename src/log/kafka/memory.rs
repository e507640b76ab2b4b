//! A broker of this very process, for the simulation: what would go to librdkafka goes to it by channels, on the thread that has posted it.
//! It stands in the place of the least that there is: what is above - groups of acknowledgements, runs, the control topic's epochs - is ours.

use super::acks::AckGroup;
use super::board::Board;
use super::consumer::{Assignment, Delivery, Partition};
use crate::log::{Doing, LogError};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, oneshot};

pub use super::reader::Told;
pub use super::worker::Order;

/// What the daemon asks of it.
pub trait Broker {
    /// A producer begins; it is gone when the channel is closed.
    fn produces(&self, sent: mpsc::UnboundedReceiver<Sent>);

    /// A member joins the group.
    fn joins(&self, member: Member);

    /// Somebody reads a topic of one partition from its start on.
    fn reads(&self, topic: &str, tell: mpsc::Sender<Result<Told, LogError>>);

    /// The first and the next offset of a partition.
    fn ends(&self, topic: &str, partition: i32) -> Result<(i64, i64), LogError>;

    /// `false`: it is there.
    fn makes(&self, topic: &str, partitions: i32) -> Result<bool, LogError>;

    /// `None`: there is no such topic.
    fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError>;
}

thread_local! {
    static POSTED: RefCell<Option<Rc<dyn Broker>>> = const { RefCell::new(None) };
}

/// From now on all Kafka clients of this thread are clients of this one.
pub fn post(broker: impl Broker + 'static) {
    POSTED.set(Some(Rc::new(broker)));
}

/// From now on none is.
pub fn withdraw() {
    POSTED.set(None);
}

pub(super) fn posted() -> Option<Rc<dyn Broker>> {
    POSTED.with_borrow(Clone::clone)
}

/// Nobody answers.
pub fn away(doing: Doing) -> LogError {
    LogError::Away { doing, code: Code::BrokerTransportFailure, reason: None }
}

/// A record as it is in the log.
#[derive(Clone, Debug)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A record on its way.
pub struct Sent {
    pub topic: String,
    pub partition: i32,
    pub record: Record,
    pub receipt: Receipt,
}

/// Where to tell what became of a record.
pub struct Receipt {
    pub(super) group: Arc<AckGroup>,
    pub(super) board: Arc<Board>,
}

impl Receipt {
    /// It is in the log. `None`: nobody knows where.
    pub fn landed(&self, topic: &str, partition: i32, offset: Option<i64>) {
        self.board.landed(&self.group, topic, partition, offset.unwrap_or(-1));
    }

    /// The producer is dead.
    pub fn lost(&self) {
        self.board.fail(LogError::Producer { code: Code::Fatal });
    }
}

/// A member of the group, as its owner is told of it.
pub struct Member {
    pub topics: Vec<Arc<str>>,
    pub orders: std::sync::mpsc::Receiver<Order>,
    /// Orders came.
    pub woken: Arc<Notify>,
    pub(super) tell: mpsc::UnboundedSender<Result<Delivery, LogError>>,
    /// Ends when the member does.
    pub(super) _gone: oneshot::Sender<()>,
}

impl Member {
    pub fn assigned(&self, id: u64, partitions: Vec<Partition>) {
        self.deliver(Delivery::Assigned(Assignment { id, partitions }));
    }

    /// An owner that is gone has also dropped its orders.
    pub fn deliver(&self, delivery: Delivery) {
        self.tell.send(Ok(delivery)).ok();
    }
}
