//! One client: asks one thing after the other, of any node, and remembers what it holds.
//!
//! Not here: judging answers, faults. A client never sends again what it does not know the
//! outcome of, unless it has an idempotency key.

use std::sync::Arc;
use std::time::Duration;

use bessemer_history::event::{Answer, Held, Op, QueueKind, QueueNumber, Tenant, TokenNumber};
use bessemer_model::{MessageId, Millis, NodeId};

use crate::queues::{QUEUES, TENANTS, queues_of};
use crate::seed::Rng;
use crate::workload::Workload;

/// Ordering keys in use at a time.
const KEYS: u64 = 4;
/// How often a keyed post is sent again before the client gives up.
const KEYED_TRIES_MAX: u32 = 20;
/// Messages that one client holds at most.
const HELD_MAX: usize = 20;
/// Messages that one client remembers to have posted.
const POSTED_MAX: usize = 30;

/// One client of `tenant`, until the workload stops.
pub async fn run(workload: Arc<Workload>, tenant: Tenant, mut rng: Rng) {
    let node = workload.doors.any(&mut rng);
    let (revoked, held, posted) = (Vec::new(), Vec::new(), Vec::new());
    let token = workload.mint(node, tenant).await;
    let mut client = Client { workload, rng, tenant, node, token, revoked, held, posted };
    while !client.workload.stopped() {
        client.step().await;
        let pause = client.rng.below(40_000);
        client.workload.sim.sleep(Duration::from_micros(pause)).await;
    }
}

struct Client {
    workload: Arc<Workload>,
    rng: Rng,
    tenant: Tenant,
    /// Asked until chance, or a failure, moves the client on.
    node: NodeId,
    /// What it shows; `None` is the operator's.
    token: Option<TokenNumber>,
    /// Tokens it had revoked, and shows now and then all the same.
    revoked: Vec<TokenNumber>,
    held: Vec<Held>,
    /// The newest messages it posted, to look at.
    posted: Vec<(QueueNumber, MessageId)>,
}

impl Client {
    async fn step(&mut self) {
        if self.rng.chance(100_000) {
            self.node = self.workload.doors.any(&mut self.rng);
        }
        if self.rng.chance(12_000) {
            return self.change_token().await;
        }
        if self.rng.chance(10_000) {
            return self.trespass().await;
        }
        if !self.revoked.is_empty() && self.rng.chance(20_000) {
            return self.show_revoked().await;
        }
        let choice = self.rng.below(100);
        match choice {
            0..5 if !self.posted.is_empty() => {
                let (queue, message) = *self.rng.pick(&self.posted);
                drop(self.call(Op::Look { queue, message }, None).await);
            }
            0..37 => self.post().await,
            37..60 if self.held.len() < HELD_MAX => self.reserve().await,
            _ if self.held.is_empty() => self.reserve().await,
            _ => self.settle().await,
        }
    }

    async fn call(&mut self, op: Op, key: Option<String>) -> Answer {
        let answer = self.workload.call(self.node, op, self.token, key).await;
        if matches!(answer, Answer::NotDone | Answer::Unknown) {
            self.node = self.workload.doors.any(&mut self.rng);
        }
        answer
    }

    /// Takes a new token and has the old one revoked.
    async fn change_token(&mut self) {
        let Some(new) = self.workload.mint(self.node, self.tenant).await else { return };
        let Some(old) = self.token.replace(new) else { return };
        let (op, key) = (Op::Revoke { token: old }, Some(format!("revoke-{old}")));
        drop(self.workload.call(self.node, op, None, key).await);
        self.revoked.push(old);
    }

    /// Tries to reserve with a token that was, or may have been, revoked.
    async fn show_revoked(&mut self) {
        let (token, node) = (*self.rng.pick(&self.revoked), self.workload.doors.any(&mut self.rng));
        let op = self.a_reserve();
        let answer = self.workload.call(node, op.clone(), Some(token), None).await;
        if let Answer::Reserved(gots) = answer {
            self.keep(&op, gots);
        }
    }

    /// Looks for a message right after it came or went, at any node: it must be seen so there.
    async fn look(&mut self, queue: QueueNumber, message: MessageId) {
        let node = self.workload.doors.any(&mut self.rng);
        let op = Op::Look { queue, message };
        drop(self.workload.call(node, op, self.token, None).await);
    }

