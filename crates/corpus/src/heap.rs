//! How much memory a piece of work held at once, on its own thread.
//!
//! Not here: what is too much. A test or a fuzz target makes `Heap` its allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes this thread allocated and did not give back; wraps below zero when it gives back
    /// what others allocated.
    static HELD: Cell<usize> = const { Cell::new(0) };
    /// The most that `HELD` came to since `peak_bytes` began.
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting.
pub struct Heap;

// SAFETY: every call is passed on unchanged; counting touches thread-local numbers alone, which
// need no allocation and no destructor.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // Both blocks may exist for a moment.
        grow(bytes);
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, bytes) }
    }
}

fn grow(bytes: usize) {
    let held = HELD.get().wrapping_add(bytes);
    HELD.set(held);
    // As a signed number, so that what others allocated does not pass for a large amount.
    if (held as isize) > (PEAK.get() as isize) {
        PEAK.set(held);
    }
}

/// The most bytes that `work` held at once beyond what was held before; 0 unless the program's
/// allocator is `Heap`.
pub fn peak_bytes(work: impl FnOnce()) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    work();
    PEAK.get().wrapping_sub(before)
}
