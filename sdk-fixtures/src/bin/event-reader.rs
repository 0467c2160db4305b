//! A plugin that reads agent events and writes down each of them, for tests of what comes how often and in which order.
//!
//! Each line of `events` in its data directory is one JSON object: `generation`, and `begins` (the number after which a
//! stream began), or `gap` (first, last, count), or `seq`, `run`, `position`, `stream` and `redelivered`.
//!
//! `--credits N`: events that may be unacknowledged, default 32; with 0 none is acknowledged. `--hold N`: the first
//! generation acknowledges no event behind its N-th. `--deaf`: the stream is opened and never read.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, io, thread};

use hyper_util::rt::TokioIo;
use outrigger_proto::plugin::v1::plugin_service_client::PluginServiceClient;
use outrigger_proto::plugin::v1::session_request::Control as ToHost;
use outrigger_proto::plugin::v1::session_response::Control as FromHost;
use outrigger_proto::plugin::v1::{
    EventsRequest, EventsResponse, Hello, Pong, Register, SessionRequest, SubscriptionRegistration,
};
use outrigger_proto::types::v1::ProtocolRange;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

type Failure = Box<dyn Error + Send + Sync>;

/// Messages that may wait for the connection.
const OUT: usize = 64;

struct Options {
    credits: u32,
    hold: Option<u64>,
    deaf: bool,
}

fn options() -> Result<Options, Failure> {
    let mut options = Options { credits: 32, hold: None, deaf: false };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().ok_or("a number is missing")?.parse::<u32>().map_err(Failure::from);
        match argument.as_str() {
            "--credits" => options.credits = number()?,
            "--hold" => options.hold = Some(number()?.into()),
            "--deaf" => options.deaf = true,
            other => return Err(format!("`{other}` is not an option").into()),
        }
    }
    Ok(options)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let options = options()?;
    let socket = PathBuf::from(env::var_os("OUTRIGGER_SOCKET").ok_or("OUTRIGGER_SOCKET is not set")?);
    let data = PathBuf::from(env::var_os("OUTRIGGER_DATA_DIR").ok_or("OUTRIGGER_DATA_DIR is not set")?);
    let book = OpenOptions::new().create(true).append(true).open(data.join("events"))?;
    let mut stream = Some(UnixStream::connect(&socket).await?);
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        std::future::ready(stream)
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await?;
    let mut client = PluginServiceClient::new(channel.clone());
    let (out, requests) = mpsc::channel(OUT);
    let hello = Hello {
        token: env::var("OUTRIGGER_TOKEN")?,
        protocol: Some(ProtocolRange { min: 1, max: 1 }),
        sdk: "none".to_owned(),
        ..Hello::default()
    };
    out.send(control(ToHost::Hello(hello))).await?;
    let mut session = client.session(ReceiverStream::new(requests)).await?.into_inner();
    let mut generation = 0;
    let mut reading = None;
    while let Some(frame) = session.message().await? {
        match frame.control {
            Some(FromHost::Welcome(welcome)) => {
                generation = welcome.generation;
                let subscription = SubscriptionRegistration { subscription_id: "all".to_owned(), ..Default::default() };
                let register = Register { subscriptions: vec![subscription], ..Register::default() };
                out.send(control(ToHost::Register(register))).await?;
            }
            Some(FromHost::Registered(_)) => {
                let hold = options.hold.filter(|_| generation == 1);
                let book = Book { file: book.try_clone()?, generation };
                let (channel, out) = (channel.clone(), out.clone());
                reading = Some(tokio::spawn(read(channel, book, out, options.credits, hold, options.deaf)));
            }
            Some(FromHost::Ping(ping)) => out.send(control(ToHost::Pong(Pong { ping_id: ping.ping_id }))).await?,
            Some(FromHost::Shutdown(_)) => break,
            _ => {}
        }
    }
    drop(reading);
    Ok(())
}

fn control(control: ToHost) -> SessionRequest {
    SessionRequest { control: Some(control), ..SessionRequest::default() }
}

/// Where everything is written down.
struct Book {
    file: File,
    generation: u64,
}

impl Book {
    /// One line, in one write, so that a kill leaves no half.
    fn write(&mut self, mut line: Value) -> Result<(), Failure> {
        line["generation"] = self.generation.into();
        Ok(self.file.write_all(format!("{line}\n").as_bytes())?)
    }
}

/// Reads the stream to its end.
async fn read(
    channel: Channel,
    mut book: Book,
    out: mpsc::Sender<SessionRequest>,
    credits: u32,
    hold: Option<u64>,
    deaf: bool,
) {
    let opened = PluginServiceClient::new(channel).events(EventsRequest { credits, ..Default::default() }).await;
    let result = match opened {
        Ok(stream) if deaf => {
            let stream = stream.into_inner();
            // The stream is held and not looked at.
            std::future::pending::<()>().await;
            drop(stream);
            Ok(())
        }
        Ok(stream) => follow(stream.into_inner(), &mut book, &out, credits > 0, hold).await,
        Err(status) => Err(status.into()),
    };
    if let Err(error) = result {
        eprintln!("the stream ended: {error}");
        // What a launch cannot do without its stream is for its supervisor to see.
        thread::sleep(Duration::from_millis(50));
    }
}

async fn follow(
    mut stream: Streaming<EventsResponse>,
    book: &mut Book,
    out: &mpsc::Sender<SessionRequest>,
    acknowledges: bool,
    hold: Option<u64>,
) -> Result<(), Failure> {
    let mut begun = false;
    let mut count = 0;
    while let Some(message) = stream.message().await? {
        if !std::mem::replace(&mut begun, true) {
            book.write(json!({ "begins": message.begins_after_seq }))?;
        }
        if let Some(gap) = message.gap {
            book.write(json!({ "gap": [gap.from_seq, gap.to_seq, gap.count] }))?;
        }
        for delivery in message.events {
            let event = delivery.event.unwrap_or_default();
            book.write(json!({
                "seq": delivery.seq,
                "run": event.run_id,
                "position": event.seq,
                "stream": event.stream,
                "redelivered": delivery.redelivered,
            }))?;
            count += 1;
            if acknowledges && hold.is_none_or(|hold| count <= hold) {
                let acknowledged_event_seq = delivery.seq;
                out.send(SessionRequest { acknowledged_event_seq, ..SessionRequest::default() }).await?;
            }
        }
    }
    Ok(())
}
