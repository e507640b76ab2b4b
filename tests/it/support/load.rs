//! Traffic as an application makes it: clients that insert, update, delete, change keys and transfer between rows.

use super::servers::rand_seed;
use super::{Db, Log, World};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

/// The tables that the load works on: rows with keys and large values, accounts whose sum never changes, a keyless journal.
const DDL: &str = "
    create table load_rows (id bigint primary key, n bigint not null, note text, large text);
    alter table load_rows alter column large set storage external;
    create table load_accounts (id int primary key, balance bigint not null);
    create table load_journal (client int not null, n bigint not null, note text);
    insert into load_accounts select g, 1000 from generate_series(1, 200) g;";

/// Their entries in a connector file.
const TABLES: &str = "
    [[table]]
    source = 'public.load_rows'
    [[table]]
    source = 'public.load_accounts'
    [[table]]
    source = 'public.load_journal'
    insert_only = true
";

/// Runs until it is stopped or dropped.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Makes the tables on both sides, the accounts filled on the source only.
    pub async fn prepare(w: &World) {
        w.source.batch(DDL).await;
        w.target.batch(DDL).await;
        w.target.batch("truncate load_accounts").await;
    }

    /// The tables' entries for a connector file.
    pub fn tables() -> &'static str {
        TABLES
    }

    /// As many clients as wished, each with its own rows and about 300 transactions a second at most.
    pub fn start(w: &World, clients: u32) -> Self {
        let seed = std::env::var("LOAD_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand_seed);
        eprintln!("load with LOAD_SEED={seed}");
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..clients)
            .map(|client| {
                let worker = Worker {
                    db: w.source.clone(),
                    log: w.log,
                    client,
                    random: Random(seed ^ u64::from(client + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                    next: 0,
                };
                tokio::spawn(worker.work(stop.clone(), done.clone()))
            })
            .collect();
        Self { stop, done, clients }
    }

    /// Transactions committed so far.
    pub fn committed(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends after the transactions that are open. Returns how many were committed.
    pub async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.await.expect("no client panics");
        }
        self.committed()
    }

    /// All tables of the load are the same on both sides.
    pub async fn equal(w: &World) {
        for table in ["load_rows", "load_accounts", "load_journal"] {
            w.equal(&format!("select * from {table}")).await;
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A small generator (xorshift), so that a seed gives the same statements again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

struct Worker {
    db: Db,
    log: Log,
    client: u32,
    random: Random,
    /// The next key of this client: its own range, so that clients meet only in the accounts.
    next: u64,
}

impl Worker {
    async fn work(mut self, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
        let mut session: Option<Client> = None;
        while !stop.load(Ordering::Relaxed) {
            let sql = self.transaction();
            let result = match &session {
                Some(client) => client.batch_execute(&sql).await,
                None => match self.db.try_session().await {
                    Ok(client) => {
                        let result = client.batch_execute(&sql).await;
                        session = Some(client);
                        result
                    }
                    Err(e) => Err(e),
                },
            };
            match result {
                Ok(()) => {
                    done.fetch_add(1, Ordering::Relaxed);
                }
                // Away, or two clients locked each other out: go on, as an application does.
                Err(e) => session = self.again(&e, session.take()).await,
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    async fn again(&self, e: &Error, session: Option<Client>) -> Option<Client> {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let client = session?;
        assert!(
            e.is_closed()
                || e.as_db_error().is_some_and(|db| ["40P01", "57P01", "57P02"].contains(&db.code().code()))
                || client.is_closed(),
            "the load met {e:?}"
        );
        if client.is_closed() || client.batch_execute("rollback").await.is_err() { None } else { Some(client) }
    }

    /// Some statements, as one transaction. A few are rolled back, as in life.
    fn transaction(&mut self) -> String {
        let mut sql = String::from("begin;");
        for _ in 0..=self.random.below(4) {
            sql += &self.statement();
        }
        sql + if self.random.below(20) == 0 { "rollback;" } else { "commit;" }
    }

    fn statement(&mut self) -> String {
        let base = u64::from(self.client) * 1_000_000_000;
        // Recent keys more often than old ones: hot rows, several changes of one row within a batch.
        let span = self.next.clamp(1, 500);
        let old = base + self.next.saturating_sub(self.random.below(span) + 1);
        let n = self.random.below(1_000_000);
        match self.random.below(12) {
            0..=3 => {
                self.next += 1;
                let large = if n.is_multiple_of(10) { format!("repeat(md5('{n}'), 300)") } else { "null".into() };
                format!(
                    "insert into load_rows values ({}, {n}, 'n{n} ''\\ ü', {large}) on conflict do nothing;",
                    base + self.next - 1
                )
            }
            // Leaves a large value as it is: unchanged TOAST.
            4..=6 => format!("update load_rows set n = {n}, note = nullif(note, 'n1') where id = {old};"),
            7 => format!("delete from load_rows where id = {old};"),
            8 => {
                self.next += 1;
                // Through Kafka an unchanged large value cannot follow its row to another key: the table would halt, as it should.
                let small = if self.log == Log::Kafka { " and large is null" } else { "" };
                format!("update load_rows set id = {}, n = {n} where id = {old}{small};", base + self.next - 1)
            }
            9 => format!("insert into load_journal values ({}, {n}, repeat('j', {}));", self.client, n % 50),
            _ => {
                let (a, b) = (self.random.below(200) + 1, self.random.below(200) + 1);
                let (low, high, sign) = if a < b { (a, b, 1) } else { (b, a, -1) };
                format!(
                    "update load_accounts set balance = balance - {sign} where id = {low}; update load_accounts set balance = balance + {sign} where id = {high};"
                )
            }
        }
    }
}
