//! Every entry is O(request): the rows any one entry touches stay below a bound, however many
//! messages there are. Rows are counted, nothing is timed.

use bessemer_engine::{PartResult, Told, read};
use bessemer_model::limits::{SWEEP_ROWS_MAX, TIMERS_PER_BATCH_MAX};
use bessemer_model::{
    Command, Handle, Millis, NewMessage, OrderingKey, Outcome, ProjectId, QueueName, QueuePatch,
    Quota, Request,
};
use bessemer_seam::kv::Kv;

use crate::world::World;

/// Rows one entry may touch: a full post of 1,000 messages with all their indexes; settling is
/// less.
const ROWS_MAX: u64 = 12_000;

fn messages() -> u64 {
    crate::rounds(50_000, 1_000_000)
}

struct Counted {
    world: World,
    /// The most rows any entry has touched.
    most: u64,
}

impl Counted {
    fn new() -> Counted {
        let mut world = World::empty();
        world.say("init");
        let mut counted = Counted { world, most: 0 };
        let quota = Quota { messages_max: u64::MAX, ..Quota::default() };
        counted.ask(Command::CreateProject { name: "large".into(), quota });
        counted
    }

    fn ask(&mut self, command: Command) -> Outcome {
        let project = ProjectId::new("p");
        let told = self.entry(Request { project, retry: None, command });
        match told.parts.into_iter().next().unwrap().result {
            PartResult::Fresh(mut results) => results.remove(0).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn own(&mut self, command: Command) -> Told {
        self.entry(Request { project: ProjectId::new(""), retry: None, command })
    }

    fn entry(&mut self, request: Request) -> Told {
        let before = self.world.engine.rows_touched();
        let told = self.world.entry(None, &[request]);
        self.most = self.most.max(self.world.engine.rows_touched() - before);
        assert!(self.most <= ROWS_MAX, "one entry touched {} rows", self.most);
        told
    }

    fn post(&mut self, count: u64, key: Option<&str>, life: Option<Millis>) {
        for _ in 0..count / 1000 {
            let message = NewMessage {
                body: vec![b'x'; 8],
                delay: Millis::ZERO,
                expiration: life,
                ordering_key: key.map(OrderingKey::new),
            };
            let messages = vec![message; 1000];
            self.ask(Command::PostMessages { queue: queue(), messages });
        }
    }

    fn size(&self) -> u64 {
        let view = self.world.engine.kv().view();
        read::queue_info(&view, &ProjectId::new("p"), &queue()).unwrap().unwrap().size
    }

    /// Sweeps until nothing is left; returns how often.
    fn sweep(&mut self) -> u64 {
        let mut sweeps = 0;
        while self.world.engine.garbage_left() {
            self.own(Command::Sweep);
            sweeps += 1;
        }
        sweeps
    }
}

fn queue() -> QueueName {
    QueueName::new("q")
}

#[test]
fn clearing_a_large_queue_touches_few_rows() {
    let mut large = Counted::new();
    large.post(messages(), None, None);
    large.most = 0;
    large.ask(Command::ClearQueue { queue: queue() });
    assert!(large.most <= 10, "{} rows", large.most);
    assert_eq!(large.size(), 0);
    large.post(1000, None, None);
    large.most = 0;
    let sweeps = large.sweep();
    assert!(large.most <= 2 * SWEEP_ROWS_MAX as u64, "{} rows", large.most);
    assert!(sweeps >= messages() / SWEEP_ROWS_MAX as u64);
    assert_eq!(large.size(), 1000);
    large.ask(Command::DeleteQueue { queue: queue() });
    large.sweep();
    assert_eq!(large.world.rows(), "P 1", "every row is gone");
}

#[test]
fn a_long_line_behind_one_key_costs_no_more_than_a_short_one() {
    let mut large = Counted::new();
    large.post(messages(), Some("key"), None);
    large.most = 0;
    for _ in 0..1000 {
        let wish =
            Command::ReserveMessages { queue: queue(), count: 100, timeout: None, delete: false };
        let Outcome::Reserved { messages } = large.ask(wish) else { panic!("a reserve") };
        assert_eq!(messages.len(), 1, "one of a key");
        let handle = Handle { message: messages[0].id, reservation: Some(messages[0].reservation) };
        large.ask(Command::AckMessage { queue: queue(), handle });
    }
    assert!(large.most <= 25, "{} rows", large.most);
    assert_eq!(large.size(), messages() / 1000 * 1000 - 1000);
}

#[test]
fn many_reservations_lapse_in_bounded_steps() {
    let mut large = Counted::new();
    large.post(10_000, None, None);
    for _ in 0..100 {
        let timeout = Some(Millis::from_secs(30));
        large.ask(Command::ReserveMessages { queue: queue(), count: 100, timeout, delete: false });
    }
    large.most = 0;
    large.world.set_time(Millis::from_secs(60));
    let mut ticks = 0;
    let mut now = Millis(0);
    while large.world.engine.next_due().is_some_and(|due| due <= Millis::from_secs(60)) {
        let told = large.own(Command::Tick);
        assert!(told.now >= now, "time never falls");
        now = told.now;
        ticks += 1;
    }
    assert_eq!(ticks, 10_000 / TIMERS_PER_BATCH_MAX);
    assert_eq!(now, Millis::from_secs(60));
    let wish =
        Command::ReserveMessages { queue: queue(), count: 100, timeout: None, delete: false };
    let Outcome::Reserved { messages } = large.ask(wish) else { panic!("a reserve") };
    assert!(messages.iter().all(|message| message.reserved_count == 2));
}

#[test]
fn many_messages_expire_in_bounded_steps_and_time_waits_for_them() {
    let mut large = Counted::new();
    large.post(10_000, None, Some(Millis::from_secs(5)));
    large.post(1000, None, None);
    large.most = 0;
    large.world.set_time(Millis::from_secs(9));
    let (step, ticks) = (TIMERS_PER_BATCH_MAX as u64, 10_000 / TIMERS_PER_BATCH_MAX as u64);
    for tick in 1..=ticks {
        let told = large.own(Command::Tick);
        assert_eq!(told.now, Millis::from_secs(if tick < ticks { 5 } else { 9 }), "tick {tick}");
        assert_eq!(large.size(), 11_000 - step * tick);
    }
}

#[test]
fn messages_that_expire_together_far_apart_cost_no_rows_between_them() {
    let mut large = Counted::new();
    large.world.say("at 0 post q early~100s");
    large.post(5000, None, None);
    large.world.say("at 50s post q late~50s");
    assert_eq!(large.size(), 5002);
    large.most = 0;
    large.world.set_time(Millis::from_secs(100));
    let told = large.own(Command::Tick);
    assert_eq!((told.now, large.size()), (Millis::from_secs(100), 5000));
    assert!(large.most <= 300, "{} rows, the window of timers included", large.most);
}

#[test]
fn dead_letters_move_a_bounded_number_at_a_time() {
    let mut large = Counted::new();
    large.post(3000, None, None);
    for _ in 0..30 {
        large.ask(Command::ReserveMessages {
            queue: queue(),
            count: 100,
            timeout: Some(Millis::from_secs(1)),
            delete: false,
        });
    }
    let set = bessemer_model::DeadLetterPatch::Set {
        queue: Some(QueueName::new("dead")),
        max_reservations: Some(1),
    };
    let patch = QueuePatch { dead_letter: Some(set), ..QueuePatch::default() };
    large.ask(Command::PutQueue { queue: queue(), patch });
    large.world.set_time(Millis::from_secs(2));
    for _ in 0..3_000 / TIMERS_PER_BATCH_MAX {
        large.own(Command::Tick);
    }
    let wish =
        || Command::ReserveMessages { queue: queue(), count: 100, timeout: None, delete: false };
    let Outcome::Reserved { messages } = large.ask(wish()) else { panic!("a reserve") };
    assert!(messages.is_empty());
    assert_eq!(large.size(), 2000);
    large.ask(Command::Transaction { commands: vec![wish(), wish()] });
    assert_eq!(large.size(), 1000, "the reserves of a transaction share the bound");
    large.ask(wish());
    assert_eq!(large.size(), 0);
}

#[test]
fn the_reserves_of_a_transaction_give_no_more_than_one() {
    let mut large = Counted::new();
    large.post(1000, None, None);
    let wish =
        |count| Command::ReserveMessages { queue: queue(), count, timeout: None, delete: true };
    let commands = [99, 9].into_iter().chain([100; 98]).map(wish).collect();
    let Outcome::Transacted { outcomes } = large.ask(Command::Transaction { commands }) else {
        panic!("a transaction")
    };
    let given = outcomes.iter().map(|outcome| match outcome {
        Outcome::Reserved { messages } => messages.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(given.filter(|count| *count > 0).collect::<Vec<_>>(), [99, 1]);
    assert_eq!(large.size(), 900);
}
