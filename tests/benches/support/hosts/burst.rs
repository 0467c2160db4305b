//! The bare burst writer: each event encoded once, and the same bytes laid before every stream in bursts; no filter, no
//! number of its own, no bound but the streams' own queues. Where readers acknowledge, the next burst waits for them all.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes};
use outrigger_proto::plugin::v1 as wire;
use prost::Message as _;
use tokio::process::Child;
use tokio::sync::mpsc::error::TrySendError;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Status, Streaming};

use super::super::Result;
use super::super::host::{Orders, length, unknown};
use super::super::measure::{Numbers, cpu_time, numbers};
use super::events::{BURST, agent_event};
use super::stream::{self, Outbound};

/// Events of a burst where readers acknowledge: as many as a plugin has credits by default.
const CREDITS: usize = 32;
/// Streams that are open.
const STREAMS: usize = 32;

/// Writes what is encoded already.
#[derive(Default)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = wire::EventCursor;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> std::result::Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = wire::EventCursor;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> std::result::Result<Option<wire::EventCursor>, Status> {
        wire::EventCursor::decode(buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

struct Reader {
    out: Outbound<Bytes>,
    counts: Streaming<wire::EventCursor>,
    /// Messages sent.
    sent: u64,
    _child: Child,
}

struct Writer {
    readers: Vec<Reader>,
    event: wire::EventDelivery,
}

pub(super) async fn host(directory: &Path) -> Result<()> {
    let mut readers = Vec::new();
    for _ in 0..STREAMS {
        let (child, connection) = super::peer("events", directory).await?;
        let (out, counts) = stream::serve_with::<Encoded>(connection).await?;
        readers.push(Reader { out, counts, sent: 0, _child: child });
    }
    let handle = || "0123456789abcdef0123456789abcdef".to_owned();
    let event = wire::EventDelivery {
        session_handle: handle(),
        run_handle: handle(),
        event: Some(super::events::as_delivered(agent_event())),
        ..Default::default()
    };
    let mut writer = Writer { readers, event };
    Orders::open()?
        .serve(async |order| match (order["do"].as_str(), order["readers"].as_u64()) {
            (Some("spread"), Some(readers)) => {
                let acknowledged = order["acknowledged"] == true;
                writer.window(length(order)?, usize::try_from(readers)?, acknowledged).await
            }
            _ => Err(unknown(order)),
        })
        .await
}

impl Writer {
    /// Writes to so many readers until the time is over: `rate` in deliveries a second, `cpu` in nanoseconds a delivery.
    async fn window(&mut self, length: Duration, readers: usize, acknowledged: bool) -> Result<Numbers> {
        let events = if acknowledged { CREDITS } else { BURST };
        // The first bursts find buffers that have to grow.
        self.burst(readers, events).await?;
        self.settle(readers).await?;
        let (begin, cpu) = (Instant::now(), cpu_time());
        let mut deliveries = 0;
        while begin.elapsed() < length {
            deliveries += self.burst(readers, events).await?;
            if acknowledged {
                self.settle(readers).await?;
            }
        }
        self.settle(readers).await?;
        let (cpu, length) = (cpu_time() - cpu, begin.elapsed());
        let deliveries = deliveries as f64;
        Ok(numbers([("rate", deliveries / length.as_secs_f64()), ("cpu", cpu.as_nanos() as f64 / deliveries)]))
    }

    async fn burst(&mut self, readers: usize, events: usize) -> Result<usize> {
        let mut burst = Vec::with_capacity(events);
        for _ in 0..events {
            self.event.seq += 1;
            let message = wire::EventsResponse { events: vec![self.event.clone()], ..Default::default() };
            burst.push(Bytes::from(message.encode_to_vec()));
        }
        for reader in &mut self.readers[..readers] {
            for message in &burst {
                match reader.out.try_send(Ok(message.clone())) {
                    Ok(()) => {}
                    Err(TrySendError::Full(message)) => reader.out.send(message).await?,
                    Err(TrySendError::Closed(_)) => return Err("a reader has gone".into()),
                }
                reader.sent += 1;
            }
        }
        tokio::task::yield_now().await;
        Ok(events * readers)
    }

    /// Waits until all have everything, and sees that they have.
    async fn settle(&mut self, readers: usize) -> Result<()> {
        for reader in &self.readers[..readers] {
            reader.out.send(Ok(Bytes::new())).await?;
        }
        for reader in &mut self.readers[..readers] {
            let count = reader.counts.message().await?.ok_or("a reader has gone")?.seq;
            if count != reader.sent {
                return Err(format!("a reader has {count} events of {}", reader.sent).into());
            }
        }
        Ok(())
    }
}
