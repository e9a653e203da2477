//! How sharp the judge is: single events of a valid history are changed at random, one at a time,
//! and the share that a check, and any check, finds is printed and held above a floor.
//!
//! The floors are the shares measured, less a little; a check that gets blunter fails here. Not
//! every change breaks a promise (an answer that is swapped with one of the same kind may still be
//! right), so no share need be whole. `BESSEMER_TESTS=full` changes a thousand events a check.

use bessemer_history::event::{Answer, Op};
use bessemer_history::synthetic::{self, Dice};
use bessemer_history::{Check, History, Verdict, judge};
use bessemer_model::{LogIndex, MessageId, Millis, Outcome, ReservationId};

/// Changes one event. Returns whether it found one to change.
type Change = fn(&mut History, &mut Dice) -> bool;

/// Picks one of the places that `is` says can be changed.
fn pick<T>(items: &[T], dice: &mut Dice, is: impl Fn(&T) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..items.len()).filter(|place| is(&items[*place])).collect();
    let count = places.len() as u64;
    (count > 0).then(|| places[dice.below(count) as usize])
}

fn given(answer: &Answer) -> bool {
    matches!(answer, Answer::Reserved(gots) if !gots.is_empty())
}

fn acked(answer: &Answer) -> bool {
    matches!(answer, Answer::Acked(1))
}

/// Changes one message of one reply.
fn in_reply(
    history: &mut History,
    dice: &mut Dice,
    change: impl Fn(&mut bessemer_history::event::Got),
) -> bool {
    let Some(at) = pick(&history.operations, dice, |each| given(&each.answer)) else {
        return false;
    };
    let Answer::Reserved(gots) = &mut history.operations[at].answer else { return false };
    let place = dice.below(gots.len() as u64) as usize;
    change(&mut gots[place]);
    true
}

/// Queues of `synthetic::rules`.
const KEYED: usize = 3;
const DYING: usize = 4;
const DEAD: usize = 5;

/// The dying are given once more than allowed, or the dead are given too early.
fn undying(history: &mut History, dice: &mut Dice) -> bool {
    let of = |op: &Op| match op {
        Op::Reserve { queue, .. } => *queue,
        _ => 0,
    };
    let at = pick(&history.operations, dice, |each| {
        given(&each.answer) && [DYING, DEAD].contains(&of(&each.op))
    });
    let Some(at) = at else { return false };
    let dying = of(&history.operations[at].op) == DYING;
    let Answer::Reserved(gots) = &mut history.operations[at].answer else { return false };
    let count = &mut gots[0].reserved_count;
    *count = if dying { *count + 3 } else { *count - 1 - dice.below(3) as u32 };
    true
}

/// A message of a key is given before, or after, its turn.
fn other_turn(history: &mut History, dice: &mut Dice) -> bool {
    let at = pick(&history.operations, dice, |each| {
        let keyed = matches!(each.op, Op::Reserve { queue: KEYED, .. });
        keyed && given(&each.answer)
    });
    let Some(at) = at else { return false };
    let (shift, more) = (50 + dice.below(300), dice.one_in(2));
    let Answer::Reserved(gots) = &mut history.operations[at].answer else { return false };
    let generation = gots[0].reservation.generation();
    let moved = if more { generation + shift } else { generation.saturating_sub(shift).max(1) };
    gots[0].reservation = ReservationId::new(moved, 0, 0);
    true
}

fn drop_ack(history: &mut History, dice: &mut Dice) -> bool {
    let at = pick(&history.operations, dice, |each| acked(&each.answer));
    at.map(|at| history.operations.remove(at)).is_some()
}

fn drop_post(history: &mut History, dice: &mut Dice) -> bool {
    let posted = |answer: &Answer| matches!(answer, Answer::Posted(_) | Answer::Swapped(_));
    let at = pick(&history.operations, dice, |each| posted(&each.answer));
    at.map(|at| history.operations.remove(at)).is_some()
}

