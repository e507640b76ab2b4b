//! A PostgreSQL server's end of a connection (PostgreSQL's manual, 55): the daemon's own client library speaks to it.

use super::world::Shared;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Numbers of types (`pg_type.dat`).
pub const BOOL: u32 = 16;
pub const INT8: u32 = 20;
pub const INT4: u32 = 23;
pub const TEXT: u32 = 25;
pub const OID: u32 = 26;
pub const INT8S: u32 = 1016;
pub const TEXTS: u32 = 1009;

/// What a query gives in one place of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    Int8(i64),
    Int4(i32),
    Oid(u32),
    Text(String),
    Texts(Vec<String>),
}

/// What a statement comes to.
pub enum Answer {
    /// So many rows were affected.
    Done(u64),
    Rows(Vec<Vec<Value>>),
    CopyOut(Vec<String>),
    /// It reads what COPY sends, and is then run again with it.
    CopyIn,
    /// Somebody holds what it needs; nothing of it was done.
    Wait,
}

/// SQLSTATE, message, and what it is about.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub code: &'static str,
    pub message: String,
    pub table: Option<(String, String)>,
}

impl Refusal {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), table: None }
    }
}

/// A parameter as it came: in binary form, but where the client says otherwise.
pub type Params = [Option<Bytes>];

/// A session's state, and what it does.
pub trait Backend: Send + 'static {
    /// The types of parameters and columns.
    fn describe(&self, sql: &str) -> (Vec<u32>, Vec<u32>);

    fn run(&mut self, sql: &str, params: &Params, copied: Option<&[u8]>) -> Result<Answer, Refusal>;

    /// `I`, `T` or `E`.
    fn status(&self) -> u8;

    fn fail(&mut self);

    fn lock_timeout(&self) -> Duration;

    /// The server it is on was restarted.
    fn is_cut(&self) -> bool;

    /// For traces.
    fn name(&self) -> String;

    /// The connection is gone.
    fn end(&mut self);
}

struct Session<B> {
    backend: B,
    world: Shared,
    stream: DuplexStream,
    input: BytesMut,
    output: BytesMut,
    statements: BTreeMap<String, String>,
    portal: (String, Vec<Option<Bytes>>),
    /// Messages up to the next Sync are passed over.
    skipping: bool,
    /// COPY's data so far, and whether its statement came by the simple protocol.
    copying: Option<Vec<u8>>,
}

/// Serves one connection until either side ends it.
pub async fn serve(backend: impl Backend, world: Shared, stream: DuplexStream) {
    let mut session = Session {
        backend,
        world,
        stream,
        input: BytesMut::new(),
        output: BytesMut::new(),
        statements: BTreeMap::new(),
        portal: (String::new(), Vec::new()),
        skipping: false,
        copying: None,
    };
    session.run().await;
    session.backend.end();
}

impl<B: Backend> Session<B> {
    async fn run(&mut self) -> Option<()> {
        self.greet().await?;
        loop {
            while self.input.len() < 5 {
                self.read().await?;
            }
            let length = u32::from_be_bytes(self.input[1..5].try_into().ok()?) as usize + 1;
            while self.input.len() < length {
                self.read().await?;
            }
            let mut message = self.input.split_to(length).freeze();
            let kind = message.get_u8();
            message.advance(4);
            if self.backend.is_cut() {
                return None;
            }
            self.handle(kind, message).await?;
        }
    }

    async fn read(&mut self) -> Option<()> {
        if !self.output.is_empty() {
            let output = self.output.split();
            self.stream.write_all(&output).await.ok()?;
        }
        let read = self.stream.read_buf(&mut self.input).await.ok()?;
        (read > 0).then_some(())
    }

    async fn greet(&mut self) -> Option<()> {
        while self.input.len() < 4 || self.input.len() < u32::from_be_bytes(self.input[..4].try_into().ok()?) as usize {
            self.read().await?;
        }
        self.input.clear();
        self.message(b'R', |out| out.put_u32(0));
        self.message(b'S', |out| out.put_slice(b"server_version\x0015.9\0"));
        self.message(b'K', |out| out.put_u64(1));
        self.ready();
        Some(())
    }

