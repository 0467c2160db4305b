//! Reads a plugin's messages only after their parts were counted.
//!
//! An empty part of a message takes two bytes on the wire and some hundred once it is read, so a message within its bound
//! could take a hundred times that for a moment. The bytes are walked along the message's own description first, which
//! reads nothing and keeps nothing; one with too many parts is refused unread.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Buf as _;
use outrigger_proto::FILE_DESCRIPTOR_SET;
use outrigger_proto::plugin::v1 as wire;
use prost::Message as _;
use prost::encoding::decode_varint;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

/// Fields of one message, at all depths. A registration at its bounds has fewer; read, so many take some 13 MiB.
const MAX_FIELDS: usize = 65_536;
/// Deepest nesting that is looked at; the library refuses what is deeper than 100.
const MAX_DEPTH: usize = 100;

/// The messages of the contract: for each, the fields that are messages themselves.
struct Shapes {
    fields: Vec<HashMap<u32, usize>>,
    session_request: usize,
}

/// A checked-in file that every build has. Where it could not be read, nothing would be counted beyond the first level.
static SHAPES: LazyLock<Shapes> = LazyLock::new(|| Shapes::of(FILE_DESCRIPTOR_SET));

impl Shapes {
    fn of(descriptors: &[u8]) -> Self {
        let mut messages = Vec::new();
        for file in FileDescriptorSet::decode(descriptors).unwrap_or_default().file {
            let package = format!(".{}", file.package());
            for message in file.message_type {
                collect(&package, message, &mut messages);
            }
        }
        let index: HashMap<&str, usize> =
            messages.iter().enumerate().map(|(index, (name, _))| (name.as_str(), index)).collect();
        let of = |message: &DescriptorProto| {
            let fields = message.field.iter();
            fields
                .filter_map(|field| Some((u32::try_from(field.number()).ok()?, *index.get(field.type_name())?)))
                .collect()
        };
        Self {
            fields: messages.iter().map(|(_, message)| of(message)).collect(),
            session_request: index.get(".outrigger.plugin.v1.SessionRequest").copied().unwrap_or(usize::MAX),
        }
    }
}

fn collect(scope: &str, mut message: DescriptorProto, into: &mut Vec<(String, DescriptorProto)>) {
    let name = format!("{scope}.{}", message.name());
    for nested in std::mem::take(&mut message.nested_type) {
        collect(&name, nested, into);
    }
    into.push((name, message));
}

/// Counts the fields of a message; `None` beyond the bound. What is no protobuf counts as far as it can be read: the
/// library reads no further either.
fn count(mut bytes: &[u8], shape: usize, depth: usize, left: &mut usize) -> Option<()> {
    while bytes.has_remaining() {
        let Ok(key) = decode_varint(&mut bytes) else { return Some(()) };
        *left = left.checked_sub(1)?;
        match key & 7 {
            0 => {
                if decode_varint(&mut bytes).is_err() {
                    return Some(());
                }
            }
            1 | 5 => {
                let size = if key & 7 == 1 { 8 } else { 4 };
                let Some(rest) = bytes.get(size..) else { return Some(()) };
                bytes = rest;
            }
            2 => {
                let Ok(length) = decode_varint(&mut bytes) else { return Some(()) };
                let Some((field, rest)) =
                    usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length))
                else {
                    return Some(());
                };
                let number = u32::try_from(key >> 3).unwrap_or(0);
                let of = SHAPES.fields.get(shape).and_then(|fields| fields.get(&number));
                if let Some(inner) = of
                    && depth < MAX_DEPTH
                {
                    count(field, *inner, depth + 1, left)?;
                }
                bytes = rest;
            }
            // Groups are unknown to the contract: skipped by the library, and nothing in them is kept.
            3 | 4 => {}
            _ => return Some(()),
        }
    }
    Some(())
}

/// The codec of `Session`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SessionCodec;

impl Codec for SessionCodec {
    type Encode = wire::SessionResponse;
    type Decode = wire::SessionRequest;
    type Encoder = <ProstCodec<wire::SessionResponse, wire::SessionRequest> as Codec>::Encoder;
    type Decoder = SessionDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<wire::SessionResponse, wire::SessionRequest>::default().encoder()
    }

    fn decoder(&mut self) -> SessionDecoder {
        SessionDecoder { answers: 1 }
    }
}

/// Most answers that room is made for before they are read.
const ROOM: usize = 64;

/// Reads what a plugin says.
#[derive(Debug)]
pub(crate) struct SessionDecoder {
    /// Answers of the message before: the next one mostly has as many, and so is not copied as it grows.
    answers: usize,
}

impl Decoder for SessionDecoder {
    type Item = wire::SessionRequest;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let bytes = source.copy_to_bytes(source.remaining());
        // Two bytes a field at least: most messages need no walk.
        if bytes.len() / 2 > MAX_FIELDS && count(&bytes, SHAPES.session_request, 0, &mut { MAX_FIELDS }).is_none() {
            return Err(Status::out_of_range(format!("the message has more than {MAX_FIELDS} fields")));
        }
        let mut message = wire::SessionRequest { results: Vec::with_capacity(self.answers), ..Default::default() };
        let read = message.merge(bytes);
        self.answers = message.results.len().clamp(1, ROOM);
        let message = read.map(|()| message);
        // In the words of the library's own codec, by which the conversation knows what was wrong.
        message.map(Some).map_err(|error| Status::internal(format!("failed to decode Protobuf message: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(bytes: &[u8]) -> bool {
        count(bytes, SHAPES.session_request, 0, &mut { MAX_FIELDS }).is_some()
    }

    #[test]
    fn a_message_of_empty_parts_is_refused_at_any_depth() {
        // results = 1, progress = 2: empty messages.
        assert!(fits(&[0x0a, 0x00].repeat(MAX_FIELDS)));
        assert!(!fits(&[0x0a, 0x00].repeat(MAX_FIELDS + 1)));
        let hook = wire::HookRegistration::default();
        let register = |count: usize| {
            let register = wire::Register { hooks: vec![hook.clone(); count], ..Default::default() };
            let control = Some(wire::session_request::Control::Register(register));
            wire::SessionRequest { control, ..Default::default() }.encode_to_vec()
        };
        assert!(fits(&register(MAX_FIELDS - 1)));
        assert!(!fits(&register(MAX_FIELDS)), "below `control`");
        let names = wire::HookRegistration { tool_names: vec![String::new(); 100_000], ..Default::default() };
        let register = wire::Register { hooks: vec![names], ..Default::default() };
        let control = Some(wire::session_request::Control::Register(register));
        assert!(!fits(&wire::SessionRequest { control, ..Default::default() }.encode_to_vec()), "two below it");
    }

    #[test]
    fn what_is_within_the_other_bounds_fits() {
        // 256 items with 256 tools each are the most a registration may have, and more than its bytes allow.
        let hook = wire::HookRegistration { tool_names: vec!["t".to_owned(); 250], ..Default::default() };
        let register = wire::Register { hooks: vec![hook; 256], ..Default::default() };
        let control = Some(wire::session_request::Control::Register(register));
        assert!(fits(&wire::SessionRequest { control, ..Default::default() }.encode_to_vec()));
    }

    #[test]
    fn every_message_of_the_contract_is_known() {
        assert!(SHAPES.session_request < SHAPES.fields.len());
        assert!(SHAPES.fields[SHAPES.session_request].len() >= 6, "{:?}", SHAPES.fields[SHAPES.session_request]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            fits(&bytes);
        }
    }
}
