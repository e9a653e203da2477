//! Small histories, told step by step: each step takes ten units of true and of log time.
//!
//! Queues are those of `synthetic::rules`: 0 and 1 plain, 2 delayed, 3 keyed, 4 dying into 5 after
//! three reservations, 6 of another tenant. In a story without a log, uid and message are one number.

use bessemer_model::{
    Command, DeadLetterPatch, GroupId, LogIndex, MessageId, Millis, NodeId, Outcome, ProjectId,
    QueuePatch, Quota, Request, ReservationId,
};

use crate::event::{
    Answer, Applied, Got, Held, History, Op, Operation, QueueKind, QueueNumber, Sighting, Uid,
};
use crate::model::{Model, Told};
use crate::synthetic::{answer_of, command_of, name_of, project, rules};
use crate::{Check, Verdict, judge};

#[derive(Clone, Default)]
pub struct Story {
    pub history: History,
    pub now: u64,
    /// How long the next operation takes.
    lasts: u64,
    token: Option<u64>,
    model: Model,
}

pub fn message(sequence: u64) -> MessageId {
    MessageId::new(GroupId(0), sequence)
}

pub fn reservation(generation: u64) -> ReservationId {
    ReservationId::new(generation, 0, 0)
}

pub fn held(queue: QueueNumber, sequence: u64, generation: u64) -> Held {
    Held { queue, message: message(sequence), reservation: reservation(generation) }
}

pub fn got(uid: Uid, generation: u64, reserved_count: u32) -> Got {
    let (message, reservation) = (message(uid), reservation(generation));
    Got { message, uid: Some(uid), reserved_count, reservation }
}

pub fn post(queue: QueueNumber, uids: &[Uid]) -> Op {
    Op::Post { queue, uids: uids.to_vec(), delay: Millis(0), key: None, keyed: false }
}

/// With an idempotency key.
pub fn retried(queue: QueueNumber, uids: &[Uid]) -> Op {
    Op::Post { queue, uids: uids.to_vec(), delay: Millis(0), key: None, keyed: true }
}

pub fn delayed(uid: Uid, delay: u64) -> Op {
    Op::Post { queue: 2, uids: vec![uid], delay: Millis(delay), key: None, keyed: false }
}

/// With an ordering key.
pub fn ordered(uid: Uid, key: u64) -> Op {
    Op::Post { queue: 3, uids: vec![uid], delay: Millis(0), key: Some(key), keyed: false }
}

/// A reserve for a hundred units, or for two seconds where there is a log.
pub fn reserve(queue: QueueNumber, count: u32) -> Op {
    Op::Reserve { queue, count, timeout: Millis(100), wait: Millis(0) }
}

pub fn reserve_long(queue: QueueNumber, count: u32) -> Op {
    Op::Reserve { queue, count, timeout: Millis(2_000), wait: Millis(0) }
}

pub fn touch(held: Held, timeout: u64) -> Op {
    Op::Touch { held, timeout: Millis(timeout) }
}

pub fn release(held: Held, delay: u64) -> Op {
    Op::Release { held, delay: Millis(delay) }
}

pub fn look(queue: QueueNumber, sequence: u64) -> Op {
    Op::Look { queue, message: message(sequence) }
}

pub fn posted(uids: &[Uid]) -> Answer {
    Answer::Posted(uids.iter().map(|uid| message(*uid)).collect())
}

pub fn story() -> Story {
    let mut story = Story { lasts: 5, ..Story::default() };
    story.history.rules = rules();
    story.history.rules.undo_ns = 50;
    story
}

/// A story with a log, whose queues are made.
pub fn logged() -> Story {
    let mut story = story();
    let init = Command::InitGroup { cluster_version: 1, secret: [0; 32] };
    story.log(ProjectId::new(""), init).expect("the group is new");
    for tenant in 0..2 {
        let create = Command::CreateProject { name: "story".into(), quota: Quota::default() };
        story.log(project(tenant), create).expect("the group is new");
    }
    for (queue, rules) in story.history.rules.queues.clone().into_iter().enumerate().rev() {
        let dead_letter = match rules.kind {
            QueueKind::Dying { into, max_reservations } => Some(DeadLetterPatch::Set {
                queue: Some(name_of(into)),
                max_reservations: Some(max_reservations),
            }),
            _ => None,
        };
        let patch = QueuePatch { dead_letter, ..QueuePatch::default() };
        story
            .log(project(rules.tenant), Command::PutQueue { queue: name_of(queue), patch })
            .expect("the group is new");
    }
    story
}

