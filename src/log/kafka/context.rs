//! What librdkafka tells beside messages: its log lines, and why a broker is not reached.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The last trouble that librdkafka spoke of. It repairs connections by itself and says so only here.
#[derive(Clone, Default)]
pub(super) struct Trouble(Arc<Noted>);

#[derive(Default)]
struct Noted {
    is_set: AtomicBool,
    last: Mutex<Option<(Code, String)>>,
}

impl Trouble {
    fn note(&self, code: Code, reason: &str) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((code, reason.to_owned()));
        self.0.is_set.store(true, Ordering::Relaxed);
    }

    pub fn last(&self) -> Option<(Code, String)> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something went through. Called for each message, so it costs nothing where there is nothing to clear.
    pub fn clear(&self) {
        if self.0.is_set.load(Ordering::Relaxed) {
            self.0.is_set.store(false, Ordering::Relaxed);
            *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl ClientContext for Trouble {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // its own levels cry wolf: a broker that restarts is an error to it. What matters comes as an error code.
        tracing::debug!(target: "librdkafka", ?level, "{facility}: {line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
        // "all brokers are down" follows each failed attempt and would hide why it failed
        if let Some(code) = error.rdkafka_error_code().filter(|code| *code != Code::AllBrokersDown) {
            self.note(code, reason);
        }
    }
}

impl ConsumerContext for Trouble {}