fn other_body(history: &mut History, dice: &mut Dice) -> bool {
    let shift = 1 + dice.below(9);
    in_reply(history, dice, |got| got.uid = got.uid.map(|uid| uid + shift))
}

fn no_body(history: &mut History, dice: &mut Dice) -> bool {
    in_reply(history, dice, |got| got.uid = None)
}

fn other_message(history: &mut History, dice: &mut Dice) -> bool {
    let shift = 1 + dice.below(9);
    in_reply(history, dice, |got| got.message = MessageId(got.message.0 + shift))
}

fn other_count(history: &mut History, dice: &mut Dice) -> bool {
    let more = dice.one_in(2);
    in_reply(history, dice, |got| match more {
        true => got.reserved_count += 1,
        false => got.reserved_count = got.reserved_count.saturating_sub(1),
    })
}

/// Another generation: as if the reserve had come earlier or later.
fn other_generation(history: &mut History, dice: &mut Dice) -> bool {
    let (shift, more) = (1 + dice.below(300), dice.one_in(2));
    in_reply(history, dice, |got| {
        let generation = got.reservation.generation();
        let moved = if more { generation + shift } else { generation.saturating_sub(shift).max(1) };
        got.reservation = ReservationId::new(moved, 0, got.reservation.mac());
    })
}

fn swap_in_reply(history: &mut History, dice: &mut Dice) -> bool {
    let many = |answer: &Answer| matches!(answer, Answer::Reserved(gots) if gots.len() > 1);
    let Some(at) = pick(&history.operations, dice, |each| many(&each.answer)) else { return false };
    let Answer::Reserved(gots) = &mut history.operations[at].answer else { return false };
    let place = dice.below(gots.len() as u64 - 1) as usize;
    gots.swap(place, place + 1);
    true
}

/// A reply is heard a second time, by somebody else.
fn given_twice(history: &mut History, dice: &mut Dice) -> bool {
    let Some(at) = pick(&history.operations, dice, |each| given(&each.answer)) else {
        return false;
    };
    let again = history.operations[at].clone();
    history.operations.insert(at, again);
    true
}

/// A refused ack succeeded.
fn refusal_succeeds(history: &mut History, dice: &mut Dice) -> bool {
    let refused = |answer: &Answer| matches!(answer, Answer::Refused(_));
    let at = pick(&history.operations, dice, |each| {
        matches!(each.op, Op::Ack(_)) && refused(&each.answer)
    });
    at.map(|at| history.operations[at].answer = Answer::Acked(1)).is_some()
}

fn acked_twice(history: &mut History, dice: &mut Dice) -> bool {
    let Some(at) = pick(&history.operations, dice, |each| acked(&each.answer)) else {
        return false;
    };
    let again = history.operations[at].clone();
    history.operations.insert(at, again);
    true
}

/// An ack comes earlier, so that what was given after it came back.
fn early_ack(history: &mut History, dice: &mut Dice) -> bool {
    let gots = history.operations.iter().filter_map(|each| match &each.answer {
        Answer::Reserved(gots) => Some((each.op.clone(), gots.clone())),
        _ => None,
    });
    let gots: Vec<_> = gots.collect();
    let later = |message: MessageId, than: ReservationId| {
        let all = gots.iter().flat_map(|(_, gots)| gots);
        all.into_iter().any(|got| got.message == message && got.reservation > than)
    };
    // An abandoned delivery, of which an ack is made up.
    let at =
        pick(&gots, dice, |(_, gots)| gots.iter().any(|got| later(got.message, got.reservation)));
    let Some(at) = at else { return false };
    let (Op::Reserve { queue, .. }, gots) = gots[at].clone() else { return false };
    let place = gots.iter().position(|got| later(got.message, got.reservation)).unwrap();
    let got = gots[place];
    let reserve = history.operations.iter().position(|each| match &each.answer {
        Answer::Reserved(of) => of.contains(&got),
        _ => false,
    });
    let mut ack = history.operations[reserve.unwrap()].clone();
    let (message, reservation) = (got.message, got.reservation);
    ack.op = Op::Ack(bessemer_history::event::Held { queue, message, reservation });
    ack.answer = Answer::Acked(1);
    ack.called_ns = ack.answered_ns + 1;
    ack.answered_ns += 2;
    history.operations.insert(reserve.unwrap() + 1, ack);
    true
}

