//! Shapes shared by the nouns of `/v1`: bodies, messages, commands, settings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bessemer_model::limits::{DELETE_COUNT_MAX, POST_COUNT_MAX};
use bessemer_model::queue::DeadLetterPatch;
use bessemer_model::rejection::Counted;
use bessemer_model::{
    DeadLetter, Handle, MessageId, Millis, NewMessage, OrderingKey, QueueName, QueuePatch,
    QueueSettings, ReservationId, ReservedMessage,
};
use bessemer_service::MessageView;
use serde::{Deserialize, Serialize};

pub(super) use crate::json::object as parse;
use crate::json::{Capped, present};
use crate::respond::Refusal;

/// The reservation and the message no message ever has: what is no id names nothing.
const NO_RESERVATION: ReservationId = ReservationId(0);
const NO_MESSAGE: MessageId = MessageId(0);

/// Nothing to say but "done".
#[derive(Serialize)]
pub(super) struct Done {}

pub(super) fn message_id(text: &str) -> MessageId {
    text.parse().unwrap_or(NO_MESSAGE)
}

pub(super) fn reservation_id(text: &str) -> ReservationId {
    text.parse().unwrap_or(NO_RESERVATION)
}

/// A message to post. Exactly one of `body` and `body_base64`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessageBody {
    body: Option<String>,
    body_base64: Option<String>,
    #[serde(default)]
    delay_ms: u64,
    expiration_ms: Option<u64>,
    ordering_key: Option<String>,
}

/// Messages of one post.
pub(super) type NewMessages = Capped<NewMessageBody, POST_COUNT_MAX>;

impl NewMessages {
    pub fn read(self) -> Result<Vec<NewMessage>, Refusal> {
        self.some(Counted::Messages)?.into_iter().map(NewMessageBody::read).collect()
    }
}

impl NewMessageBody {
    fn read(self) -> Result<NewMessage, Refusal> {
        let body = match (self.body, self.body_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(coded)) => STANDARD
                .decode(coded)
                .map_err(|error| Refusal::Bad(format!("body_base64 is not base64: {error}")))?,
            (Some(_), Some(_)) | (None, None) => {
                return Err(Refusal::Bad("A message has either body or body_base64".into()));
            }
        };
        Ok(NewMessage {
            body,
            delay: Millis(self.delay_ms),
            expiration: self.expiration_ms.map(Millis),
            ordering_key: self.ordering_key.map(OrderingKey::new),
        })
    }
}

/// A message's body: as text when it is UTF-8, otherwise as base64. Neither for a repeated
/// outcome whose message is gone.
#[derive(Serialize, Default)]
pub(super) struct ShownBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl ShownBody {
    fn of(bytes: &[u8]) -> ShownBody {
        match std::str::from_utf8(bytes) {
            Ok(text) => ShownBody { body: Some(text.to_owned()), body_base64: None },
            Err(_) => ShownBody { body: None, body_base64: Some(STANDARD.encode(bytes)) },
        }
    }
}

/// A message as `/v1` shows it.
#[derive(Serialize)]
pub(super) struct ShownMessage {
    id: String,
    #[serde(flatten)]
    body: ShownBody,
    reserved_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation_id: Option<String>,
}

impl ShownMessage {
    pub fn of_view(message: &MessageView) -> ShownMessage {
        ShownMessage {
            id: message.id.to_string(),
            body: ShownBody::of(&message.body),
            reserved_count: message.reserved_count,
            reservation_id: None,
        }
    }

    pub fn of_reserved(message: &ReservedMessage) -> ShownMessage {
        ShownMessage {
            id: message.id.to_string(),
            body: message.body.as_deref().map(ShownBody::of).unwrap_or_default(),
            reserved_count: message.reserved_count,
            reservation_id: Some(message.reservation.to_string()),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ShownMessages {
    pub messages: Vec<ShownMessage>,
}

#[derive(Serialize)]
pub(super) struct Posted {
    pub ids: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Acked {
    /// Messages that were there to be removed.
    pub deleted: u32,
}

#[derive(Serialize)]
pub(super) struct Touched {
    pub reservation_id: String,
}

/// One message of an ack.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandleBody {
    id: String,
    reservation_id: Option<String>,
}

/// Messages of one ack.
pub(super) type Handles = Capped<HandleBody, DELETE_COUNT_MAX>;

impl Handles {
    pub fn read(&self) -> Vec<Handle> {
        self.0.iter().map(HandleBody::read).collect()
    }
}

impl HandleBody {
    fn read(&self) -> Handle {
        Handle {
            message: message_id(&self.id),
            reservation: self.reservation_id.as_deref().map(reservation_id),
        }
    }
}

/// Settings of a queue to change; what is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PatchBody {
    message_timeout_ms: Option<u64>,
    message_expiration_ms: Option<u64>,
    /// `null` removes the setting.
    #[serde(default, deserialize_with = "present")]
    dead_letter: Option<Option<DeadLetterBody>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadLetterBody {
    queue: Option<String>,
    max_reservations: Option<u32>,
}

impl PatchBody {
    pub fn read(self) -> QueuePatch {
        QueuePatch {
            message_timeout: self.message_timeout_ms.map(Millis),
            message_expiration: self.message_expiration_ms.map(Millis),
            dead_letter: self.dead_letter.map(|setting| match setting {
                None => DeadLetterPatch::Remove,
                Some(DeadLetterBody { queue, max_reservations }) => {
                    DeadLetterPatch::Set { queue: queue.map(QueueName::new), max_reservations }
                }
            }),
        }
    }
}

/// A queue's settings as `/v1` shows them.
#[derive(Serialize)]
pub(super) struct ShownSettings {
    message_timeout_ms: u64,
    message_expiration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<ShownDeadLetter>,
}

#[derive(Serialize)]
struct ShownDeadLetter {
    queue: String,
    max_reservations: u32,
}

impl ShownSettings {
    pub fn of(settings: &QueueSettings) -> ShownSettings {
        let dead_letter = settings.dead_letter.as_ref().map(|dead: &DeadLetter| ShownDeadLetter {
            queue: dead.queue.to_string(),
            max_reservations: dead.max_reservations,
        });
        ShownSettings {
            message_timeout_ms: settings.message_timeout.0,
            message_expiration_ms: settings.message_expiration.0,
            dead_letter,
        }
    }
}

/// A queue's name and settings; `created` after a put.
#[derive(Serialize)]
pub(super) struct ShownQueue<'a> {
    pub name: &'a str,
    #[serde(flatten)]
    pub settings: ShownSettings,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub counts: Option<ShownCounts>,
}

#[derive(Serialize)]
pub(super) struct ShownCounts {
    /// Messages held now, reserved and delayed ones too.
    pub size: u64,
    pub reserved: u64,
    pub delayed: u64,
    /// Messages ever posted.
    pub total: u64,
}
