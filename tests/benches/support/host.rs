//! A host: a process that measures something each time it is asked. It hears orders and answers on its standard input, a
//! socket, one JSON value a line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

use super::measure::{Call, Numbers, latency, rate};
use super::{Failure, Result};

/// First argument of a process that is a host.
pub(crate) const ROLE: &str = "--host";
/// No window, and no start of 64 plugins, takes so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time to end after the last order.
const ENDING: Duration = Duration::from_secs(20);

/// A host, as the one who asks holds it. Dropping it ends the process.
pub(crate) struct Host {
    name: String,
    child: Child,
    socket: BufReader<UnixStream>,
}

impl Host {
    /// Starts this program as a host, and waits until it is ready to measure.
    pub(crate) fn start(role: &str, directory: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ROLE).arg(role).arg(directory);
        Self::run(role, command)
    }

    /// Starts a program that speaks as a host does.
    pub(crate) fn run(name: &str, mut command: Command) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(PATIENCE))?;
        let child = command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).spawn()?;
        let mut host = Self { name: name.to_owned(), child, socket: BufReader::new(ours) };
        host.answer()?;
        Ok(host)
    }

    /// Asks for numbers and waits for them.
    pub(crate) fn ask(&mut self, order: &Value) -> Result<Numbers> {
        let line = format!("{order}\n");
        self.socket.get_mut().write_all(line.as_bytes())?;
        self.answer()
    }

    /// One call in flight.
    pub(crate) fn latency(&mut self, window: Duration) -> Result<Numbers> {
        self.ask(&json!({ "do": "latency", "millis": window.as_millis() as u64 }))
    }

    /// So many calls in flight.
    pub(crate) fn rate(&mut self, window: Duration, callers: usize) -> Result<Numbers> {
        self.ask(&json!({ "do": "rate", "millis": window.as_millis() as u64, "callers": callers }))
    }

    fn answer(&mut self) -> Result<Numbers> {
        let mut line = String::new();
        if self.socket.read_line(&mut line)? == 0 {
            return Err(format!("the host `{}` has ended", self.name).into());
        }
        let answer: Value = serde_json::from_str(&line)?;
        if let Some(error) = answer.get("error") {
            return Err(format!("the host `{}`: {error}", self.name).into());
        }
        let numbers = answer.as_object().into_iter().flatten();
        Ok(numbers.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.socket.get_ref().shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + ENDING;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The orders, as the host's own process hears them.
pub(crate) struct Orders {
    lines: tokio::io::Lines<tokio::io::BufReader<tokio::net::unix::OwnedReadHalf>>,
    answers: tokio::net::unix::OwnedWriteHalf,
}

impl Orders {
    /// On standard input.
    pub(crate) fn open() -> Result<Self> {
        let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        socket.set_nonblocking(true)?;
        let (read, answers) = tokio::net::UnixStream::from_std(socket)?.into_split();
        Ok(Self { lines: tokio::io::BufReader::new(read).lines(), answers })
    }

    /// Says that the host is ready, then carries out orders until nobody asks any more.
    pub(crate) async fn serve(mut self, mut carry_out: impl AsyncFnMut(&Value) -> Result<Numbers>) -> Result<()> {
        self.tell(&json!({})).await?;
        while let Some(line) = self.lines.next_line().await? {
            let order: Value = serde_json::from_str(&line)?;
            match carry_out(&order).await {
                Ok(numbers) => self.tell(&json!(numbers)).await?,
                Err(error) => self.tell(&json!({ "error": error.to_string() })).await?,
            }
        }
        Ok(())
    }

    async fn tell(&mut self, answer: &Value) -> Result<()> {
        Ok(self.answers.write_all(format!("{answer}\n").as_bytes()).await?)
    }
}

/// How long an order wants to measure.
pub(crate) fn length(order: &Value) -> Result<Duration> {
    Ok(Duration::from_millis(order["millis"].as_u64().ok_or("an order without its time")?))
}

/// Carries out the two orders that every host of calls knows.
pub(crate) async fn window(order: &Value, caller: &impl Call) -> Result<Numbers> {
    let length = length(order)?;
    match order["do"].as_str() {
        Some("latency") => latency(caller, length).await,
        Some("rate") => {
            let callers = order["callers"].as_u64().and_then(|callers| usize::try_from(callers).ok());
            rate(caller, callers.ok_or("an order without its callers")?, length).await
        }
        _ => Err(unknown(order)),
    }
}

/// An order that a host does not know.
pub(crate) fn unknown(order: &Value) -> Failure {
    format!("unknown order {order}").into()
}
