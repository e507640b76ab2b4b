//! A change as bytes on a topic: envelope, key, headers.