    fn message(&mut self, kind: u8, body: impl FnOnce(&mut BytesMut)) {
        self.output.put_u8(kind);
        let at = self.output.len();
        self.output.put_u32(0);
        body(&mut self.output);
        let length = u32::try_from(self.output.len() - at).expect("short");
        self.output[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn ready(&mut self) {
        let status = self.backend.status();
        self.message(b'Z', |out| out.put_u8(status));
    }

    async fn handle(&mut self, kind: u8, mut body: Bytes) -> Option<()> {
        match kind {
            b'X' => return None,
            b'd' => {
                if let Some(data) = &mut self.copying {
                    data.extend_from_slice(&body);
                }
            }
            b'c' if self.copying.is_some() => {
                let data = self.copying.take().unwrap_or_default();
                self.execute(Some(&data)).await;
            }
            b'f' if self.copying.is_some() => {
                self.copying = None;
                self.refuse(&Refusal::new("57014", "COPY from stdin failed"));
            }
            b'S' | b'H' | b'c' | b'f' if self.copying.is_some() || kind != b'S' => {}
            b'S' => {
                self.skipping = false;
                self.ready();
            }
            _ if self.skipping => {}
            b'Q' => self.simple(&text(&mut body)).await,
            b'P' => {
                let (name, sql) = (text(&mut body), text(&mut body));
                self.statements.insert(name, sql);
                self.message(b'1', |_| {});
            }
            b'D' => {
                body.advance(1);
                let name = text(&mut body);
                let (params, columns) = self.backend.describe(&self.statements[&name]);
                self.message(b't', |out| {
                    out.put_u16(u16::try_from(params.len()).expect("few"));
                    params.iter().for_each(|&oid| out.put_u32(oid));
                });
                if columns.is_empty() { self.message(b'n', |_| {}) } else { self.row_description(&columns, 1) }
            }
            b'B' => {
                let (_, name) = (text(&mut body), text(&mut body));
                let formats = body.get_u16();
                body.advance(2 * usize::from(formats));
                let params = (0..body.get_u16()).map(|_| {
                    let length = body.get_i32();
                    usize::try_from(length).ok().map(|length| body.split_to(length))
                });
                self.portal = (self.statements[&name].clone(), params.collect());
                self.message(b'2', |_| {});
            }
            b'E' => self.execute(None).await,
            b'C' => self.message(b'3', |_| {}),
            _ => panic!("message {} is unknown to the model", char::from(kind)),
        }
        Some(())
    }

    fn row_description(&mut self, columns: &[u32], format: u16) {
        self.message(b'T', |out| {
            out.put_u16(u16::try_from(columns.len()).expect("few"));
            for &oid in columns {
                out.put_slice(b"c\0");
                out.put_u32(0);
                out.put_u16(0);
                out.put_u32(oid);
                out.put_i16(-1);
                out.put_i32(-1);
                out.put_u16(format);
            }
        });
    }

    async fn execute(&mut self, copied: Option<&[u8]>) {
        let (sql, params) = self.portal.clone();
        match self.wait_for(&sql, &params, copied).await {
            Ok(Answer::Done(count)) => self.complete(count),
            Ok(Answer::Rows(rows)) => {
                rows.iter().for_each(|row| self.row(row, true));
                self.complete(rows.len() as u64);
            }
            Ok(Answer::CopyOut(lines)) => {
                self.message(b'H', copy_format);
                for line in &lines {
                    self.message(b'd', |out| out.put_slice(line.as_bytes()));
                }
                self.message(b'c', |_| {});
                self.complete(lines.len() as u64);
            }
            Ok(Answer::CopyIn) => {
                self.message(b'G', copy_format);
                self.copying = Some(Vec::new());
            }
            Ok(Answer::Wait) => unreachable!("it was waited for"),
            Err(refusal) => {
                self.refuse(&refusal);
                self.skipping = true;
            }
        }
    }

    async fn simple(&mut self, sql: &str) {
        for part in statements(sql) {
            match self.wait_for(part, &[], None).await {
                Ok(Answer::Rows(rows)) => {
                    let columns = vec![TEXT; rows.first().map_or(0, Vec::len)];
                    self.row_description(&columns, 0);
                    rows.iter().for_each(|row| self.row(row, false));
                    self.complete(rows.len() as u64);
                }
                Ok(Answer::Done(count)) => self.complete(count),
                Ok(_) => panic!("no COPY by the simple protocol: {part}"),
                Err(refusal) => {
                    self.refuse(&refusal);
                    break;
                }
            }
        }
        self.ready();
    }

    /// Statements take their time, and some wait for others.
    async fn wait_for(&mut self, sql: &str, params: &Params, copied: Option<&[u8]>) -> Result<Answer, Refusal> {
        let delay = self.world.lock().delay(sql);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let begun = tokio::time::Instant::now();
        loop {
            if self.backend.is_cut() {
                return Err(Refusal::new("57P01", "terminating connection due to administrator command"));
            }
            let done = self.backend.run(sql, params, copied);
            if super::traces() && !matches!(done, Ok(Answer::Wait)) {
                let what = match &done {
                    Ok(Answer::Done(count)) => format!("{count}"),
                    Ok(Answer::Rows(rows)) => format!("{rows:?}"),
                    Ok(Answer::CopyOut(lines)) => format!("{lines:?}"),
                    Ok(_) => "COPY".to_owned(),
                    Err(refusal) => format!("{refusal:?}"),
                };
                let values: Vec<String> =
                    params.iter().flatten().map(|value| String::from_utf8_lossy(value).replace(char::is_control, "")).collect();
                let short: String = sql.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(110).collect();
                self.world.lock().tell(&format!("{} {short} {values:?} -> {what}", self.backend.name()));
            }
            match done {
                Ok(Answer::Wait) if begun.elapsed() > self.backend.lock_timeout() => {
                    return Err(Refusal::new("55P03", "canceling statement due to lock timeout"));
                }
                Ok(Answer::Wait) => tokio::time::sleep(Duration::from_millis(3)).await,
                done => return done,
            }
        }
    }

    fn complete(&mut self, count: u64) {
        let tag = format!("UPDATE {count}\0");
        self.message(b'C', |out| out.put_slice(tag.as_bytes()));
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.backend.fail();
        let Refusal { code, message, table } = refusal;
        self.message(b'E', |out| {
            out.put_slice(format!("SERROR\0VERROR\0C{code}\0M{message}\0").as_bytes());
            if let Some((schema, table)) = table {
                out.put_slice(format!("s{schema}\0t{table}\0").as_bytes());
            }
            out.put_u8(0);
        });
    }

    fn row(&mut self, row: &[Value], binary: bool) {
        self.message(b'D', |out| {
            out.put_u16(u16::try_from(row.len()).expect("few"));
            for value in row {
                let mut cell = BytesMut::new();
                match (value, binary) {
                    (Value::Null, _) => {
                        out.put_i32(-1);
                        continue;
                    }
                    (Value::Bool(value), true) => cell.put_u8(u8::from(*value)),
                    (Value::Int8(value), true) => cell.put_i64(*value),
                    (Value::Int4(value), true) => cell.put_i32(*value),
                    (Value::Oid(value), true) => cell.put_u32(*value),
                    (Value::Text(text), _) => cell.put_slice(text.as_bytes()),
                    (Value::Bool(value), false) => cell.put_u8(if *value { b't' } else { b'f' }),
                    (Value::Texts(texts), true) => {
                        [1, 0, TEXT, u32::try_from(texts.len()).expect("few"), 1].into_iter().for_each(|word| cell.put_u32(word));
                        for text in texts {
                            cell.put_u32(u32::try_from(text.len()).expect("short"));
                            cell.put_slice(text.as_bytes());
                        }
                    }
                    (value, false) => panic!("{value:?} by the simple protocol"),
                }
                out.put_u32(u32::try_from(cell.len()).expect("short"));
                out.put_slice(&cell);
            }
        });
    }
}

fn copy_format(out: &mut BytesMut) {
    out.put_u8(0);
    out.put_u16(0);
}

fn text(body: &mut Bytes) -> String {
    let length = body.iter().position(|&byte| byte == 0).expect("text ends with a zero");
    let text = body.split_to(length);
    body.advance(1);
    String::from_utf8(text.to_vec()).expect("the client's text is UTF-8")
}

/// Cut at semicolons, none of which stands in quotes in what we send.
fn statements(sql: &str) -> VecDeque<&str> {
    if sql.starts_with("DO ") {
        return VecDeque::from([sql]);
    }
    sql.split(';').map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// Parameters in the forms that they come in.
pub fn text_param(params: &Params, at: usize) -> String {
    optional_text(params, at).expect("not null")
}

pub fn optional_text(params: &Params, at: usize) -> Option<String> {
    params[at].as_ref().map(|bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

pub fn int8_param(params: &Params, at: usize) -> i64 {
    i64::from_be_bytes(params[at].as_ref().expect("not null")[..].try_into().expect("eight bytes"))
}

pub fn optional_int8(params: &Params, at: usize) -> Option<i64> {
    params[at].as_ref().map(|_| int8_param(params, at))
}

pub fn int4_param(params: &Params, at: usize) -> i32 {
    i32::from_be_bytes(params[at].as_ref().expect("not null")[..].try_into().expect("four bytes"))
}

pub fn bool_param(params: &Params, at: usize) -> bool {
    params[at].as_ref().expect("not null")[0] == 1
}

/// A binary array's elements.
fn elements(params: &Params, at: usize) -> Vec<Option<Bytes>> {
    let mut body = params[at].clone().expect("not null");
    let dimensions = body.get_u32();
    body.advance(8);
    if dimensions == 0 {
        return Vec::new();
    }
    let count = body.get_u32();
    body.advance(4);
    let element = |_| {
        let length = usize::try_from(body.get_i32()).ok();
        length.map(|length| body.split_to(length))
    };
    (0..count).map(element).collect()
}

pub fn texts_param(params: &Params, at: usize) -> Vec<String> {
    optional_texts_param(params, at).into_iter().map(|text| text.expect("not null")).collect()
}

pub fn optional_texts_param(params: &Params, at: usize) -> Vec<Option<String>> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    elements(params, at).into_iter().map(|bytes| bytes.map(text)).collect()
}

pub fn int8s_param(params: &Params, at: usize) -> Vec<i64> {
    let number = |bytes: Bytes| i64::from_be_bytes(bytes[..].try_into().expect("eight bytes"));
    elements(params, at).into_iter().map(|bytes| number(bytes.expect("not null"))).collect()
}
