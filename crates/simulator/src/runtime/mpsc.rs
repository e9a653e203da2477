//! A bounded channel of many senders; waiting senders are woken in the order they came.
//!
//! Invariants: items never exceed the capacity; while there is room, a sender that waits has been
//!   woken, and passes its turn on when it is dropped unused.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use openraft_rt::{OptionalSend, SendError, TryRecvError};

struct State<T> {
    items: VecDeque<T>,
    capacity: usize,
    senders: usize,
    receiver_gone: bool,
    receiver: Option<Waker>,
    waiting: VecDeque<(u64, Waker)>,
    next_ticket: u64,
}

type Channel<T> = Arc<Mutex<State<T>>>;

fn lock<T>(channel: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    channel.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

pub struct Sender<T> {
    channel: Channel<T>,
}

pub struct WeakSender<T> {
    channel: Channel<T>,
}

pub struct Receiver<T> {
    channel: Channel<T>,
}

/// Names the channel to openraft.
pub struct Mpsc;

impl openraft_rt::Mpsc for Mpsc {
    type Sender<T: OptionalSend> = Sender<T>;
    type Receiver<T: OptionalSend> = Receiver<T>;
    type WeakSender<T: OptionalSend> = WeakSender<T>;

    fn channel<T: OptionalSend>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        assert!(capacity > 0, "a channel without room");
        let channel = Arc::new(Mutex::new(State {
            items: VecDeque::new(),
            capacity,
            senders: 1,
            receiver_gone: false,
            receiver: None,
            waiting: VecDeque::new(),
            next_ticket: 0,
        }));
        (Sender { channel: channel.clone() }, Receiver { channel })
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        lock(&self.channel).senders += 1;
        Sender { channel: self.channel.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let receiver = {
            let mut state = lock(&self.channel);
            state.senders -= 1;
            if state.senders == 0 { state.receiver.take() } else { None }
        };
        wake(receiver);
    }
}

impl<T: OptionalSend> openraft_rt::MpscSender<Mpsc, T> for Sender<T> {
    async fn send(&self, item: T) -> Result<(), SendError<T>> {
        Sending { channel: &self.channel, item: Some(item), ticket: None }.await
    }

    fn downgrade(&self) -> WeakSender<T> {
        WeakSender { channel: self.channel.clone() }
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        WeakSender { channel: self.channel.clone() }
    }
}

impl<T: OptionalSend> openraft_rt::MpscWeakSender<Mpsc, T> for WeakSender<T> {
    fn upgrade(&self) -> Option<Sender<T>> {
        let mut state = lock(&self.channel);
        if state.senders == 0 {
            return None;
        }
        state.senders += 1;
        Some(Sender { channel: self.channel.clone() })
    }
}

/// A send under way. `ticket` is its place among those that wait.
struct Sending<'a, T> {
    channel: &'a Mutex<State<T>>,
    item: Option<T>,
    ticket: Option<u64>,
}

impl<T> Unpin for Sending<'_, T> {}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = lock(this.channel);
        let item = this.item.take().expect("a finished send is not polled again");
        if state.receiver_gone {
            return Poll::Ready(Err(SendError(item)));
        }
        if state.items.len() < state.capacity {
            state.items.push_back(item);
            let ticket = this.ticket.take();
            state.waiting.retain(|(waiting, _)| Some(*waiting) != ticket);
            let receiver = state.receiver.take();
            drop(state);
            wake(receiver);
            return Poll::Ready(Ok(()));
        }
        this.item = Some(item);
        let waker = cx.waker().clone();
        let place = state.waiting.iter().position(|(waiting, _)| Some(*waiting) == this.ticket);
        match place {
            Some(place) => state.waiting[place].1 = waker,
            None => {
                state.next_ticket += 1;
                let ticket = state.next_ticket;
                this.ticket = Some(ticket);
                state.waiting.push_back((ticket, waker));
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let next = {
            let mut state = lock(self.channel);
            let before = state.waiting.len();
            state.waiting.retain(|(waiting, _)| *waiting != ticket);
            let was_woken = state.waiting.len() == before;
            let room = state.items.len() < state.capacity;
            if was_woken && room { state.waiting.pop_front() } else { None }
        };
        wake(next.map(|(_, waker)| waker));
    }
}

/// Takes an item, and the sender whose turn it is now.
fn take<T>(state: &mut State<T>) -> Option<(T, Option<Waker>)> {
    let item = state.items.pop_front()?;
    Some((item, state.waiting.pop_front().map(|(_, waker)| waker)))
}

struct Receiving<'a, T> {
    channel: &'a Mutex<State<T>>,
}

impl<T> Future for Receiving<'_, T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(self.channel);
        if let Some((item, sender)) = take(&mut state) {
            drop(state);
            wake(sender);
            return Poll::Ready(Some(item));
        }
        if state.senders == 0 {
            return Poll::Ready(None);
        }
        state.receiver = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T: OptionalSend> openraft_rt::MpscReceiver<T> for Receiver<T> {
    async fn recv(&mut self) -> Option<T> {
        Receiving { channel: &self.channel }.await
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut state = lock(&self.channel);
        match take(&mut state) {
            Some((item, sender)) => {
                drop(state);
                wake(sender);
                Ok(item)
            }
            None if state.senders == 0 => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let (items, waiting, own) = {
            let mut state = lock(&self.channel);
            state.receiver_gone = true;
            let own = state.receiver.take();
            (std::mem::take(&mut state.items), std::mem::take(&mut state.waiting), own)
        };
        for (_, waker) in waiting {
            waker.wake();
        }
        // Outside the lock: dropping an item may run any code.
        drop((items, own));
    }
}