/// A reserve, and its log time, comes so much earlier.
fn early_reserve(history: &mut History, dice: &mut Dice) -> bool {
    let Some(at) = pick(&history.operations, dice, |each| given(&each.answer)) else {
        return false;
    };
    let reserve = &mut history.operations[at];
    let early = 1 + dice.below(5_000);
    reserve.log_low = Millis(reserve.log_low.0.saturating_sub(early));
    reserve.log_high = Millis(reserve.log_high.0.saturating_sub(early));
    true
}

fn longer_delay(history: &mut History, dice: &mut Dice) -> bool {
    let longer = 1 + dice.below(8_000);
    let at = pick(
        &history.operations,
        dice,
        |each| matches!(&each.op, Op::Post { delay, .. } if delay.0 > 0),
    );
    let Some(at) = at else { return false };
    if let Op::Post { delay, .. } = &mut history.operations[at].op {
        delay.0 += longer;
    }
    true
}

fn longer_timeout(history: &mut History, dice: &mut Dice) -> bool {
    let longer = 1 + dice.below(20_000);
    let Some(at) = pick(&history.operations, dice, |each| given(&each.answer)) else {
        return false;
    };
    if let Op::Reserve { timeout, .. } = &mut history.operations[at].op {
        timeout.0 += longer;
    }
    true
}

/// An operation was asked after, or answered before, its moment.
fn other_span(history: &mut History, dice: &mut Dice) -> bool {
    let sure =
        |answer: &Answer| given(answer) || acked(answer) || matches!(answer, Answer::Posted(_));
    let Some(at) = pick(&history.operations, dice, |each| sure(&each.answer)) else { return false };
    let operation = &mut history.operations[at];
    let shift = 1_000_000 * (1 + dice.below(30));
    if dice.one_in(2) {
        (operation.called_ns, operation.answered_ns) =
            (operation.called_ns + shift, operation.answered_ns + shift);
    } else {
        operation.called_ns = operation.called_ns.saturating_sub(shift);
        operation.answered_ns = operation.answered_ns.saturating_sub(shift);
    }
    history.operations.sort_by_key(|operation| operation.answered_ns);
    true
}

fn other_read(history: &mut History, dice: &mut Dice) -> bool {
    let at = pick(&history.operations, dice, |each| matches!(each.answer, Answer::Seen(_)));
    let Some(at) = at else { return false };
    if let Answer::Seen(seen) = &mut history.operations[at].answer {
        *seen = !*seen;
    }
    true
}

fn token_accepted(history: &mut History, dice: &mut Dice) -> bool {
    let at = pick(&history.operations, dice, |each| {
        matches!(each.answer, Answer::Unauthorized) && matches!(each.op, Op::Reserve { .. })
    });
    at.map(|at| history.operations[at].answer = Answer::Reserved(Vec::new())).is_some()
}

fn door_opened(history: &mut History, dice: &mut Dice) -> bool {
    let at = pick(&history.operations, dice, |each| {
        matches!(each.answer, Answer::Forbidden) && matches!(each.op, Op::Reserve { .. })
    });
    at.map(|at| history.operations[at].answer = Answer::Reserved(Vec::new())).is_some()
}

fn other_queue(history: &mut History, dice: &mut Dice) -> bool {
    let Some(at) = pick(&history.operations, dice, |each| given(&each.answer)) else {
        return false;
    };
    if let Op::Reserve { queue, .. } = &mut history.operations[at].op {
        *queue = if *queue == 6 { dice.below(6) as usize } else { 6 };
    }
    true
}

fn other_chain(history: &mut History, dice: &mut Dice) -> bool {
    let Some(at) = pick(&history.sightings, dice, |_| true) else { return false };
    history.sightings[at].chain[dice.below(32) as usize] ^= 1;
    true
}

