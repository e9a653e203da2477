//! The state as verbs see it: typed rows over the overlay, the caches, and the entry's context.
//!
//! Not here: what a verb does.
//! Invariants: caches (`ready`, `due`) agree with the rows at all times and never decide what is
//! written; a row read into an `OpenProject` or `OpenQueue` is saved before another copy is read.

use std::collections::BTreeMap;

use bessemer_model::limits::{DEAD_LETTER_MOVES_MAX, RESERVE_BYTES_MAX, RESERVE_COUNT_MAX};
use bessemer_model::{
    Effect, GroupId, LaneSeq, MessageId, Millis, NodeId, Position, ProjectId, QueueName, Rejection,
    StoreId,
};
use bessemer_seam::kv::{KvRead, Table};
use bessemer_seam::mutants::{self, Mutant};

use crate::core::Core;
use crate::fault::{Fault, Refusal};
use crate::overlay::Overlay;
use crate::tables::lane::LaneRow;
use crate::tables::message::{self, MessageRow};
use crate::tables::project::{self, ProjectRow};
use crate::tables::queue::{self, QueueRow, StoreOwner};
use crate::tables::timer::{self, Timer};
use crate::tables::{number_at, read};
use crate::told::Effects;
use crate::window::{ReadyWindows, WINDOW_READ, Window};

/// Everything the verbs work on.
pub(crate) struct State {
    pub group: GroupId,
    pub rows: Overlay,
    pub core: Core,
    pub lanes: BTreeMap<NodeId, LaneRow>,
    /// Whether outcomes are for this node and carry bodies. Never decides what is written.
    pub bodies: Bodies,
    /// Begins anew with each request.
    pub allowance: Allowance,
    pub effects: Effects,
    ready: ReadyWindows,
    due: Window<Vec<u8>>,
    /// What a rollback goes back to, next to the overlay's mark.
    saved: Option<(Core, Effects)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bodies {
    Wanted,
    Unwanted,
}

/// What the request being applied may still hand out and move. All reserves of a transaction draw
/// on one, so a small request never makes a large outcome, nor much work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Allowance {
    pub messages: u32,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Moves to a dead-letter queue.
    pub moves: u32,
}

impl Allowance {
    pub const FULL: Allowance = Allowance {
        messages: RESERVE_COUNT_MAX,
        bytes: RESERVE_BYTES_MAX,
        moves: DEAD_LETTER_MOVES_MAX,
    };
}

/// A project's row, on loan.
#[derive(Clone, Debug)]
pub(crate) struct OpenProject {
    pub id: ProjectId,
    pub row: ProjectRow,
}

/// A queue's row, on loan.
#[derive(Clone, Debug)]
pub(crate) struct OpenQueue {
    pub name: QueueName,
    pub row: QueueRow,
}

/// A queue with its project, on loan.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub project: OpenProject,
    pub queue: OpenQueue,
}

impl State {
    pub fn new(
        group: GroupId,
        rows: Overlay,
        core: Core,
        lanes: BTreeMap<NodeId, LaneRow>,
    ) -> State {
        State {
            group,
            rows,
            core,
            lanes,
            bodies: Bodies::Unwanted,
            allowance: Allowance::FULL,
            effects: Effects::default(),
            ready: ReadyWindows::default(),
            due: Window::new(timer::from(core.log_time)),
            saved: None,
        }
    }

    /// Log time of the entry being applied.
    pub fn now(&self) -> Millis {
        self.core.log_time
    }

    /// Forgets all caches; they fill again as needed.
    pub fn clear_caches(&mut self) {
        self.ready.clear();
        self.due = Window::new(timer::from(self.core.log_time));
    }

    // Transactions.

    pub fn mark(&mut self) {
        self.rows.mark();
        self.ready.mark();
        self.saved = Some((self.core, std::mem::take(&mut self.effects)));
    }

    pub fn keep(&mut self) {
        self.rows.keep();
        self.ready.keep();
        let (_, mut effects) = self.saved.take().expect("a mark is set");
        effects.append(std::mem::take(&mut self.effects));
        self.effects = effects;
    }

    pub fn rollback(&mut self) {
        self.rows.rollback();
        self.ready.rollback();
        let (core, effects) = self.saved.take().expect("a mark is set");
        self.core = core;
        self.effects = effects;
        self.due = Window::new(timer::from(self.core.log_time));
    }

    // Projects and queues.

