//! Bounded pictures of the front of an ordered index: a cache, and nothing else.
//!
//! Not here: the index itself. Clearing a window changes no outcome and no row.
//! Invariants: a window holds exactly the live keys below its horizon; no live key is below where
//! it began to read unless it was put since; the windows of all queues hold at most
//! `READY_ITEMS_MAX` keys, save the one in use.

use std::collections::{BTreeMap, BTreeSet};

use bessemer_model::{Position, StoreId};

/// Keys kept by one window.
const WINDOW_ITEMS_MAX: usize = 4096;
/// Keys read from the index at once.
pub(crate) const WINDOW_READ: usize = 256;
/// Keys kept by the windows of all queues: some 16 MiB.
const READY_ITEMS_MAX: usize = 1 << 18;
/// Windows kept, empty ones included.
const READY_WINDOWS_MAX: usize = 1 << 14;

/// The front of one index.
#[derive(Debug)]
pub(crate) struct Window<T> {
    items: BTreeSet<T>,
    /// Keys from here on are not known; `None` when all are.
    horizon: Option<T>,
}

impl<T: Ord + Clone> Window<T> {
    /// An empty window over an index without a live key below `from`.
    pub fn new(from: T) -> Window<T> {
        Window { items: BTreeSet::new(), horizon: Some(from) }
    }

    /// The first live key, when it is known. `Err` gives where to read on.
    pub fn first(&self) -> Result<Option<&T>, &T> {
        match (self.items.first(), &self.horizon) {
            (Some(item), _) => Ok(Some(item)),
            (None, None) => Ok(None),
            (None, Some(horizon)) => Err(horizon),
        }
    }

    /// Takes in what was read from the horizon on; `next` is the new horizon.
    pub fn extend(&mut self, items: impl IntoIterator<Item = T>, next: Option<T>) {
        self.items.extend(items);
        self.horizon = next;
    }

    /// A key was put into the index.
    pub fn put(&mut self, item: T) {
        if self.horizon.as_ref().is_none_or(|horizon| item < *horizon) {
            self.items.insert(item);
            if self.items.len() > WINDOW_ITEMS_MAX {
                self.horizon = self.items.pop_last();
            }
        }
    }

    /// A key left the index.
    pub fn remove(&mut self, item: &T) {
        self.items.remove(item);
    }

    fn len(&self) -> usize {
        self.items.len()
    }
}

/// The ready windows of the queues used last.
#[derive(Default, Debug)]
pub(crate) struct ReadyWindows {
    windows: BTreeMap<StoreId, Used>,
    /// Windows by last use, oldest first.
    order: BTreeMap<u64, StoreId>,
    uses: u64,
    items: usize,
    /// While a transaction is open: stores whose windows changed.
    touched: Option<BTreeSet<StoreId>>,
}

#[derive(Debug)]
struct Used {
    window: Window<Position>,
    last_use: u64,
}

impl ReadyWindows {
    /// Applies `change` to the window of `store` if there is one.
    pub fn with(&mut self, store: StoreId, change: impl FnOnce(&mut Window<Position>)) {
        let Some(used) = self.windows.get_mut(&store) else { return };
        let before = used.window.len();
        change(&mut used.window);
        self.items = self.items - before + used.window.len();
        if let Some(touched) = &mut self.touched {
            touched.insert(store);
        }
    }

    /// The window of `store`, made to read on from `from` if there is none, and marked as used.
    pub fn open(&mut self, store: StoreId, from: Position) -> &Window<Position> {
        self.uses += 1;
        let last_use = self.uses;
        let used = self
            .windows
            .entry(store)
            .or_insert_with(|| Used { window: Window::new(from), last_use });
        self.order.remove(&used.last_use);
        used.last_use = last_use;
        self.order.insert(last_use, store);
        &used.window
    }

    /// Drops the windows used longest ago until the budget holds; `in_use` stays.
    pub fn shrink(&mut self, in_use: StoreId) {
        while self.items > READY_ITEMS_MAX || self.windows.len() > READY_WINDOWS_MAX {
            match self.order.first_key_value() {
                Some((_, &oldest)) if oldest != in_use => self.forget(oldest),
                Some(_) | None => return,
            }
        }
    }

    pub fn has(&self, store: StoreId) -> bool {
        self.windows.contains_key(&store)
    }

    /// Drops the window of one store.
    pub fn forget(&mut self, store: StoreId) {
        if let Some(used) = self.windows.remove(&store) {
            self.order.remove(&used.last_use);
            self.items -= used.window.len();
        }
    }

    pub fn clear(&mut self) {
        self.windows.clear();
        self.order.clear();
        self.items = 0;
    }

    pub fn mark(&mut self) {
        self.touched = Some(BTreeSet::new());
    }

    pub fn keep(&mut self) {
        self.touched = None;
    }

    /// Drops every window that changed since the mark.
    pub fn rollback(&mut self) {
        for store in self.touched.take().unwrap_or_default() {
            self.forget(store);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_gives_up_its_far_end() {
        let mut window = Window::new(0u64);
        assert_eq!(window.first(), Err(&0));
        window.extend([], None);
        for item in 0..=WINDOW_ITEMS_MAX as u64 {
            window.put(item);
        }
        assert_eq!(window.horizon, Some(WINDOW_ITEMS_MAX as u64));
        window.put(u64::MAX);
        assert_eq!(window.len(), WINDOW_ITEMS_MAX);
        for item in 0..WINDOW_ITEMS_MAX as u64 {
            assert_eq!(window.first(), Ok(Some(&item)));
            window.remove(&item);
        }
        assert_eq!(window.first(), Err(&(WINDOW_ITEMS_MAX as u64)));
    }

    #[test]
    fn the_window_used_longest_ago_goes_first() {
        let mut ready = ReadyWindows::default();
        let stores = READY_WINDOWS_MAX as u64 + 1;
        for store in 0..stores {
            ready.open(StoreId(store), Position(0));
        }
        ready.open(StoreId(0), Position(0));
        ready.shrink(StoreId(0));
        assert_eq!(ready.windows.len(), READY_WINDOWS_MAX);
        assert!(ready.windows.contains_key(&StoreId(0)));
        assert!(!ready.windows.contains_key(&StoreId(1)));
    }

    #[test]
    fn a_rollback_forgets_what_changed() {
        let mut ready = ReadyWindows::default();
        for store in [1, 2] {
            ready.open(StoreId(store), Position(0));
            ready.with(StoreId(store), |window| window.extend([Position(5)], None));
        }
        ready.mark();
        ready.with(StoreId(1), |window| window.remove(&Position(5)));
        ready.rollback();
        assert!(!ready.windows.contains_key(&StoreId(1)));
        assert_eq!(ready.items, 1);
    }
}