    /// Knocks at another project's queue.
    async fn trespass(&mut self) {
        let other = (self.tenant + 1) % TENANTS;
        let foreign: Vec<QueueNumber> = queues_of(other).collect();
        let queue = *self.rng.pick(&foreign);
        let (timeout, wait) = (Millis(1_000), Millis::ZERO);
        drop(self.call(Op::Reserve { queue, count: 1, timeout, wait }, None).await);
    }

    /// A queue of the client's project that is fit for a post, or for a reserve.
    fn a_queue(&mut self, to_post: bool) -> QueueNumber {
        let fits = |queue: &QueueNumber| !to_post || QUEUES[*queue].kind != QueueKind::Dead;
        let own: Vec<QueueNumber> = queues_of(self.tenant).filter(fits).collect();
        *self.rng.pick(&own)
    }

    async fn post(&mut self) {
        let queue = self.a_queue(true);
        let kind = QUEUES[queue].kind;
        let count = if self.rng.chance(200_000) { 1 + self.rng.below(5) } else { 1 };
        let delay = match kind {
            QueueKind::Delayed => Millis(self.rng.below(5_000)),
            _ => Millis::ZERO,
        };
        let op = Op::Post {
            queue,
            uids: (0..count).map(|_| self.workload.uid()).collect(),
            delay,
            key: (kind == QueueKind::Keyed).then(|| self.rng.below(KEYS)),
            keyed: self.rng.chance(200_000),
        };
        let answer = match &op {
            Op::Post { keyed: true, uids, .. } => {
                let key = format!("post-{}", uids[0]);
                self.post_keyed(&op, &key).await
            }
            _ => self.call(op, None).await,
        };
        if let Answer::Posted(ids) = answer {
            if self.rng.chance(200_000) {
                self.look(queue, ids[0]).await;
            }
            self.posted.extend(ids.into_iter().map(|id| (queue, id)));
            let surplus = self.posted.len().saturating_sub(POSTED_MAX);
            self.posted.drain(..surplus);
        }
    }

    /// Sends until there is an outcome, and now and then once more: it must be the same.
    async fn post_keyed(&mut self, op: &Op, key: &str) -> Answer {
        let mut tries = 0;
        loop {
            let answer = self.call(op.clone(), Some(key.into())).await;
            let done = !matches!(answer, Answer::NotDone | Answer::Unknown);
            tries += 1;
            if done && self.rng.chance(700_000) || tries == KEYED_TRIES_MAX {
                return answer;
            }
            self.workload.sim.sleep(Duration::from_millis(self.rng.below(500))).await;
        }
    }

    fn a_reserve(&mut self) -> Op {
        let queue = self.a_queue(false);
        let timeout = Millis(1_000 + self.rng.below(8_000));
        let wait = if self.rng.chance(150_000) { self.rng.below(2_000) } else { 0 };
        let count = 1 + self.rng.below(7) as u32;
        Op::Reserve { queue, count, timeout, wait: Millis(wait) }
    }

    async fn reserve(&mut self) {
        let op = self.a_reserve();
        if let Answer::Reserved(gots) = self.call(op.clone(), None).await {
            self.keep(&op, gots);
        }
    }

    fn keep(&mut self, op: &Op, gots: Vec<bessemer_history::event::Got>) {
        let Op::Reserve { queue, .. } = *op else { return };
        self.held.extend(gots.into_iter().map(|got| Held {
            queue,
            message: got.message,
            reservation: got.reservation,
        }));
    }

    /// Does something to one message that is held, perhaps no longer.
    async fn settle(&mut self) {
        let place = self.rng.below(self.held.len() as u64) as usize;
        let held = self.held.swap_remove(place);
        let kind = QUEUES[held.queue].kind;
        match self.rng.below(100) {
            0..60 => {
                let gone = self.call(Op::Ack(held), None).await == Answer::Acked(1);
                if gone && self.rng.chance(200_000) {
                    self.look(held.queue, held.message).await;
                }
            }
            60..70 if kind == QueueKind::Plain => {
                let (uid, to) = (self.workload.uid(), held.queue);
                drop(self.call(Op::Swap { held, to, uid }, None).await);
            }
            60..80 => {
                let delayed = kind == QueueKind::Delayed;
                let delay = if delayed { Millis(self.rng.below(3_000)) } else { Millis::ZERO };
                drop(self.call(Op::Release { held, delay }, None).await);
            }
            80..92 => {
                let timeout = Millis(1_000 + self.rng.below(4_000));
                let answer = self.call(Op::Touch { held, timeout }, None).await;
                if let Answer::Touched(reservation) = answer {
                    self.held.push(Held { reservation, ..held });
                }
            }
            // Abandoned: its reservation lapses.
            _ => {}
        }
    }
}
