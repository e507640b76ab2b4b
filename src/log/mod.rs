//! The durable order between capture and apply: Kafka, or the local queue whose durable log is the slot itself.
