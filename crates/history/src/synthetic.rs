//! A made-up run that keeps every promise, from a seed: what judges are measured with.
//!
//! Not here: a cluster. The oracle itself answers (`model`), at moments that lie inside each
//! operation; answers are lost, replies are undone and tokens revoked as in a real run. So a judge
//! that finds fault with it is wrong, and what a corruption of it breaks is known.

mod words;

use bessemer_model::{
    BootCount, Command, DeadLetterPatch, LaneSeq, LogIndex, MessageId, Millis, NodeId, Outcome,
    ProjectId, QueuePatch, Quota, Request, RetryKey,
};

use crate::event::{
    Answer, Applied, Held, History, Op, Operation, QueueKind, QueueNumber, QueueRules, Rules,
    Sighting, Tenant, TokenNumber, Uid,
};
use crate::model::{Model, Told};
pub(crate) use words::{answer_of, command_of, held_of, name_of, project};

const CLIENTS: u64 = 8;
const HELD_MAX: usize = 40;
const UNDO_NS: u64 = 50_000_000;
const DEAD: QueueNumber = 5;
const MAX_RESERVATIONS: u32 = 3;
const MILLI_NS: u64 = 1_000_000;

/// A small generator (xorshift64*): the same seed gives the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The rules of the made-up run.
pub fn rules() -> Rules {
    let queue = |tenant, kind| QueueRules { tenant, kind };
    let dying = QueueKind::Dying { into: DEAD, max_reservations: MAX_RESERVATIONS };
    Rules {
        queues: vec![
            queue(0, QueueKind::Plain),
            queue(0, QueueKind::Plain),
            queue(0, QueueKind::Delayed),
            queue(0, QueueKind::Keyed),
            queue(0, dying),
            queue(0, QueueKind::Dead),
            queue(1, QueueKind::Plain),
        ],
        undo_ns: 2 * UNDO_NS,
        revoked_believed_ns: 0,
        writes_within_ns: 10_000 * MILLI_NS,
        drained_within_ns: 600_000 * MILLI_NS,
    }
}

/// What becomes of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Heard,
    /// Done, and the answer is lost; a reserve is undone later.
    Lost,
    /// Not done, and nobody knows.
    Vanished,
    NotDone,
    /// A reserve that was done, was answered "not done", and is undone later.
    TakenBack,
}

struct Client {
    free_ns: u64,
    held: Vec<Held>,
    posted: Vec<(QueueNumber, MessageId)>,
}

struct World {
    dice: Dice,
    now_ns: u64,
    history: History,
    model: Model,
    clients: Vec<Client>,
    next_uid: Uid,
    /// Its tenant, and whether it was revoked.
    tokens: Vec<(Tenant, bool)>,
    /// Undos to come, by time.
    undos: Vec<(u64, ProjectId, Command)>,
    seqs: [u64; 4],
    index: u64,
    /// What nodes saw in the last round.
    seen: (LogIndex, Millis),
    term: u64,
}

/// About `operations` operations; then a heal and a drain.
pub fn run(seed: u64, operations: usize) -> History {
    let client = || Client { free_ns: 0, held: Vec::new(), posted: Vec::new() };
    let mut world = World {
        dice: Dice::new(seed),
        now_ns: 1_000 * MILLI_NS,
        history: History { rules: rules(), ..History::default() },
        model: Model::default(),
        clients: (0..CLIENTS).map(|_| client()).collect(),
        next_uid: 1,
        tokens: Vec::new(),
        undos: Vec::new(),
        seqs: [0; 4],
        index: 0,
        seen: Default::default(),
        term: 1,
    };
    world.set_up();
    while world.history.operations.len() < operations {
        world.step();
    }
    world.drain();
    world.history.operations.sort_by_key(|operation| operation.answered_ns);
    world.history
}

