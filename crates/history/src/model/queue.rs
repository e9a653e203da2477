//! A queue of the oracle: its messages by position, and who of them can be reserved.
//!
//! Not here: commands (`model.rs`), time passing but for one message.
//! Invariants: `places`, `keys`, `ready` and `bytes` always agree with `messages`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bessemer_model::limits::MAX_RESERVATIONS_DEFAULT;
use bessemer_model::{
    DeadLetter, DeadLetterPatch, Handle, MessageId, Millis, OrderingKey, ProjectId, QueueName,
    QueueSettings, Rejection, ReservationId,
};

/// A reservation. Every MAC that was told of it is valid: the touch number is the place here.
#[derive(Clone, Debug)]
pub struct Hold {
    pub until: Millis,
    pub generation: u64,
    pub macs: Vec<u64>,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub id: MessageId,
    pub body: Rc<[u8]>,
    pub key: Option<OrderingKey>,
    pub reserved_count: u32,
    pub expires_at: Millis,
    pub delayed: Option<Millis>,
    pub held: Option<Hold>,
}

impl Message {
    pub fn is_free(&self) -> bool {
        self.held.is_none() && self.delayed.is_none()
    }
}

#[derive(Clone, Debug)]
pub struct Queue {
    pub settings: QueueSettings,
    /// By position: smaller is older.
    pub messages: BTreeMap<u64, Message>,
    pub places: BTreeMap<MessageId, u64>,
    /// Positions of the free messages that are the oldest of their key.
    pub ready: BTreeSet<u64>,
    pub keys: BTreeMap<OrderingKey, BTreeSet<u64>>,
    pub bytes: u64,
    /// Messages that ever came in.
    pub total: u64,
    pub(super) place: Rc<(ProjectId, QueueName)>,
}

impl Queue {
    pub(super) fn new(place: Rc<(ProjectId, QueueName)>) -> Queue {
        Queue {
            settings: QueueSettings::default(),
            messages: BTreeMap::new(),
            places: BTreeMap::new(),
            ready: BTreeSet::new(),
            keys: BTreeMap::new(),
            bytes: 0,
            total: 0,
            place,
        }
    }

    /// The same queue without its messages.
    pub(super) fn emptied(&self) -> Queue {
        let (settings, total) = (self.settings.clone(), self.total);
        Queue { settings, total, ..Queue::new(self.place.clone()) }
    }

    /// Puts, changes or removes the message at `position`. Returns what was there.
    pub(super) fn set(&mut self, position: u64, message: Option<Message>) -> Option<Message> {
        let key = message.as_ref().and_then(|message| message.key.clone());
        self.ready.remove(&position);
        let before = match message {
            Some(message) => {
                self.bytes += message.body.len() as u64;
                if message.is_free() && key.is_none() {
                    self.ready.insert(position);
                }
                self.places.insert(message.id, position);
                self.messages.insert(position, message)
            }
            None => self.messages.remove(&position),
        };
        if let Some(before) = &before {
            self.bytes -= before.body.len() as u64;
            if !self.messages.contains_key(&position) {
                self.places.remove(&before.id);
            }
        }
        self.total += u64::from(before.is_none());
        if let Some(key) = key.or_else(|| before.as_ref()?.key.clone()) {
            self.order(key, position);
        }
        before
    }

    /// Lets the oldest of `key` be ready, and no other of it.
    fn order(&mut self, key: OrderingKey, changed: u64) {
        let line = self.keys.entry(key.clone()).or_default();
        match self.messages.contains_key(&changed) {
            true => line.insert(changed),
            false => line.remove(&changed),
        };
        for position in line.iter().take(2) {
            self.ready.remove(position);
        }
        match line.first() {
            Some(first) if self.messages[first].is_free() => {
                self.ready.insert(*first);
            }
            Some(_) => {}
            None => {
                self.keys.remove(&key);
            }
        }
    }

    /// Does what is due for one message by `now`. Returns whether anything was.
    pub(super) fn settle(&mut self, position: u64, now: Millis) -> bool {
        let Some(message) = self.messages.get(&position) else { return false };
        let lapses = message.held.as_ref().is_some_and(|held| held.until <= now);
        let comes = message.delayed.is_some_and(|until| until <= now);
        let ends = message.expires_at <= now && (lapses || message.held.is_none());
        if !(lapses || comes || ends) {
            return false;
        }
        let mut message = message.clone();
        message.held = message.held.filter(|_| !lapses);
        message.delayed = message.delayed.filter(|_| !comes);
        self.set(position, (!ends).then_some(message));
        true
    }