    pub fn find_project(&self, id: &ProjectId) -> Result<Option<OpenProject>, Fault> {
        let row = read(&self.rows, Table::Row, &project::key(id), ProjectRow::decode)?;
        Ok(row.map(|row| OpenProject { id: id.clone(), row }))
    }

    /// The project, or `ProjectMissing`.
    pub fn project(&self, id: &ProjectId) -> Result<OpenProject, Refusal> {
        match self.find_project(id)? {
            Some(project) => Ok(project),
            None => Err(Rejection::ProjectMissing { project: id.clone() }.into()),
        }
    }

    pub fn save_project(&mut self, project: &OpenProject) {
        self.rows.put(Table::Row, project::key(&project.id), project.row.encode());
    }

    pub fn find_queue(
        &self,
        project: &OpenProject,
        name: &QueueName,
    ) -> Result<Option<OpenQueue>, Fault> {
        let key = queue::key(project.row.number, name);
        let row = read(&self.rows, Table::Row, &key, QueueRow::decode)?;
        Ok(row.map(|row| OpenQueue { name: name.clone(), row }))
    }

    /// The queue of a project that is there, or `QueueMissing`.
    pub fn queue(&self, project: OpenProject, name: &QueueName) -> Result<Place, Refusal> {
        match self.find_queue(&project, name)? {
            Some(queue) => Ok(Place { project, queue }),
            None => Err(Rejection::QueueMissing { queue: name.clone() }.into()),
        }
    }

    pub fn save_queue(&mut self, project: &OpenProject, queue: &OpenQueue) {
        let row = &queue.row;
        assert!(row.reserved + row.delayed <= row.size, "size counts reserved and delayed");
        assert!(row.size <= row.total, "what is there once came in");
        self.rows.put(Table::Row, queue::key(project.row.number, &queue.name), row.encode());
    }

    pub fn save(&mut self, place: &Place) {
        self.save_queue(&place.project, &place.queue);
        self.save_project(&place.project);
    }

    /// The live queue whose store this is; `None` when the store has ended.
    pub fn place_of(&self, store: StoreId) -> Result<Option<Place>, Fault> {
        let key = queue::store_key(store);
        let Some(owner) = read(&self.rows, Table::Row, &key, StoreOwner::decode)? else {
            return Ok(None);
        };
        let project = match self.find_project(&owner.project)? {
            Some(project) if project.row.number == owner.number => project,
            // The project has ended; its queues follow with the next sweeps.
            Some(_) | None => return Ok(None),
        };
        match self.find_queue(&project, &owner.queue)? {
            Some(queue) if queue.row.store == store => Ok(Some(Place { project, queue })),
            Some(_) | None => Err(Fault::corrupt("a live store has no queue", key)),
        }
    }

    // Messages.

    pub fn message(&self, store: StoreId, position: Position) -> Result<MessageRow, Fault> {
        let key = message::key(store, position);
        read(&self.rows, Table::Row, &key, MessageRow::decode)?
            .ok_or_else(|| Fault::corrupt("an index names a missing message", key))
    }

    /// Where the message stands in the store, if it is there.
    pub fn find_message(
        &self,
        store: StoreId,
        id: MessageId,
    ) -> Result<Option<(Position, MessageRow)>, Fault> {
        find_message(&self.rows, store, id)
    }

    pub fn save_message(&mut self, store: StoreId, position: Position, row: &MessageRow) {
        self.rows.put(Table::Row, message::key(store, position), row.encode());
    }

    /// The body, where outcomes carry bodies.
    pub fn wanted_body(&self, id: MessageId) -> Result<Option<Vec<u8>>, Fault> {
        match self.bodies {
            Bodies::Wanted => body(&self.rows, id).map(Some),
            Bodies::Unwanted => Ok(None),
        }
    }

    // The ready index.

    /// Puts a message into the ready index and tells whoever waits.
    pub fn put_ready(&mut self, project: &ProjectId, queue: &mut OpenQueue, position: Position) {
        let store = queue.row.store;
        self.rows.insert(Table::Index, message::ready_key(store, position), Vec::new());
        self.ready.with(store, |window| window.put(position));
        self.ready.shrink(store);
        if !mutants::on(Mutant::ReadyFromTooHigh) {
            queue.row.ready_from = queue.row.ready_from.min(position);
        }
        self.tell_ready(project, queue);
    }

    pub fn tell_ready(&mut self, project: &ProjectId, queue: &OpenQueue) {
        self.effects
            .add(Effect::MessagesReady { project: project.clone(), queue: queue.name.clone() });
    }

    pub fn remove_ready(&mut self, store: StoreId, position: Position) {
        self.rows.delete(Table::Index, message::ready_key(store, position));
        self.ready.with(store, |window| window.remove(&position));
    }