impl World {
    fn set_up(&mut self) {
        let init = Command::InitGroup { cluster_version: 1, secret: [7; 32] };
        self.apply(None, ProjectId::new(""), None, init).expect("the group is new");
        for tenant in 0..2 {
            let quota = Quota { tokens_max: u64::MAX, ..Quota::default() };
            let create = Command::CreateProject { name: "synthetic".into(), quota };
            self.apply(None, project(tenant), None, create).expect("the group is new");
        }
        for queue in (0..self.history.rules.queues.len()).rev() {
            let QueueRules { tenant, kind } = self.history.rules.queues[queue].clone();
            let dead_letter =
                matches!(kind, QueueKind::Dying { .. }).then(|| DeadLetterPatch::Set {
                    queue: Some(name_of(DEAD)),
                    max_reservations: Some(MAX_RESERVATIONS),
                });
            let patch = QueuePatch { dead_letter, ..QueuePatch::default() };
            let put = Command::PutQueue { queue: name_of(queue), patch };
            self.apply(None, project(tenant), None, put).expect("the group is new");
        }
    }

    fn log_time(&self, at_ns: u64) -> Millis {
        Millis(1_000_000 + at_ns / MILLI_NS)
    }

    /// Applies a request now: of a node's lane, or the leader's own.
    fn apply(
        &mut self,
        node: Option<NodeId>,
        project: ProjectId,
        retry: Option<RetryKey>,
        command: Command,
    ) -> Told {
        let log_time = self.log_time(self.now_ns);
        let last = self.history.applied.last();
        let shared = last.filter(|last| last.log_time == log_time).map(|last| last.lane);
        let joins = shared.filter(|_| self.dice.one_in(2));
        if joins.is_none() {
            self.index += 1;
        }
        let lane = node.map(|node| match joins {
            Some(Some((lane, place))) if lane.node == node => (lane, place + 1),
            _ => {
                let seq = &mut self.seqs[node.0 as usize];
                *seq += 1;
                (LaneSeq { node, boot: BootCount(1), seq: *seq }, 0)
            }
        });
        let request = Request { project, retry, command };
        let answer = self.model.apply(log_time, &request, &Ok(Outcome::Done));
        let index = LogIndex(self.index);
        self.history.applied.push(Applied {
            index,
            log_time,
            lane,
            request,
            answer: answer.clone(),
        });
        answer
    }

    fn step(&mut self) {
        self.now_ns += 1 + self.dice.below(2 * MILLI_NS);
        if self.dice.one_in(5_000) {
            self.now_ns += 3_000 * MILLI_NS;
        }
        let due = self.undos.iter().position(|(at_ns, ..)| *at_ns <= self.now_ns);
        if let Some(due) = due {
            let (_, project, undo) = self.undos.swap_remove(due);
            let told = self.apply(None, project, None, undo);
            assert_eq!(told, Ok(Outcome::Released), "an undo is never refused");
        }
        if self.dice.one_in(40) {
            self.look_around();
        }
        let client = self.dice.below(CLIENTS) as usize;
        let held = self.clients[client].held.len();
        match self.dice.below(100) {
            0..5 => self.look(client),
            5..6 => self.token(client),
            6..37 => self.post(client),
            37..60 if held < HELD_MAX => self.reserve(client),
            _ if held == 0 => self.reserve(client),
            _ => self.settle(client),
        }
    }

    fn fate(&mut self) -> Fate {
        match self.dice.below(400) {
            0..4 => Fate::Lost,
            4..6 => Fate::Vanished,
            6..10 => Fate::NotDone,
            10..11 => Fate::TakenBack,
            _ => Fate::Heard,
        }
    }

    /// One operation of a client, whose moment is now.
    fn ask(&mut self, client: usize, op: Op, fate: Fate) -> Answer {
        let free_ns = self.clients[client].free_ns;
        self.now_ns = self.now_ns.max(free_ns + 2);
        let (before, after) = (self.dice.below(3 * MILLI_NS), 1 + self.dice.below(3 * MILLI_NS));
        let called_ns = self.now_ns.saturating_sub(before).max(free_ns + 1);
        let answered_ns = self.now_ns + after;
        self.clients[client].free_ns = answered_ns;
        let node = NodeId(1 + self.dice.below(3));
        let tenant = self.tenant_of(&op);
        let count = self.tokens.len() as u64;
        // The operator drains.
        let works = self.history.healed_ns.is_none();
        let token = (works && count > 0 && self.dice.one_in(10)).then(|| self.dice.below(count));
        let denied = token.map(|token| self.tokens[token as usize]).and_then(|(owner, revoked)| {
            match (revoked, owner == tenant) {
                (true, _) => Some(Answer::Unauthorized),
                (false, false) => Some(Answer::Forbidden),
                (false, true) => None,
            }
        });
        let not_done = matches!(fate, Fate::NotDone | Fate::Vanished);
        let answer = match (denied, not_done) {
            (Some(denied), _) => denied,
            (None, true) if fate == Fate::NotDone => Answer::NotDone,
            (None, true) => Answer::Unknown,
            (None, false) => self.carry_out(node, &op, tenant, fate),
        };
        let (log_low, log_high) = (self.log_time(called_ns), self.log_time(answered_ns));
        let told = answer.clone();
        self.history.operations.push(Operation {
            node,
            token,
            called_ns,
            answered_ns,
            log_low,
            log_high,
            op,
            answer,
        });
        told
    }

