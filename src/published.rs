//! The one place where the poller and the scrapers meet.

use std::sync::{Arc, Mutex, PoisonError};

/// A value that one thread replaces as a whole while others read it.
///
/// The lock is held only to clone or to swap the [`Arc`], never while anybody works with the value: a slow reader keeps
/// its own snapshot alive and delays nobody. A panic of a holder cannot leave a half-written value behind, so a
/// poisoned lock is taken as it is.
#[derive(Debug)]
pub struct Published<T>(Mutex<Arc<T>>);

impl<T> Published<T> {
    /// A cell that holds `first` until something else is published.
    pub fn new(first: T) -> Self {
        Self(Mutex::new(Arc::new(first)))
    }

    /// The value published last.
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value; readers see the old one whole or the new one whole.
    pub fn publish(&self, next: T) {
        let next = Arc::new(next);
        let previous = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), next);
        // Dropped here, outside the lock: freeing a large snapshot takes a while.
        drop(previous);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_keeps_what_it_loaded() {
        let cell = Published::new(vec![1]);
        let before = cell.load();
        cell.publish(vec![2, 3]);
        assert_eq!((*before).as_slice(), [1]);
        assert_eq!((*cell.load()).as_slice(), [2, 3]);
    }

    #[test]
    fn a_panic_while_loaded_does_not_block_anybody() {
        let cell = Arc::new(Published::new(0));
        let other = Arc::clone(&cell);
        let died = std::thread::spawn(move || {
            let _held = other.0.lock();
            panic!("on purpose");
        });
        assert!(died.join().is_err());
        cell.publish(1);
        assert_eq!(*cell.load(), 1);
    }
}