    fn find(&self, id: MessageId) -> Result<(u64, &Message), Rejection> {
        let position = self.places.get(&id).ok_or(Rejection::MessageMissing { message: id })?;
        Ok((*position, &self.messages[position]))
    }

    /// Position of the message, if `handle` may delete it.
    pub(super) fn may_delete(&self, handle: &Handle) -> Result<u64, Rejection> {
        let message = handle.message;
        let (position, row) = self.find(message)?;
        match (handle.reservation, &row.held) {
            (None, None) => Ok(position),
            (None, Some(_)) => Err(Rejection::ReservationRequired { message }),
            (Some(reservation), _) => self.held(message, reservation).map(|_| position),
        }
    }

    /// The message, held under `reservation` or an id it had before a touch.
    pub(super) fn held(
        &self,
        id: MessageId,
        reservation: ReservationId,
    ) -> Result<(u64, Message), Rejection> {
        let (position, message) = self.find(id)?;
        let holds = message.held.as_ref().is_some_and(|held| {
            held.generation == reservation.generation()
                && held.macs.get(usize::from(reservation.touch())) == Some(&reservation.mac())
        });
        if !holds {
            return Err(Rejection::ReservationStale { message: id });
        }
        Ok((position, message.clone()))
    }

    /// Where a reserve moves the message instead of giving it.
    pub fn moves_to(&self, message: &Message) -> Option<&QueueName> {
        let set = self.settings.dead_letter.as_ref()?;
        (message.reserved_count >= set.max_reservations).then_some(&set.queue)
    }
}

/// How to take back one change.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    Row { queue: QueueName, position: u64, before: Option<Box<Message>> },
    Settings { queue: QueueName, before: QueueSettings },
    Queue { queue: QueueName, before: Option<Box<Queue>> },
}

impl Undo {
    pub fn take_back(self, queues: &mut BTreeMap<QueueName, Queue>) {
        match self {
            Undo::Row { queue, position, before } => {
                let Some(row) = queues.get_mut(&queue) else { return };
                let total = row.total;
                let put = before.is_none();
                row.set(position, before.map(|before| *before));
                row.total = total - u64::from(put);
            }
            Undo::Settings { queue, before } => {
                if let Some(row) = queues.get_mut(&queue) {
                    row.settings = before;
                }
            }
            Undo::Queue { queue, before: Some(before) } => drop(queues.insert(queue, *before)),
            Undo::Queue { queue, before: None } => drop(queues.remove(&queue)),
        }
    }
}

/// Changes the dead-letter setting. Returns the queue the patch names, if it names one.
pub(super) fn dead_letter<'a>(
    name: &QueueName,
    settings: &mut QueueSettings,
    patch: Option<&'a DeadLetterPatch>,
) -> Result<Option<&'a QueueName>, Rejection> {
    let (target, max) = match patch {
        None => return Ok(None),
        Some(DeadLetterPatch::Remove) => {
            settings.dead_letter = None;
            return Ok(None);
        }
        Some(DeadLetterPatch::Set { queue, max_reservations }) => (queue, *max_reservations),
    };
    let before = settings.dead_letter.take();
    let kept = before.as_ref().map_or(MAX_RESERVATIONS_DEFAULT, |set| set.max_reservations);
    let Some(queue) = target.clone().or(before.map(|set| set.queue)) else {
        return Err(Rejection::DeadLetterUnnamed { queue: name.clone() });
    };
    if queue == *name {
        return Err(Rejection::DeadLetterLoop { queue });
    }
    settings.dead_letter = Some(DeadLetter { queue, max_reservations: max.unwrap_or(kept) });
    Ok(target.as_ref())
}

/// Whether the refusal is of one value, and that value is out of the range it names.
pub(super) fn is_range_refusal(refusal: &Rejection) -> bool {
    match refusal {
        Rejection::LengthOutOfRange { bytes, bytes_max, .. } => *bytes == 0 || bytes > bytes_max,
        Rejection::CountOutOfRange { count, count_max, .. } => *count == 0 || count > count_max,
        Rejection::TimeOutOfRange { given, min, max, .. } => given < min || given > max,
        _ => false, // Decided by state: the model's own affair.
    }
}