    fn tenant_of(&self, op: &Op) -> Tenant {
        let of = |queue: QueueNumber| self.history.rules.queues[queue].tenant;
        match op {
            Op::Post { queue, .. } | Op::Reserve { queue, .. } | Op::Look { queue, .. } => {
                of(*queue)
            }
            Op::Ack(held) | Op::Touch { held, .. } => of(held.queue),
            Op::Release { held, .. } | Op::Swap { held, .. } => of(held.queue),
            Op::Mint { tenant, .. } => *tenant,
            Op::Revoke { token } => self.tokens[*token as usize].0,
        }
    }

    fn carry_out(&mut self, node: NodeId, op: &Op, tenant: Tenant, fate: Fate) -> Answer {
        if let Op::Look { queue, message } = op {
            let project = &self.model.projects[&project(tenant)];
            return Answer::Seen(project.queues[&name_of(*queue)].places.contains_key(message));
        }
        let retry = match op {
            Op::Post { keyed: true, uids, .. } => {
                let key = format!("post-{}", uids[0]).into();
                Some(RetryKey { key, request_hash: [1; 16] })
            }
            _ => None,
        };
        let told = self.apply(Some(node), project(tenant), retry, command_of(op));
        let lost = matches!(fate, Fate::Lost | Fate::TakenBack);
        if let (Op::Reserve { queue, .. }, Ok(Outcome::Reserved { messages }), true) =
            (op, &told, lost)
        {
            let held = messages
                .iter()
                .map(|one| bessemer_model::Held { message: one.id, reservation: one.reservation });
            let undo = Command::UndoReserve { queue: name_of(*queue), held: held.collect() };
            let at_ns = self.now_ns + self.dice.below(UNDO_NS);
            self.undos.push((at_ns, project(tenant), undo));
            return if fate == Fate::Lost { Answer::Unknown } else { Answer::NotDone };
        }
        match fate {
            Fate::Lost => Answer::Unknown,
            _ => answer_of(op, told),
        }
    }

    fn post(&mut self, client: usize) {
        let queue = [0, 0, 1, 2, 3, 4, 6][self.dice.below(7) as usize];
        let count = if self.dice.one_in(5) { 1 + self.dice.below(5) } else { 1 };
        let uids: Vec<Uid> = (self.next_uid..self.next_uid + count).collect();
        self.next_uid += count;
        let kind = self.history.rules.queues[queue].kind;
        let delay = if kind == QueueKind::Delayed { self.dice.below(5_000) } else { 0 };
        let key = (kind == QueueKind::Keyed).then(|| self.dice.below(4));
        let keyed = self.dice.one_in(5);
        let op = Op::Post { queue, uids, delay: Millis(delay), key, keyed };
        let mut fate = self.fate();
        loop {
            let answer = self.ask(client, op.clone(), fate);
            if let Answer::Posted(ids) = &answer {
                let posted = &mut self.clients[client].posted;
                posted.extend(ids.iter().map(|id| (queue, *id)));
                let surplus = posted.len().saturating_sub(20);
                posted.drain(..surplus);
            }
            let unsure = matches!(answer, Answer::Unknown | Answer::NotDone);
            if !keyed || !(unsure || self.dice.one_in(4)) {
                return;
            }
            fate = self.fate();
        }
    }

    fn reserve(&mut self, client: usize) {
        let queue = self.dice.below(7) as QueueNumber;
        let timeout = Millis(1_000 + self.dice.below(8_000));
        let count = 1 + self.dice.below(7) as u32;
        let op = Op::Reserve { queue, count, timeout, wait: Millis::ZERO };
        let fate = self.fate();
        if let Answer::Reserved(gots) = self.ask(client, op, fate) {
            self.clients[client].held.extend(gots.iter().map(|got| held_of(queue, got)));
        }
    }

