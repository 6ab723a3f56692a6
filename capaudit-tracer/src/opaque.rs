//! What other crates hold and wait for, but do not compile.
//!
//! A crate that drops a value compiles the destructors of all that is in it, and a crate that awaits an `async fn`
//! compiles that one and every other that it awaits. Each crate does so anew, and here that would be much of aya, hyper
//! and tokio. Behind a vtable both are compiled once, where the value or the future is made. That costs an allocation:
//! it is for what leaves this crate, not for each record.

use std::{
    borrow::BorrowMut,
    ops::{Deref, DerefMut},
    pin::Pin,
};

/// A future that is compiled where it is made.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A value whose destructor is compiled where the value is made.
pub(crate) struct Opaque<T>(Box<dyn BorrowMut<T>>);

impl<T: 'static> Opaque<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Box::new(value))
    }
}

impl<T> Deref for Opaque<T> {
    type Target = T;

    fn deref(&self) -> &T {
        (*self.0).borrow()
    }
}

impl<T> DerefMut for Opaque<T> {
    fn deref_mut(&mut self) -> &mut T {
        (*self.0).borrow_mut()
    }
}
