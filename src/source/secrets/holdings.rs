//! The Secrets that a source holds, and which of its selectors brought each of them.
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

/// The selectors from this number on are not told apart: they are listed and never watched.
const SELECTORS_TOLD_APART: usize = 63;

/// What stands for a selector among those that brought a Secret.
pub(super) fn bit(selector: usize) -> u64 {
    1 << selector.min(SELECTORS_TOLD_APART)
}

/// What is held, sorted by namespace and name.
#[derive(Default)]
pub(super) struct Holdings {
    held: Held,
    /// In step with `held`: a bit for each selector that brought it.
    selectors: Vec<u64>,
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

    /// Takes over what lists brought, by selector, instead of what was held before. A Secret stays with those of its selectors
    /// whose [`bit`]s are `kept`, and not without any. Of one Secret the newest state stays.
    pub(super) fn replace(
        &mut self,
        listed: Vec<(usize, Arc<SecretObservation>)>,
        kept: impl Fn(&SecretObservation) -> u64,
    ) {
        let Self { held, selectors } = std::mem::take(self);
        let mut all: Vec<(u64, Arc<SecretObservation>)> =
            listed.into_iter().map(|(selector, observation)| (bit(selector), observation)).collect();
        let before =
            selectors.into_iter().zip(held).map(|(bits, observation)| (bits & kept(&observation), observation));
        all.extend(before.filter(|(bits, _)| *bits != 0));
        if !all.is_sorted_by(|(_, a), (_, b)| (&a.namespace, &a.name) <= (&b.namespace, &b.name)) {
            all.sort_by_cached_key(|(_, observation)| (observation.namespace.clone(), observation.name.clone()));
        }
        let mut next = Self { held: Held::with_capacity(all.len()), selectors: Vec::with_capacity(all.len()) };
        for (bits, observation) in all {
            match (next.held.last_mut(), next.selectors.last_mut()) {
                (Some(last), Some(selectors))
                    if (&last.namespace, &last.name) == (&observation.namespace, &observation.name) =>
                {
                    *selectors |= bits;
                    if is_before(last.version, observation.version) {
                        *last = observation;
                    }
                }
                _ => {
                    next.held.push(observation);
                    next.selectors.push(bits);
                }
            }
        }
        next.held.shrink_to_fit();
        next.selectors.shrink_to_fit();
        *self = next;
    }

    /// A stream saw the Secret in this state. Whether something changed.
    pub(super) fn put(&mut self, selector: usize, observation: Arc<SecretObservation>) -> bool {
        match self.find(&observation.namespace, &observation.name) {
            Ok(at) => {
                let (Some(known), Some(selectors)) = (self.held.get_mut(at), self.selectors.get_mut(at)) else {
                    return false;
                };
                *selectors |= bit(selector);
                if known.version == observation.version || is_before(observation.version, known.version) {
                    return false;
                }
                *known = observation;
                true
            }
            Err(at) => {
                self.held.insert(at, observation);
                self.selectors.insert(at, bit(selector));
                true
            }
        }
    }

    /// Where the Secrets of a namespace stand.
    fn of_namespace(&self, namespace: &str) -> std::ops::Range<usize> {
        let start = self.held.partition_point(|known| &*known.namespace < namespace);
        let end = self.held.partition_point(|known| &*known.namespace <= namespace);
        start..end
    }

