//! One database of a test, and what one does with it: as in psql, values are text.

use std::fmt::Write;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

#[derive(Clone)]
pub struct Db {
    pub port: u16,
    pub name: String,
    client: Arc<Mutex<Option<Arc<Client>>>>,
}

impl Db {
    pub fn new(port: u16, name: &str) -> Self {
        Self { port, name: name.to_string(), client: Arc::default() }
    }

    /// For a connector file, or any other client.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// The same through another port, such as a proxy's.
    pub fn url_through(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{}", self.name)
    }

    /// A session of its own: for what must happen at the same time, for open transactions, for settings.
    pub async fn session(&self) -> Client {
        self.try_session().await.unwrap_or_else(|e| panic!("cannot connect to `{}` on port {}: {e}", self.name, self.port))
    }

    pub async fn try_session(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The session that the functions below share. Opened anew after a restart of the server.
    async fn client(&self) -> Result<Arc<Client>, tokio_postgres::Error> {
        let mut slot = self.client.lock().await;
        match &*slot {
            Some(client) if !client.is_closed() => Ok(client.clone()),
            _ => Ok(slot.insert(Arc::new(self.try_session().await?)).clone()),
        }
    }

    /// Runs statements. More than one is one transaction, as in the simple protocol.
    pub async fn batch(&self, sql: &str) {
        self.try_batch(sql).await.unwrap_or_else(|e| panic!("{}\n{sql}", said(&e)));
    }

    pub async fn try_batch(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client().await?.batch_execute(sql).await
    }

    /// Each statement by itself, in a transaction of its own.
    pub async fn each(&self, statements: &[&str]) {
        for sql in statements {
            self.batch(sql).await;
        }
    }

    /// The rows of a query, as `psql -At` prints them: `a|b`, one a line, NULL as `<null>`.
    pub async fn text(&self, sql: &str) -> String {
        self.try_text(sql).await.unwrap_or_else(|e| panic!("{}\n{sql}", said(&e)))
    }

    pub async fn try_text(&self, sql: &str) -> Result<String, tokio_postgres::Error> {
        let mut out = String::new();
        for message in self.client().await?.simple_query(sql).await? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            for at in 0..row.len() {
                let bar = if at > 0 { "|" } else { "" };
                write!(out, "{bar}{}", row.get(at).unwrap_or("<null>")).expect("a string takes everything");
            }
            out.push('\n');
        }
        out.truncate(out.trim_end_matches('\n').len());
        Ok(out)
    }

    /// One number.
    pub async fn number(&self, sql: &str) -> i64 {
        let text = self.text(sql).await;
        text.parse().unwrap_or_else(|_| panic!("`{text}` is not one number: {sql}"))
    }

    /// Rows of a query and a hash over them, whatever their order. Equal texts in two encodings are equal; in SQL_ASCII, which says nothing of
    /// what its bytes mean, they count as they are.
    pub async fn digest(&self, sql: &str) -> String {
        let sql = sql.trim_end().trim_end_matches(';');
        let hash = "case getdatabaseencoding() when 'SQL_ASCII' then md5(q::text) else md5(convert_to(q::text, 'UTF8')) end";
        self.text(&format!(r"select count(*), md5(string_agg(h, '' order by h)) from (select {hash} as h from ({sql}) q) hashed"))
            .await
    }
}

/// What the server said, with its SQLSTATE and where.
pub fn said(e: &tokio_postgres::Error) -> String {
    match e.as_db_error() {
        Some(db) => format!("{} {}: {} {}", db.code().code(), db.severity(), db.message(), db.detail().unwrap_or_default()),
        None => e.to_string(),
    }
}
