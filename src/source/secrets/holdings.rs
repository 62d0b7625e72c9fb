//! The Secrets that a source holds, and which of its streams brought each of them.
//!
//! A Secret that two selectors match comes by both, at different times and in different states. It stays until neither
//! matches any more, and an older state never takes the place of a newer one.

use crate::kubernetes::object::UNORDERED;
use crate::observation::SecretObservation;
use crate::source::Held;
use std::sync::Arc;

/// Whether `one` is certainly a state before `other`.
pub(super) fn is_before(one: u64, other: u64) -> bool {
    one < UNORDERED && other < UNORDERED && one < other
}

/// The streams from this number on are not told apart: they are listed and never watched.
const STREAMS_TOLD_APART: usize = 63;

fn bit(stream: usize) -> u64 {
    1 << stream.min(STREAMS_TOLD_APART)
}

/// What is held, sorted by namespace and name.
#[derive(Default)]
pub(super) struct Holdings {
    held: Held,
    /// In step with `held`: a bit for each stream that brought it.
    streams: Vec<u64>,
}

impl Holdings {
    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    fn find(&self, namespace: &str, name: &str) -> Result<usize, usize> {
        self.held.binary_search_by(|known| (&*known.namespace, &*known.name).cmp(&(namespace, name)))
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<SecretObservation>> {
        self.find(namespace, name).ok().and_then(|at| self.held.get(at))
    }

    /// Takes over what lists brought, instead of all that was held before. Of one Secret the newest state is kept.
    pub(super) fn replace(&mut self, mut listed: Vec<(usize, Arc<SecretObservation>)>) {
        let place = |entry: &(usize, Arc<SecretObservation>)| (entry.1.namespace.clone(), entry.1.name.clone());
        if !listed.is_sorted_by(|(_, a), (_, b)| (&a.namespace, &a.name) <= (&b.namespace, &b.name)) {
            listed.sort_by_cached_key(place);
        }
        let mut next = Self { held: Held::with_capacity(listed.len()), streams: Vec::with_capacity(listed.len()) };
        for (stream, observation) in listed {
            match (next.held.last_mut(), next.streams.last_mut()) {
                (Some(last), Some(streams))
                    if (&last.namespace, &last.name) == (&observation.namespace, &observation.name) =>
                {
                    *streams |= bit(stream);
                    if is_before(last.version, observation.version) {
                        *last = observation;
                    }
                }
                _ => {
                    next.held.push(observation);
                    next.streams.push(bit(stream));
                }
            }
        }
        next.held.shrink_to_fit();
        next.streams.shrink_to_fit();
        *self = next;
    }

    /// A stream saw the Secret in this state. Whether something changed.
    pub(super) fn put(&mut self, stream: usize, observation: Arc<SecretObservation>) -> bool {
        match self.find(&observation.namespace, &observation.name) {
            Ok(at) => {
                let (Some(known), Some(streams)) = (self.held.get_mut(at), self.streams.get_mut(at)) else {
                    return false;
                };
                *streams |= bit(stream);
                if known.version == observation.version || is_before(observation.version, known.version) {
                    return false;
                }
                *known = observation;
                true
            }
            Err(at) => {
                self.held.insert(at, observation);
                self.streams.insert(at, bit(stream));
                true
            }
        }
    }

    /// A stream saw that it no longer matches the Secret, or that it has nothing to show. Whether something changed.
    pub(super) fn remove(&mut self, stream: usize, namespace: &str, name: &str) -> bool {
        let Ok(at) = self.find(namespace, name) else { return false };
        let Some(streams) = self.streams.get_mut(at) else { return false };
        *streams &= !bit(stream);
        let gone = *streams == 0;
        if gone {
            self.held.remove(at);
            self.streams.remove(at);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, version: u64) -> Arc<SecretObservation> {
        let (tokens, errors) = ([].into(), [].into());
        Arc::new(SecretObservation { namespace: "ns".into(), name: name.into(), tokens, errors, version })
    }

    fn state(holdings: &Holdings) -> Vec<(String, u64)> {
        assert_eq!(holdings.held.len(), holdings.streams.len());
        assert!(holdings.held.is_sorted_by(|a, b| a.name < b.name));
        holdings.held.iter().map(|secret| (secret.name.to_string(), secret.version)).collect()
    }

    #[test]
    fn lists_of_several_streams_are_merged_and_the_newest_state_stays() {
        let mut holdings = Holdings::default();
        holdings.replace(vec![(0, secret("b", 5)), (0, secret("c", 1)), (1, secret("a", 2)), (1, secret("b", 4))]);
        assert_eq!(state(&holdings), [("a".into(), 2), ("b".into(), 5), ("c".into(), 1)]);
        assert!(!holdings.remove(0, "ns", "b"));
        assert!(holdings.remove(1, "ns", "b"));
        assert_eq!(state(&holdings), [("a".into(), 2), ("c".into(), 1)]);
    }

    #[test]
    fn events_of_two_streams_in_any_order() {
        let mut holdings = Holdings::default();
        assert!(holdings.put(0, secret("a", 10)));
        // The other stream is behind: its older state changes nothing, and still counts as a match.
        assert!(!holdings.put(1, secret("a", 9)));
        assert_eq!(state(&holdings), [("a".into(), 10)]);
        assert!(!holdings.remove(0, "ns", "a"));
        assert!(holdings.put(1, secret("a", 11)));
        assert!(!holdings.put(1, secret("a", 11)));
        assert!(holdings.remove(1, "ns", "a"));
        assert!(!holdings.remove(1, "ns", "a"));
        assert_eq!(state(&holdings), []);
    }

    #[test]
    fn states_without_an_order_are_taken_as_they_come() {
        let mut holdings = Holdings::default();
        assert!(holdings.put(0, secret("a", UNORDERED | 7)));
        assert!(holdings.put(0, secret("a", UNORDERED | 3)));
        assert!(holdings.put(0, secret("a", 3)));
        assert_eq!(state(&holdings), [("a".into(), 3)]);
    }

    #[test]
    fn streams_that_are_not_told_apart_keep_what_they_brought() {
        let mut holdings = Holdings::default();
        holdings.replace(vec![(0, secret("a", 1)), (80, secret("a", 1)), (90, secret("b", 1))]);
        assert!(!holdings.remove(0, "ns", "a"));
        assert_eq!(state(&holdings).len(), 2);
    }
}