    /// Whether anything of a namespace is held.
    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        !self.of_namespace(namespace).is_empty()
    }

    /// A namespace gives other labels to its tokens. Whether something changed.
    pub(super) fn relabel(&mut self, namespace: &str, labels: &str) -> bool {
        let range = self.of_namespace(namespace);
        let changed = !range.is_empty();
        for secret in self.held.get_mut(range).unwrap_or_default() {
            *secret = Arc::new(secret.with_namespace_labels(labels));
        }
        changed
    }

    /// A namespace is looked at no more, but for Secrets with these names. Whether something changed.
    pub(super) fn leave_namespace(&mut self, namespace: &str, stays: impl Fn(&str) -> bool) -> bool {
        let mut changed = false;
        for at in self.of_namespace(namespace).rev() {
            if self.held.get(at).is_some_and(|secret| !stays(&secret.name)) {
                self.held.remove(at);
                self.selectors.remove(at);
                changed = true;
            }
        }
        changed
    }

    /// A stream saw that it no longer matches the Secret, or that it has nothing to show. Whether something changed.
    pub(super) fn remove(&mut self, selector: usize, namespace: &str, name: &str) -> bool {
        let Ok(at) = self.find(namespace, name) else { return false };
        let Some(selectors) = self.selectors.get_mut(at) else { return false };
        *selectors &= !bit(selector);
        let gone = *selectors == 0;
        if gone {
            self.held.remove(at);
            self.selectors.remove(at);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::ExtraLength;

    fn secret(name: &str, version: u64) -> Arc<SecretObservation> {
        let (tokens, errors, extra) = ([].into(), [].into(), ExtraLength::default());
        Arc::new(SecretObservation {
            namespace: "ns".into(),
            name: name.into(),
            tokens,
            errors,
            kept: [].into(),
            version,
            extra,
        })
    }

    fn state(holdings: &Holdings) -> Vec<(String, u64)> {
        assert_eq!(holdings.held.len(), holdings.selectors.len());
        assert!(holdings.held.is_sorted_by(|a, b| a.name < b.name));
        holdings.held.iter().map(|secret| (secret.name.to_string(), secret.version)).collect()
    }

    #[test]
    fn lists_of_several_streams_are_merged_and_the_newest_state_stays() {
        let mut holdings = Holdings::default();
        holdings
            .replace(vec![(0, secret("b", 5)), (0, secret("c", 1)), (1, secret("a", 2)), (1, secret("b", 4))], |_| 0);
        assert_eq!(state(&holdings), [("a".into(), 2), ("b".into(), 5), ("c".into(), 1)]);
        assert!(!holdings.remove(0, "ns", "b"));
        assert!(holdings.remove(1, "ns", "b"));
        assert_eq!(state(&holdings), [("a".into(), 2), ("c".into(), 1)]);
    }

    #[test]
    fn what_is_kept_stays_with_the_selectors_that_brought_it() {
        let mut holdings = Holdings::default();
        let of = |known: &SecretObservation| if &*known.name == "b" { bit(0) | bit(1) } else { 0 };
        holdings.replace(vec![(0, secret("a", 1)), (0, secret("b", 2)), (1, secret("b", 2))], |_| 0);
        holdings.replace(vec![(0, secret("c", 3))], of);
        assert_eq!(state(&holdings), [("b".into(), 2), ("c".into(), 3)]);
        assert!(!holdings.remove(0, "ns", "b"));
        assert!(holdings.remove(1, "ns", "b"));
    }

    #[test]
    fn a_selector_that_was_not_listed_keeps_what_it_brought_and_no_more() {
        let mut holdings = Holdings::default();
        holdings
            .replace(vec![(0, secret("a", 1)), (0, secret("b", 2)), (1, secret("b", 2)), (1, secret("c", 3))], |_| 0);
        // The list of the first one has come, without `a` and `b`; that of the second one has failed.
        holdings.replace(vec![(0, secret("d", 4))], |_| bit(1));
        assert_eq!(state(&holdings), [("b".into(), 2), ("c".into(), 3), ("d".into(), 4)]);
        assert!(holdings.remove(1, "ns", "b"), "the first one brings it no more");
    }

    #[test]
    fn events_of_two_selectors_in_any_order() {
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
    fn selectors_that_are_not_told_apart_keep_what_they_brought() {
        let mut holdings = Holdings::default();
        holdings.replace(vec![(0, secret("a", 1)), (80, secret("a", 1)), (90, secret("b", 1))], |_| 0);
        assert!(!holdings.remove(0, "ns", "a"));
        assert_eq!(state(&holdings).len(), 2);
    }
}