fn other_sighting(history: &mut History, dice: &mut Dice) -> bool {
    let Some(at) = pick(&history.sightings, dice, |_| true) else { return false };
    let (back, each) = (1 + dice.below(500), &mut history.sightings[at]);
    match dice.below(4) {
        0 => each.term = each.term.saturating_sub(back.div_ceil(100)),
        1 => each.committed = LogIndex(each.committed.0.saturating_sub(back)),
        2 => each.applied = LogIndex(each.applied.0.saturating_sub(back)),
        _ => each.log_time = Millis(each.log_time.0.saturating_sub(back)),
    }
    true
}

fn never_drained(history: &mut History, dice: &mut Dice) -> bool {
    let late = history.rules.drained_within_ns + dice.below(1_000_000);
    history.drained_ns = match dice.one_in(2) {
        true => None,
        false => history.healed_ns.map(|healed_ns| healed_ns + late + 1),
    };
    true
}

/// Half of a swap: its uid is never seen, or its message comes back.
fn half_swap(history: &mut History, dice: &mut Dice) -> bool {
    let swaps = |op: &Op| matches!(op, Op::Swap { .. });
    let at = pick(&history.operations, dice, |each| {
        swaps(&each.op) && matches!(each.answer, Answer::Swapped(_))
    });
    let Some(at) = at else { return false };
    let Op::Swap { held, .. } = history.operations[at].op.clone() else { return false };
    history.operations[at].answer = Answer::Unknown;
    let mut returned = history.operations[at].clone();
    returned.op =
        Op::Reserve { queue: held.queue, count: 1, timeout: Millis(1_000), wait: Millis(0) };
    returned.called_ns = returned.answered_ns + 1;
    returned.answered_ns += 2;
    let generation = held.reservation.generation() + 1;
    let uids = history.operations.iter().find_map(|each| match &each.answer {
        Answer::Reserved(gots) => gots.iter().find(|got| got.message == held.message),
        _ => None,
    });
    let Some(mut got) = uids.copied() else { return false };
    got.reservation = ReservationId::new(generation, 0, 0);
    got.reserved_count += 1;
    returned.answer = Answer::Reserved(vec![got]);
    history.operations.insert(at + 1, returned);
    true
}

fn not_done(history: &mut History, dice: &mut Dice) -> bool {
    let sure = |answer: &Answer| acked(answer) || matches!(answer, Answer::Posted(_));
    let Some(at) = pick(&history.operations, dice, |each| sure(&each.answer)) else { return false };
    history.operations[at].answer = match dice.below(3) {
        0 => Answer::Nonsense("?".into()),
        1 => Answer::Released,
        _ => Answer::NotDone,
    };
    true
}

/// One applied request has another answer, another time, another place, or is there twice, or not.
fn other_log(history: &mut History, dice: &mut Dice) -> bool {
    let Some(at) = pick(&history.applied, dice, |each| each.lane.is_some()) else { return false };
    let count = history.applied.len();
    match dice.below(5) {
        0 => drop(history.applied.remove(at)),
        1 => history.applied.insert(at, history.applied[at].clone()),
        2 if at + 1 < count => history.applied.swap(at, at + 1),
        3 => history.applied[at].log_time.0 += 1 + dice.below(5_000),
        _ => match &mut history.applied[at].answer {
            Ok(Outcome::Posted { ids }) if !ids.is_empty() => ids[0].0 += 1,
            Ok(Outcome::Reserved { messages }) if !messages.is_empty() => {
                messages[0].reserved_count += 1;
            }
            Ok(Outcome::Reserved { .. }) | Ok(_) => {
                history.applied[at].answer = Ok(Outcome::Cleared)
            }
            Err(_) => history.applied[at].answer = Ok(Outcome::Done),
        },
    }
    true
}

