//! How a loop is woken, and by whom. A loop takes all that was wished at the beginning of a turn; what is wished during
//! a turn is for the next one, so nobody is answered with what was known before he asked.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

/// Wakes one loop. `T` is what those who wait for a turn are told of it.
#[derive(Debug)]
pub(super) struct Bell<T> {
    wishes: Mutex<Wishes<T>>,
    changed: Notify,
}

/// What was wished since the last turn.
#[derive(Debug)]
pub(super) struct Wishes<T> {
    /// There is news: a turn, unless the loop rests after a failure.
    pub rung: bool,
    /// A person wishes it: a turn, even so.
    pub demanded: bool,
    /// The turn reads everything.
    pub sweep: bool,
    /// Who waits for it.
    pub waiting: Vec<oneshot::Sender<T>>,
}

impl<T> Default for Wishes<T> {
    fn default() -> Self {
        Self { rung: false, demanded: false, sweep: false, waiting: Vec::new() }
    }
}

impl<T> Wishes<T> {
    /// Tells everybody who waits what the turn came to.
    pub fn tell(&mut self, news: &T)
    where
        T: Clone,
    {
        for waiting in self.waiting.drain(..) {
            // Who does not wait any more needs no answer.
            let _ = waiting.send(news.clone());
        }
    }
}

impl<T> Default for Bell<T> {
    fn default() -> Self {
        Self { wishes: Mutex::default(), changed: Notify::new() }
    }
}

impl<T> Bell<T> {
    fn wish(&self, wish: impl FnOnce(&mut Wishes<T>)) {
        wish(&mut self.wishes.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// There is news.
    pub fn ring(&self) {
        self.wish(|wishes| wishes.rung = true);
    }

    /// A person wishes a turn.
    pub fn demand(&self) {
        self.wish(|wishes| wishes.demanded = true);
    }

    /// It is time for a turn that reads everything.
    pub fn sweep(&self) {
        self.wish(|wishes| {
            wishes.rung = true;
            wishes.sweep = true;
        });
    }

    /// A person wishes a turn and waits for it. An answer that never comes (the sender is gone) means that the loop ended.
    pub fn ask(&self, sweep: bool) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.wish(|wishes| {
            wishes.demanded = true;
            wishes.sweep |= sweep;
            wishes.waiting.push(sender);
        });
        receiver
    }

    /// The sweep could not be done in this turn: it is for the next one, whenever that is.
    pub fn sweep_later(&self) {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner).sweep = true;
    }

    /// Whether a turn is wished now by (news, a person).
    pub fn is_rung(&self) -> (bool, bool) {
        let wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        (wishes.rung, wishes.demanded)
    }

    /// Takes all that was wished.
    pub fn take(&self) -> Wishes<T> {
        std::mem::take(&mut *self.wishes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something is wished; returns at once if it was since the last wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_wished_before_the_wait_is_not_lost_and_is_taken_once() {
        let bell = Bell::<u8>::default();
        bell.ring();
        bell.sweep();
        let told = bell.ask(false);
        bell.changed().await;
        assert_eq!(bell.is_rung(), (true, true));
        let mut wishes = bell.take();
        assert!(wishes.rung && wishes.demanded && wishes.sweep);
        assert_eq!(bell.is_rung(), (false, false));
        wishes.tell(&7);
        assert_eq!(told.await, Ok(7));
    }

    #[tokio::test]
    async fn a_sweep_put_off_wakes_nobody() {
        let bell = Bell::<u8>::default();
        bell.sweep_later();
        assert_eq!(bell.is_rung(), (false, false));
        assert!(bell.take().sweep);
    }

    #[tokio::test]
    async fn who_asks_a_loop_that_ends_is_told_by_the_silence() {
        let bell = Bell::<u8>::default();
        let told = bell.ask(true);
        drop(bell);
        assert!(told.await.is_err());
    }
}