    fn settle(&mut self, client: usize) {
        let count = self.clients[client].held.len() as u64;
        let held = self.clients[client].held.swap_remove(self.dice.below(count) as usize);
        let kind = self.history.rules.queues[held.queue].kind;
        let mut fate = self.fate();
        if fate == Fate::TakenBack {
            fate = Fate::Lost;
        }
        match self.dice.below(100) {
            0..62 => drop(self.ask(client, Op::Ack(held), fate)),
            62..68 if kind == QueueKind::Plain && held.queue < 2 => {
                let uid = self.next_uid;
                self.next_uid += 1;
                self.ask(client, Op::Swap { held, to: 1, uid }, fate);
            }
            62..80 => {
                let delayed = kind == QueueKind::Delayed;
                let delay = Millis(if delayed { self.dice.below(3_000) } else { 0 });
                self.ask(client, Op::Release { held, delay }, fate);
            }
            80..90 => {
                let timeout = Millis(1_000 + self.dice.below(4_000));
                let answer = self.ask(client, Op::Touch { held, timeout }, fate);
                if let Answer::Touched(reservation) = answer {
                    self.clients[client].held.push(Held { reservation, ..held });
                }
            }
            90..95 => {
                // Late: its reservation may have lapsed by then.
                self.clients[client].held.insert(0, held);
            }
            _ => {} // Forgotten: it lapses.
        }
    }

    fn look(&mut self, client: usize) {
        let count = self.clients[client].posted.len() as u64;
        if count > 0 {
            let place = self.dice.below(count) as usize;
            let (queue, message) = self.clients[client].posted[place];
            let fate = self.fate();
            self.ask(client, Op::Look { queue, message }, fate);
        }
    }

    fn token(&mut self, client: usize) {
        let count = self.tokens.len() as u64;
        if count > 4 && self.dice.one_in(2) {
            let token: TokenNumber = count - 1 - self.dice.below(4);
            let answer = self.ask(client, Op::Revoke { token }, Fate::Heard);
            self.tokens[token as usize].1 |= answer == Answer::Revoked;
        } else {
            let tenant = self.dice.below(2);
            let answer = self.ask(client, Op::Mint { tenant, token: count }, Fate::Heard);
            if answer == Answer::Minted {
                self.tokens.push((tenant, false));
            }
        }
    }

    /// Every node says where it is: where the log is now, or was the last time.
    fn look_around(&mut self) {
        self.term += u64::from(self.dice.one_in(20));
        let now = (LogIndex(self.index), self.log_time(self.now_ns));
        for node in 1..=3 {
            let (applied, log_time) = if node == 1 + self.term % 3 { now } else { self.seen };
            self.now_ns += 1;
            self.history.sightings.push(Sighting {
                at_ns: self.now_ns,
                node: NodeId(node),
                boot: 1 + self.term / 7,
                term: self.term,
                leads: node == 1 + self.term % 3,
                committed: applied,
                applied,
                chain: [Dice::new(applied.0).number() as u8; 32],
                log_time,
                members: (1..=3).map(NodeId).collect(),
            });
        }
        self.seen = now;
    }

    /// Heals, and empties every queue, until nothing came for longer than anything lasts.
    fn drain(&mut self) {
        self.history.healed_ns = Some(self.now_ns);
        let mut empty = 0;
        while empty < 30 || !self.undos.is_empty() {
            self.now_ns += 1_000 * MILLI_NS;
            empty += 1;
            while let Some((_, project, undo)) = self.undos.pop() {
                self.apply(None, project, None, undo).expect("an undo is never refused");
            }
            for queue in 0..self.history.rules.queues.len() {
                while self.drain_some(queue) {
                    empty = 0;
                }
            }
        }
        self.history.drained_ns = Some(self.now_ns);
    }

    /// Returns whether anything was there.
    fn drain_some(&mut self, queue: QueueNumber) -> bool {
        let timeout = Millis(10_000);
        let op = Op::Reserve { queue, count: 100, timeout, wait: Millis::ZERO };
        let answer = self.ask(0, op, Fate::Heard);
        let Answer::Reserved(gots) = answer else { return true };
        for got in &gots {
            self.ask(0, Op::Ack(held_of(queue, got)), Fate::Heard);
        }
        !gots.is_empty()
    }
}
