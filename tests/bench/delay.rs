//! A TCP proxy that adds to the round trip, for `make bench`: `delay PORT SERVER_PORT ROUND_TRIP_MS`. Runs until it is killed.

#[path = "../it/support/proxy.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod proxy;

use std::time::Duration;

#[tokio::main]
async fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().expect("delay PORT SERVER_PORT ROUND_TRIP_MS")).collect();
    let [port, server, round_trip] = args[..] else { panic!("delay PORT SERVER_PORT ROUND_TRIP_MS") };
    let port_of = |number: u64| u16::try_from(number).expect("a port");
    let proxy = proxy::Proxy::on(port_of(port), port_of(server)).await;
    proxy.delay(Duration::from_millis(round_trip) / 2);
    std::future::pending::<()>().await;
}
