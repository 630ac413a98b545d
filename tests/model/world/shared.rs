//! What most worlds have in common with the one that they came from.

use std::cell::OnceCell;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::digest::{Digest, digest};

/// A part of a world, which is copied, and hashed, only when it changes.
#[derive(Debug, Clone, Default)]
pub struct Shared<T>(Rc<Part<T>>);

#[derive(Debug, Clone, Default)]
struct Part<T> {
    it: T,
    digest: OnceCell<Digest>,
}

impl<T> From<T> for Shared<T> {
    fn from(it: T) -> Self {
        Self(Rc::new(Part { it, digest: OnceCell::new() }))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.it
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        let part = Rc::make_mut(&mut self.0);
        part.digest.take();
        &mut part.it
    }
}

impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.get_or_init(|| digest(&self.0.it)).hash(state);
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0) || self.0.it == other.0.it
    }
}

impl<T: Eq> Eq for Shared<T> {}
