//! A mutex whose waiters are woken in the order they came.
//!
//! The value itself moves into the guard, so that no unsafe code is needed.
//! Invariant: exactly one of the slot and one guard holds the value.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use openraft_rt::OptionalSend;

struct State<T> {
    value: Option<T>,
    waiting: VecDeque<(u64, Waker)>,
    next_ticket: u64,
}

pub struct Mutex<T> {
    state: std::sync::Mutex<State<T>>,
}

impl<T> Mutex<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_next(&self) {
        let next = self.state().waiting.pop_front();
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

/// Holds the value, and gives it back when dropped.
pub struct Guard<'a, T> {
    mutex: &'a Mutex<T>,
    value: Option<T>,
}

const HELD: &str = "a guard holds the value until it is dropped";

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect(HELD)
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.mutex.state().value = self.value.take();
        self.mutex.wake_next();
    }
}

struct Locking<'a, T> {
    mutex: &'a Mutex<T>,
    ticket: Option<u64>,
}

impl<'a, T> Future for Locking<'a, T> {
    type Output = Guard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Guard<'a, T>> {
        let this = &mut *self;
        let mut state = this.mutex.state();
        if let Some(value) = state.value.take() {
            let ticket = this.ticket.take();
            state.waiting.retain(|(waiting, _)| Some(*waiting) != ticket);
            return Poll::Ready(Guard { mutex: this.mutex, value: Some(value) });
        }
        let waker = cx.waker().clone();
        match state.waiting.iter().position(|(waiting, _)| Some(*waiting) == this.ticket) {
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

impl<T> Drop for Locking<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let pass_on = {
            let mut state = self.mutex.state();
            let before = state.waiting.len();
            state.waiting.retain(|(waiting, _)| *waiting != ticket);
            state.waiting.len() == before && state.value.is_some()
        };
        if pass_on {
            self.mutex.wake_next();
        }
    }
}

impl<T: OptionalSend + 'static> openraft_rt::Mutex<T> for Mutex<T> {
    type Guard<'a> = Guard<'a, T>;

    fn new(value: T) -> Mutex<T> {
        let state = State { value: Some(value), waiting: VecDeque::new(), next_ticket: 0 };
        Mutex { state: std::sync::Mutex::new(state) }
    }

    async fn lock(&self) -> Guard<'_, T> {
        Locking { mutex: self, ticket: None }.await
    }
}
