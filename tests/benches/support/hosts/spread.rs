//! Events spread to every reader of a supervisor: published within it, so that what is counted is the handing out.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outrigger::bench::Publisher;
use outrigger_proto::types::v1 as types;
use serde_json::Value;
use tokio::time::timeout;

use super::super::Result;
use super::super::host::length;
use super::super::measure::{Numbers, cpu_time, numbers};
use super::events::{self, Counts};

/// Events that are published before readers are waited for: fewer than a queue holds, so that none is dropped.
const BATCH: usize = 512;

/// Wait for readers whose streams are about to open, before they are sent another mark.
const OPENING: Duration = Duration::from_millis(20);

/// The publisher and its readers.
pub(super) struct Spread {
    publisher: Publisher,
    books: Vec<PathBuf>,
    event: types::AgentEvent,
    published: u64,
    marks: u64,
}

impl Spread {
    /// To readers that write these books, once all of them read.
    pub(super) async fn begin(mut publisher: Publisher, directory: &Path) -> Result<Self> {
        let mut books = Vec::new();
        for book in std::fs::read_dir(directory)? {
            books.push(book?.path());
        }
        for book in &books {
            while timeout(OPENING, Counts::read(book, 0)).await.is_err() {
                Self::mark(&mut publisher, 0).await;
            }
        }
        let event = events::as_delivered(events::agent_event());
        Ok(Self { publisher, books, event, published: 0, marks: 0 })
    }

    /// Publishes until the time is over: `rate` in deliveries a second, `cpu` in nanoseconds a delivery.
    pub(super) async fn window(&mut self, order: &Value) -> Result<Numbers> {
        let length = length(order)?;
        self.batch().await?;
        let (begin, cpu, before) = (Instant::now(), cpu_time(), self.published);
        while begin.elapsed() < length {
            self.batch().await?;
        }
        let (cpu, length) = (cpu_time() - cpu, begin.elapsed());
        let deliveries = (self.published - before) as f64 * self.books.len() as f64;
        self.check().await?;
        Ok(numbers([("rate", deliveries / length.as_secs_f64()), ("cpu", cpu.as_nanos() as f64 / deliveries)]))
    }

    /// Measures something while events come, as many as the readers take.
    pub(super) async fn among(&mut self, measured: impl Future<Output = Result<Numbers>>) -> Result<Numbers> {
        let (begin, before) = (Instant::now(), self.published);
        let events = async {
            loop {
                self.batch().await?;
            }
        };
        let mut numbers = tokio::select! {
            failed = events => return failed,
            numbers = measured => numbers?,
        };
        let published = (self.published - before) as f64;
        numbers.insert("events".to_owned(), published / begin.elapsed().as_secs_f64());
        self.check().await?;
        Ok(numbers)
    }

    /// What a reader counted up to a mark that another published.
    pub(super) async fn book(&self, order: &Value) -> Result<Numbers> {
        let of = |book: &&PathBuf| {
            book.file_name().is_some_and(|name| Some(name) == order["plugin"].as_str().map(OsStr::new))
        };
        let book = self.books.iter().find(of).ok_or("no such reader")?;
        let counts = Counts::read(book, order["mark"].as_u64().ok_or("an order without its mark")?).await?;
        let Counts { events, again, missing, skipped, disorder } = counts;
        Ok(numbers([
            ("events", events as f64),
            ("again", again as f64),
            ("missing", missing as f64),
            ("skipped", skipped as f64),
            ("disorder", disorder as f64),
        ]))
    }

    /// Publishes at the supervisor's own pace, and waits until every reader is done.
    async fn batch(&mut self) -> Result<()> {
        let mut last = 0;
        for _ in 0..BATCH {
            self.published += 1;
            self.event.seq = self.published;
            last = self.publisher.publish(&self.event).await;
        }
        self.publisher.rest();
        if self.publisher.settled(last).await { Ok(()) } else { Err("a reader has gone".into()) }
    }

    async fn mark(publisher: &mut Publisher, number: u64) {
        publisher.publish(&events::mark(number)).await;
        publisher.rest();
    }

    /// Sees that every reader has every event once and in order.
    async fn check(&mut self) -> Result<()> {
        self.marks += 1;
        Self::mark(&mut self.publisher, self.marks).await;
        let wanted = Counts { events: self.published, ..Default::default() };
        for book in &self.books {
            let counts = Counts::read(book, self.marks).await?;
            if counts != wanted {
                return Err(format!("{} has {counts:?}, not {wanted:?}", book.display()).into());
            }
        }
        Ok(())
    }
}
