//! Messages of the event stream, written around events that are encoded already.
//!
//! The bytes are those of `EventsResponse`; only what is the receiver's own is encoded for each of them.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use outrigger_proto::plugin::v1 as wire;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Field numbers of `EventsResponse`.
mod response {
    pub(super) const GAP: u32 = 1;
    pub(super) const EVENTS: u32 = 2;
    pub(super) const BEGINS_AFTER_SEQ: u32 = 3;
}

/// Field numbers of `EventDelivery`.
mod delivery {
    pub(super) const SEQ: u32 = 1;
    pub(super) const SESSION_HANDLE: u32 = 2;
    pub(super) const RUN_HANDLE: u32 = 3;
    pub(super) const SUBSCRIPTION_IDS: u32 = 4;
    pub(super) const EVENT: u32 = 5;
    pub(super) const REDELIVERED: u32 = 6;
}

/// More than what a message has besides its events.
const MOST_BESIDE: usize = 64;

/// One event for one receiver.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) seq: u64,
    /// Empty: of no session.
    pub(crate) session_handle: Arc<str>,
    pub(crate) run_handle: Arc<str>,
    pub(crate) subscription_ids: Vec<String>,
    /// An encoded `AgentEvent`.
    pub(crate) event: Bytes,
    pub(crate) redelivered: bool,
}

/// One message.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) gap: Option<wire::EventGap>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) begins_after_seq: u64,
}

fn text_len(field: u32, text: &str) -> usize {
    if text.is_empty() { 0 } else { bytes_len(field, text.len()) }
}

fn bytes_len(field: u32, len: usize) -> usize {
    key_len(field) + encoded_len_varint(len as u64) + len
}

fn number_len(field: u32, number: u64) -> usize {
    if number == 0 { 0 } else { key_len(field) + encoded_len_varint(number) }
}

fn put_number(field: u32, number: u64, buffer: &mut impl BufMut) {
    if number != 0 {
        encode_key(field, WireType::Varint, buffer);
        encode_varint(number, buffer);
    }
}

fn put_bytes(field: u32, bytes: &[u8], buffer: &mut impl BufMut) {
    encode_key(field, WireType::LengthDelimited, buffer);
    encode_varint(bytes.len() as u64, buffer);
    buffer.put_slice(bytes);
}

fn put_text(field: u32, text: &str, buffer: &mut impl BufMut) {
    if !text.is_empty() {
        put_bytes(field, text.as_bytes(), buffer);
    }
}

impl Delivery {
    fn len(&self) -> usize {
        let ids = self.subscription_ids.iter().map(|id| bytes_len(delivery::SUBSCRIPTION_IDS, id.len()));
        number_len(delivery::SEQ, self.seq)
            + text_len(delivery::SESSION_HANDLE, &self.session_handle)
            + text_len(delivery::RUN_HANDLE, &self.run_handle)
            + ids.sum::<usize>()
            + bytes_len(delivery::EVENT, self.event.len())
            + number_len(delivery::REDELIVERED, u64::from(self.redelivered))
    }

    fn write(&self, buffer: &mut impl BufMut) {
        put_number(delivery::SEQ, self.seq, buffer);
        put_text(delivery::SESSION_HANDLE, &self.session_handle, buffer);
        put_text(delivery::RUN_HANDLE, &self.run_handle, buffer);
        for id in &self.subscription_ids {
            put_bytes(delivery::SUBSCRIPTION_IDS, id.as_bytes(), buffer);
        }
        put_bytes(delivery::EVENT, &self.event, buffer);
        put_number(delivery::REDELIVERED, u64::from(self.redelivered), buffer);
    }
}

impl Frame {
    /// Bytes that the message takes, or a few more.
    fn room(&self) -> usize {
        let deliveries = self.deliveries.iter().map(|delivery| bytes_len(response::EVENTS, delivery.len()));
        deliveries.sum::<usize>() + MOST_BESIDE
    }

    /// Writes the message.
    pub(crate) fn write(&self, buffer: &mut impl BufMut) {
        if let Some(gap) = &self.gap {
            put_bytes(response::GAP, &gap.encode_to_vec(), buffer);
        }
        for delivery in &self.deliveries {
            encode_key(response::EVENTS, WireType::LengthDelimited, buffer);
            encode_varint(delivery.len() as u64, buffer);
            delivery.write(buffer);
        }
        put_number(response::BEGINS_AFTER_SEQ, self.begins_after_seq, buffer);
    }
}

/// Writes [`Frame`]s and reads what opens the stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = wire::EventsRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // At once: growing means copying what was written.
        buffer.reserve(frame.room());
        frame.write(buffer);
        Ok(())
    }
}

impl Decoder for FrameCodec {
    type Item = wire::EventsRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<wire::EventsRequest>, Status> {
        let decoded = wire::EventsRequest::decode(buffer);
        decoded.map(Some).map_err(|error| Status::internal(format!("failed to decode Protobuf message: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use outrigger_proto::types::v1 as types;

    use super::*;

    /// Every field is set in one and none in the other, so that a field of the contract that is not written shows.
    #[test]
    fn its_bytes_are_those_of_the_contract() {
        let event = types::AgentEvent { run_id: "r".to_owned(), stream: "tool".to_owned(), ..Default::default() };
        let gap = wire::EventGap { from_seq: 1, to_seq: 300, count: 7, reason: wire::GapReason::SlowSubscriber as i32 };
        let full = Delivery {
            seq: 301,
            session_handle: "s".repeat(32).into(),
            run_handle: "r".repeat(32).into(),
            subscription_ids: vec!["a".to_owned(), "b".repeat(128)],
            event: event.encode_to_vec().into(),
            redelivered: true,
        };
        let bare = Delivery {
            seq: 302,
            session_handle: "".into(),
            run_handle: "r".into(),
            subscription_ids: Vec::new(),
            event: Bytes::new(),
            redelivered: false,
        };
        let frame = Frame { gap: Some(gap), deliveries: vec![full, bare], begins_after_seq: 12 };
        let expected = wire::EventsResponse {
            gap: Some(gap),
            events: vec![
                wire::EventDelivery {
                    seq: 301,
                    session_handle: "s".repeat(32),
                    run_handle: "r".repeat(32),
                    subscription_ids: vec!["a".to_owned(), "b".repeat(128)],
                    event: Some(event),
                    redelivered: true,
                },
                wire::EventDelivery {
                    seq: 302,
                    run_handle: "r".to_owned(),
                    event: Some(types::AgentEvent::default()),
                    ..Default::default()
                },
            ],
            begins_after_seq: 12,
        };
        let mut written = Vec::new();
        frame.write(&mut written);
        assert_eq!(wire::EventsResponse::decode(&*written), Ok(expected.clone()));
        assert_eq!(written, expected.encode_to_vec());
        let mut nothing = Vec::new();
        Frame::default().write(&mut nothing);
        assert!(nothing.is_empty());
    }
}