    /// Whether the front of the store's ready index is cached.
    pub fn has_window(&self, store: StoreId) -> bool {
        self.ready.has(store)
    }

    /// Position of the oldest message that can be reserved.
    pub fn first_ready(&mut self, queue: &OpenQueue) -> Result<Option<Position>, Fault> {
        let store = queue.row.store;
        loop {
            let horizon = match self.ready.open(store, queue.row.ready_from).first() {
                Ok(first) => return Ok(first.copied()),
                Err(horizon) => *horizon,
            };
            let from = message::ready_key(store, horizon);
            let to = message::store_end(b'R', store);
            let pairs = self.rows.list(Table::Index, &from, &to, WINDOW_READ)?;
            let positions = pairs
                .iter()
                .map(|(key, _)| number_at(key, 9).map(Position))
                .collect::<Result<Vec<_>, _>>()?;
            let next = match positions.last() {
                Some(last) if positions.len() == WINDOW_READ => Some(Position(last.0 + 1)),
                Some(_) | None => None,
            };
            self.ready.with(store, |window| window.extend(positions, next));
            self.ready.shrink(store);
        }
    }

    pub fn forget_store(&mut self, store: StoreId) {
        self.ready.forget(store);
    }

    // Timers.

    /// Changes the value of a timer that is there.
    pub fn put_timer(&mut self, timer: &Timer, value: Vec<u8>) {
        assert!(timer.due() >= self.now(), "log time never passes a timer");
        let key = timer.key();
        self.rows.put(Table::Index, key.clone(), value);
        self.due.put(key);
    }

    /// Puts a timer that is not there now.
    pub fn insert_timer(&mut self, timer: &Timer, value: Vec<u8>) {
        assert!(timer.due() > self.now(), "a new timer is due later");
        let key = timer.key();
        self.rows.insert(Table::Index, key.clone(), value);
        self.due.put(key);
    }

    pub fn remove_timer(&mut self, timer: &Timer) {
        let key = timer.key();
        self.due.remove(&key);
        self.rows.delete(Table::Index, key);
    }

    /// The timer that is due first.
    pub fn first_timer(&mut self) -> Result<Option<Timer>, Fault> {
        loop {
            let horizon = match self.due.first() {
                Ok(None) => return Ok(None),
                Ok(Some(key)) => return Ok(Some(Timer::decode(key)?)),
                Err(horizon) => horizon.clone(),
            };
            let pairs = self.rows.list(Table::Index, &horizon, &timer::end(), WINDOW_READ)?;
            let next = match pairs.last() {
                Some((last, _)) if pairs.len() == WINDOW_READ => {
                    let mut next = last.clone();
                    next.push(0);
                    Some(next)
                }
                Some(_) | None => None,
            };
            self.due.extend(pairs.into_iter().map(|(key, _)| key), next);
        }
    }

    // Lanes.

    pub fn save_lane(&mut self, lane: LaneSeq) {
        let row = LaneRow { boot: lane.boot, last: lane.seq };
        self.lanes.insert(lane.node, row);
        self.rows.put(Table::Row, crate::tables::lane::key(lane.node), row.encode());
    }
}

/// Where a message stands in a store: at its id's sequence unless it was moved there.
pub(crate) fn find_message(
    rows: &dyn KvRead,
    store: StoreId,
    id: MessageId,
) -> Result<Option<(Position, MessageRow)>, Fault> {
    let Some(sequence) = id.sequence() else { return Ok(None) };
    let posted = Position(sequence);
    let key = message::key(store, posted);
    if let Some(row) = read(rows, Table::Row, &key, MessageRow::decode)?
        && row.id == id
    {
        return Ok(Some((posted, row)));
    }
    let key = message::moved_key(store, id);
    let Some(bytes) = rows.get(Table::Row, &key)? else { return Ok(None) };
    let moved = Position(number_at(&bytes, 0)?);
    match read(rows, Table::Row, &message::key(store, moved), MessageRow::decode)? {
        Some(row) if row.id == id => Ok(Some((moved, row))),
        Some(_) | None => Err(Fault::corrupt("a moved message is not where it was moved", key)),
    }
}

/// The body of a message that is there.
pub(crate) fn body(rows: &dyn KvRead, id: MessageId) -> Result<Vec<u8>, Fault> {
    let key = message::body_key(id);
    rows.get(Table::Body, &key)?.ok_or_else(|| Fault::corrupt("a message has no body", key))
}