impl Story {
    fn log(&mut self, project: ProjectId, command: Command) -> Told {
        let request = Request { project, retry: None, command };
        let log_time = Millis(self.now);
        let answer = self.model.apply(log_time, &request, &Ok(Outcome::Done));
        let index = LogIndex(self.history.applied.len() as u64 + 1);
        let (lane, told) = (None, answer.clone());
        self.history.applied.push(Applied { index, log_time, lane, request, answer });
        told
    }

    /// An operation as a client tells it.
    pub fn op(mut self, op: Op, answer: Answer) -> Story {
        self.now += 10;
        let answered = self.now + self.lasts;
        self.history.operations.push(Operation {
            node: NodeId(1),
            token: self.token,
            called_ns: self.now,
            answered_ns: answered,
            log_low: Millis(self.now),
            log_high: Millis(answered),
            op,
            answer,
        });
        (self.lasts, self.token) = (5, None);
        self
    }

    /// The log applies it, and nobody hears of it.
    pub fn applies(mut self, op: &Op) -> Story {
        drop(self.log(project(0), command_of(op)));
        self
    }

    pub fn commands(mut self, command: Command) -> Story {
        drop(self.log(project(0), command));
        self
    }

    /// The log applies it, and the client hears the answer.
    pub fn does(mut self, op: Op) -> Story {
        self.now += 5;
        let told = self.log(project(0), command_of(&op));
        self.now -= 5;
        let answer = answer_of(&op, told);
        self.op(op, answer)
    }

    /// Of the newest applied request: another answer than the model's.
    pub fn told(mut self, answer: Told) -> Story {
        if let Some(last) = self.history.applied.last_mut() {
            last.answer = answer;
        }
        self
    }

    pub fn post(self, queue: QueueNumber, uid: Uid) -> Story {
        self.op(post(queue, &[uid]), posted(&[uid]))
    }

    pub fn get(self, queue: QueueNumber, uid: Uid, generation: u64, count: u32) -> Story {
        self.op(reserve(queue, 1), Answer::Reserved(vec![got(uid, generation, count)]))
    }

    pub fn ack(self, queue: QueueNumber, uid: Uid, generation: u64) -> Story {
        self.op(Op::Ack(held(queue, uid, generation)), Answer::Acked(1))
    }

    pub fn release(self, queue: QueueNumber, uid: Uid, generation: u64) -> Story {
        self.op(release(held(queue, uid, generation), 0), Answer::Released)
    }

    pub fn wait(mut self, length: u64) -> Story {
        self.now += length;
        self
    }

    /// The next operation is under way so long; what is told after it begins meanwhile.
    pub fn lasting(mut self, length: u64) -> Story {
        self.lasts = length;
        self
    }

    /// The next operation uses this token.
    pub fn with(mut self, token: u64) -> Story {
        self.token = Some(token);
        self
    }

    pub fn heals(mut self) -> Story {
        self.history.healed_ns = Some(self.now);
        self
    }

    pub fn drained(mut self) -> Story {
        self.now += 10;
        self.history.drained_ns = Some(self.now);
        self
    }

    /// Node, boot, term, applied index, first byte of its chain.
    pub fn sees(mut self, (node, boot, term, applied, chain): (u64, u64, u64, u64, u8)) -> Story {
        self.now += 1;
        self.history.sightings.push(Sighting {
            at_ns: self.now,
            node: NodeId(node),
            boot,
            term,
            leads: node == term,
            committed: LogIndex(applied),
            applied: LogIndex(applied),
            chain: [chain; 32],
            log_time: Millis(applied),
            members: vec![NodeId(1), NodeId(2), NodeId(3)],
        });
        self
    }
}

/// No check finds fault with these, and each gives `check` an opportunity.
pub fn keeps(check: Check, cases: Vec<(&str, Story)>) {
    assert!(cases.len() >= 3, "a check needs three good histories");
    for (name, mut story) in cases {
        story.history.operations.sort_by_key(|operation| operation.answered_ns);
        let report = judge(&story.history);
        assert!(report.broken.is_empty(), "{name}: {report}");
        assert!(
            report.opportunities.contains_key(&check),
            "{name} is no case of {check}: {report}"
        );
    }
}

/// `check` finds fault with each of these.
pub fn breaks(check: Check, cases: Vec<(&str, Story)>) {
    assert!(cases.len() >= 3, "a check needs three bad histories");
    for (name, mut story) in cases {
        story.history.operations.sort_by_key(|operation| operation.answered_ns);
        let report = judge(&story.history);
        assert_eq!(report.verdict, Verdict::Violation, "{name}: {report}");
        assert!(report.of(check).next().is_some(), "{name} is not found by {check}: {report}");
    }
}