/// A part of a lane is applied twice, or not at all, or in another's place.
fn other_lane(history: &mut History, dice: &mut Dice) -> bool {
    let Some(at) = pick(&history.applied, dice, |each| each.lane.is_some()) else { return false };
    match dice.below(3) {
        0 => drop(history.applied.remove(at)),
        1 => history.applied.insert(at, history.applied[at].clone()),
        _ => {
            if let Some((lane, _)) = &mut history.applied[at].lane {
                lane.seq += 1;
            }
        }
    }
    true
}

fn second_id(history: &mut History, dice: &mut Dice) -> bool {
    let at = pick(&history.operations, dice, |each| matches!(each.answer, Answer::Posted(_)));
    let Some(at) = at else { return false };
    if let Answer::Posted(ids) = &mut history.operations[at].answer {
        ids[0] = MessageId(ids[0].0 + 1_000_000);
    }
    true
}

/// A check, the changes that are its affair, and the least share of them it finds, in percent: by
/// itself, and with all others.
type Row = (Check, &'static [Change], u64, u64);

const ROWS: &[Row] = &[
    (Check::NoLoss, &[drop_ack], 98, 98),
    (Check::NoGhost, &[drop_post, other_body, no_body, other_queue], 96, 96),
    (Check::NoCopy, &[other_lane, second_id], 92, 95),
    (Check::OneHolder, &[other_count, given_twice, longer_timeout, early_reserve], 36, 76),
    (Check::AckFinal, &[early_ack], 98, 98),
    (Check::AckOnce, &[refusal_succeeds, acked_twice], 98, 98),
    (Check::Order, &[other_generation], 22, 96),
    (Check::Place, &[swap_in_reply, other_generation], 66, 96),
    (Check::Delay, &[longer_delay, early_reserve], 37, 56),
    (Check::Linear, &[other_count, other_message, other_span, other_read, second_id], 84, 88),
    (Check::Revoked, &[token_accepted], 98, 98),
    (Check::Tenants, &[door_opened, other_queue], 98, 98),
    (Check::SameState, &[other_chain], 96, 96),
    (Check::Agreement, &[other_sighting], 80, 80),
    (Check::Liveness, &[never_drained], 98, 98),
    (Check::KeyOrder, &[other_turn], 76, 98),
    (Check::DeadLetters, &[undying], 98, 98),
    (Check::WholeTransactions, &[half_swap], 98, 98),
    (Check::FreshReads, &[other_read], 72, 72),
    (Check::HonestAnswers, &[not_done], 94, 94),
    (Check::Oracle, &[other_log], 80, 96),
];

/// Size of the history that is corrupted.
const OPERATIONS: usize = 1_200;

#[test]
fn single_corruptions_are_found() {
    let full = std::env::var_os("BESSEMER_TESTS").is_some_and(|size| size == "full");
    let rounds: u64 = if full { 1_000 } else { 25 };
    let good = synthetic::run(7, OPERATIONS);
    let report = judge(&good).require(Check::ALL);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let mut blunt = Vec::new();
    println!("check | corruptions | found by it | found by any");
    for (check, changes, own_least, any_least) in ROWS {
        let mut dice = Dice::new(*check as u64 + 1);
        let (mut own, mut any) = (0, 0);
        for round in 0..rounds {
            let mut history = good.clone();
            let change = changes[(round % changes.len() as u64) as usize];
            assert!(change(&mut history, &mut dice), "{check} has something to change");
            let report = judge(&history);
            own += u64::from(report.broken.contains_key(check));
            any += u64::from(report.verdict == Verdict::Violation);
        }
        let percent = |count: u64| count * 100 / rounds;
        println!("{check} | {rounds} | {} % | {} %", percent(own), percent(any));
        if percent(own) < *own_least || percent(any) < *any_least {
            blunt.push(*check);
        }
    }
    assert!(blunt.is_empty(), "blunter than measured: {blunt:?}");
}

#[test]
fn valid_histories_are_valid() {
    let full = std::env::var_os("BESSEMER_TESTS").is_some_and(|size| size == "full");
    for seed in 100..if full { 200 } else { 110 } {
        let report = judge(&synthetic::run(seed, 1_500));
        assert_eq!(report.verdict, Verdict::Valid, "seed {seed}: {report}");
    }
}
