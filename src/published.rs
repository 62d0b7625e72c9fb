//! The one place where the poller and the scrapers meet.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A value that one thread replaces as a whole while others read it.
///
/// The lock is held only to clone or to swap the [`Arc`], never while anybody works with the value: a slow reader keeps
/// its own snapshot alive and delays nobody. A panic of a holder cannot leave a half-written value behind, so a
/// poisoned lock is taken as it is.
#[derive(Debug)]
pub struct Published<T> {
    value: Mutex<Arc<T>>,
    changed: Condvar,
}

impl<T> Published<T> {
    /// A cell that holds `first` until something else is published.
    pub fn new(first: T) -> Self {
        Self { value: Mutex::new(Arc::new(first)), changed: Condvar::new() }
    }

    /// The value published last.
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value; readers see the old one whole or the new one whole.
    pub fn publish(&self, next: T) {
        let next = Arc::new(next);
        let previous = std::mem::replace(&mut *self.value.lock().unwrap_or_else(PoisonError::into_inner), next);
        self.changed.notify_all();
        // Dropped here, outside the lock: freeing a large snapshot takes a while.
        drop(previous);
    }

    /// Waits until something else than `known` is published, or the time is up.
    pub fn wait_for_other(&self, known: &Arc<T>, most: Duration) {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.changed.wait_timeout_while(value, most, |value| Arc::ptr_eq(value, known));
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
    fn who_waits_is_woken_by_another_value() {
        let cell = Arc::new(Published::new(1));
        let known = cell.load();
        let other = Arc::clone(&cell);
        let publisher = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            other.publish(2);
        });
        cell.wait_for_other(&known, Duration::from_secs(60));
        assert_eq!(*cell.load(), 2);
        publisher.join().unwrap();
        cell.wait_for_other(&cell.load(), Duration::from_millis(1));
        cell.wait_for_other(&known, Duration::from_secs(60));
    }

    #[test]
    fn a_panic_while_loaded_does_not_block_anybody() {
        let cell = Arc::new(Published::new(0));
        let other = Arc::clone(&cell);
        let died = std::thread::spawn(move || {
            let _held = other.value.lock();
            panic!("on purpose");
        });
        assert!(died.join().is_err());
        cell.publish(1);
        assert_eq!(*cell.load(), 1);
    }
}
