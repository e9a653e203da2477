//! Effects of applied entries, handed to whoever subscribed.
//!
//! Not here: what an effect means. Each subscription is bounded; one that is too slow loses its
//! effects and is told so (`Effects::Lagged`): it looks at the state instead.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use bessemer_model::Effect;
use bessemer_seam::BoxFuture;
use bessemer_seam::consensus::{EffectStream, Effects};

use crate::event::{Event, Latch, lock};

/// Effects a subscriber may be behind before it is told that it lagged.
const EFFECTS_WAITING_MAX: usize = 100_000;

#[derive(Default)]
struct Queue {
    effects: VecDeque<Effect>,
    lagged: bool,
}

#[derive(Default)]
struct Subscriber {
    queue: Mutex<Queue>,
    event: Event,
}

#[derive(Default)]
pub(crate) struct EffectHub {
    subscribers: Mutex<Vec<Weak<Subscriber>>>,
    stopped: Arc<Latch>,
}

impl EffectHub {
    pub fn subscribe(&self) -> Subscription {
        let subscriber = Arc::new(Subscriber::default());
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|other| other.strong_count() > 0);
        subscribers.push(Arc::downgrade(&subscriber));
        Subscription { subscriber, stopped: self.stopped.clone() }
    }

    pub fn publish(&self, effects: &[Effect]) {
        if effects.is_empty() {
            return;
        }
        let subscribers: Vec<_> =
            lock(&self.subscribers).iter().filter_map(Weak::upgrade).collect();
        for subscriber in subscribers {
            {
                let mut queue = lock(&subscriber.queue);
                if queue.effects.len() + effects.len() > EFFECTS_WAITING_MAX {
                    queue.effects.clear();
                    queue.lagged = true;
                }
                if !queue.lagged {
                    queue.effects.extend(effects.iter().cloned());
                }
            }
            subscriber.event.notify();
        }
    }

    /// Tells every subscriber that some effects were never seen here: a snapshot was installed.
    pub fn skipped(&self) {
        for subscriber in lock(&self.subscribers).iter().filter_map(Weak::upgrade) {
            {
                let mut queue = lock(&subscriber.queue);
                queue.effects.clear();
                queue.lagged = true;
            }
            subscriber.event.notify();
        }
    }

    pub fn stop(&self) {
        self.stopped.set();
    }
}

/// One subscriber's end.
pub(crate) struct Subscription {
    subscriber: Arc<Subscriber>,
    stopped: Arc<Latch>,
}

impl Subscription {
    fn take(&self) -> Option<Effects> {
        let mut queue = lock(&self.subscriber.queue);
        if std::mem::take(&mut queue.lagged) {
            return Some(Effects::Lagged);
        }
        if queue.effects.is_empty() {
            return None;
        }
        Some(Effects::Some(std::mem::take(&mut queue.effects).into()))
    }
}

impl EffectStream for Subscription {
    fn next(&mut self) -> BoxFuture<'_, Option<Effects>> {
        Box::pin(async move {
            loop {
                let listener = self.subscriber.event.listen();
                if let Some(effects) = self.take() {
                    return Some(effects);
                }
                crate::event::unless(&self.stopped, listener).await?;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use bessemer_model::{ProjectId, QueueName};
    use futures_util::FutureExt;

    use super::*;

    fn ready(n: usize) -> Vec<Effect> {
        let effect = |n: usize| Effect::MessagesReady {
            project: ProjectId::new("p"),
            queue: QueueName::new(n.to_string()),
        };
        (0..n).map(effect).collect()
    }

    #[test]
    fn effects_arrive_in_order_and_a_slow_subscriber_is_told() {
        let hub = EffectHub::default();
        let mut stream = hub.subscribe();
        assert!(stream.next().now_or_never().is_none());
        hub.publish(&ready(2));
        hub.publish(&ready(1));
        let Some(Some(Effects::Some(got))) = stream.next().now_or_never() else { panic!() };
        assert_eq!(got, [ready(2), ready(1)].concat());
        hub.publish(&ready(EFFECTS_WAITING_MAX));
        hub.publish(&ready(1));
        assert!(matches!(stream.next().now_or_never(), Some(Some(Effects::Lagged))));
        hub.publish(&ready(1));
        assert!(matches!(stream.next().now_or_never(), Some(Some(Effects::Some(_)))));
        hub.stop();
        assert!(matches!(stream.next().now_or_never(), Some(None)));
    }
}
