//! Handles: a place and a generation, so that a stale handle is recognised and never followed.

use coverslip_base::error::{Result, error};
use coverslip_base::memory::grow;
use coverslip_base::sync::{Arc, PoisonError, RwLock};

struct Entry<T> {
    generation: u32,
    object: Option<Arc<T>>,
}

/// The living objects of one kind, in the whole process.
pub(super) struct Registry<T> {
    what: &'static str,
    /// Set in the handles of this kind, so that a runtime's is never taken for a slide's.
    kind: u32,
    entries: RwLock<Vec<Entry<T>>>,
}

/// The most objects of one kind at a time.
const MAX_OBJECTS: usize = 4096;

impl<T> Registry<T> {
    pub(super) fn new(what: &'static str, kind: u32) -> Registry<T> {
        Registry { what, kind: kind << 24, entries: RwLock::new(Vec::new()) }
    }

    /// Keeps an object; gives its handle.
    pub(super) fn insert(&self, object: Arc<T>) -> Result<u64> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let place = entries.iter().position(|entry| entry.object.is_none()).unwrap_or(entries.len());
        if place == MAX_OBJECTS {
            return Err(error!(LIMIT_REACHED, "{MAX_OBJECTS} {}s are open in this process: close some", self.what));
        }
        if place == entries.len() {
            // All the room at once: the first runtime takes it, while nobody submits.
            grow(&mut entries, MAX_OBJECTS)?;
            entries.push(Entry { generation: 0, object: None });
        }
        let entry = &mut entries[place];
        // Never 0, so that no handle is.
        entry.generation = (entry.generation % (u32::MAX >> 1)) + 1;
        entry.object = Some(object);
        Ok(u64::from(entry.generation) << 32 | u64::from(place as u32 | self.kind))
    }

    /// The object of a handle.
    pub(super) fn get(&self, handle: u64) -> Result<Arc<T>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries
            .get((handle as u32 ^ self.kind) as usize)
            .filter(|entry| u64::from(entry.generation) == handle >> 32)
            .and_then(|entry| entry.object.clone())
            .ok_or_else(|| self.stale(handle))
    }

    /// Ends a handle and gives its object.
    pub(super) fn remove(&self, handle: u64) -> Result<Arc<T>> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries
            .get_mut((handle as u32 ^ self.kind) as usize)
            .filter(|entry| u64::from(entry.generation) == handle >> 32)
            .and_then(|entry| entry.object.take())
            .ok_or_else(|| self.stale(handle))
    }

    /// Ends every handle whose object `over` picks. What an object holds is given back while nobody waits for the lock.
    pub(super) fn remove_where(&self, over: impl Fn(&T) -> bool) {
        while self.remove_one(&over).is_some() {}
    }

    fn remove_one(&self, over: &impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.iter_mut().find(|entry| entry.object.as_deref().is_some_and(over))?.object.take()
    }

    fn stale(&self, handle: u64) -> coverslip_base::error::Error {
        error!(INVALID_HANDLE, "{handle:#x} is no open {}: it was closed, or never opened", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_handle_is_refused_although_its_place_is_taken_again() {
        let registry = Registry::new("thing", 1);
        let first = registry.insert(Arc::new(1)).unwrap();
        assert_ne!(first, 0);
        registry.remove(first).unwrap();
        let second = registry.insert(Arc::new(2)).unwrap();
        assert_eq!(first as u32, second as u32, "the same place");
        assert_eq!(registry.get(first).unwrap_err().code, coverslip_plugin_abi::INVALID_HANDLE);
        assert_eq!(*registry.get(second).unwrap(), 2);
        assert!(registry.remove(first).is_err());
        assert!(registry.get(0).is_err() && registry.get(u64::MAX).is_err());
    }
}

#[cfg(loom)]
#[cfg(test)]
mod models {
    use super::*;
    use crate::every_order::every_order;
    use coverslip_base::sync::thread;

    #[test]
    fn a_handle_leads_to_its_own_object_or_to_none() {
        every_order(None, || {
            let registry = Arc::new(Registry::new("thing", 1));
            let first = registry.insert(Arc::new(1)).unwrap();
            let other = thread::spawn({
                let registry = registry.clone();
                move || {
                    registry.remove(first).unwrap();
                    registry.insert(Arc::new(2)).unwrap()
                }
            });
            assert!(registry.get(first).is_ok_and(|found| *found == 1) || registry.get(first).is_err());
            let second = other.join().unwrap();
            assert!(registry.get(first).is_err());
            assert_eq!(*registry.get(second).unwrap(), 2);
        });
    }

    #[test]
    fn of_two_who_end_a_handle_one_gets_the_object() {
        every_order(Some(3), || {
            let registry = Arc::new(Registry::new("thing", 1));
            let handle = registry.insert(Arc::new(1)).unwrap();
            let enders = [(); 2].map(|()| {
                let registry = registry.clone();
                thread::spawn(move || registry.remove(handle).is_ok())
            });
            registry.remove_where(|found| *found == 2);
            assert_eq!(enders.map(|ender| usize::from(ender.join().unwrap())).iter().sum::<usize>(), 1);
        });
    }

    #[test]
    fn two_who_begin_get_two_handles() {
        every_order(Some(3), || {
            let registry = Arc::new(Registry::new("thing", 1));
            let beginners = [1, 2].map(|value| {
                let registry = registry.clone();
                thread::spawn(move || (value, registry.insert(Arc::new(value)).unwrap()))
            });
            for (value, handle) in beginners.map(|beginner| beginner.join().unwrap()) {
                assert_eq!(*registry.get(handle).unwrap(), value);
            }
        });
    }
}
