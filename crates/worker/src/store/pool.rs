//! Memory that several owners in one process share.

use protocol::size::format_size;
use protocol::{ErrorCode, WireError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes, for everybody who has an [`Account`].
#[derive(Debug)]
pub struct Pool {
    limit: u64,
    taken: AtomicU64,
    /// What to do when it is empty, for people.
    advice: &'static str,
}

impl Pool {
    /// A pool of `limit` bytes. `advice` ends the sentence that refuses more of them.
    pub fn new(limit: u64, advice: &'static str) -> Arc<Pool> {
        Arc::new(Pool { limit, taken: AtomicU64::new(0), advice })
    }

    /// Its size.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// How much of it is in use.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// One owner's part of a [`Pool`]; it goes back when this is dropped.
#[derive(Debug)]
pub struct Account {
    pool: Arc<Pool>,
    bytes: AtomicU64,
}

impl Account {
    /// An account without a byte.
    pub fn open(pool: &Arc<Pool>) -> Account {
        Account { pool: pool.clone(), bytes: AtomicU64::new(0) }
    }

    /// Makes it so many bytes, if the pool has them.
    ///
    /// # Errors
    /// `InsufficientMemory`, with the sizes; the account stays as it was.
    pub fn try_set(&self, bytes: u64) -> Result<(), WireError> {
        let had = self.bytes.load(Ordering::Relaxed);
        if bytes <= had {
            self.set(bytes);
            return Ok(());
        }
        let more = bytes - had;
        let grow = |taken: u64| taken.checked_add(more).filter(|taken| *taken <= self.pool.limit);
        match self.pool.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow) {
            Ok(_) => {
                self.bytes.store(bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(taken) => {
                let why = format!(
                    "{} asked for, {} free of {}; {}",
                    format_size(more),
                    format_size(self.pool.limit.saturating_sub(taken)),
                    format_size(self.pool.limit),
                    self.pool.advice
                );
                Err(WireError::new(ErrorCode::InsufficientMemory, why))
            }
        }
    }

    /// Bytes that the pool has for anybody.
    pub fn pool_free(&self) -> u64 {
        self.pool.limit.saturating_sub(self.pool.taken())
    }

    /// Makes it so many bytes, which are in use already.
    pub fn set(&self, bytes: u64) {
        let had = self.bytes.swap(bytes, Ordering::Relaxed);
        if bytes > had {
            self.pool.taken.fetch_add(bytes - had, Ordering::Relaxed);
        } else {
            self.pool.taken.fetch_sub(had - bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_the_others_lack_until_it_is_given_back() {
        let pool = Pool::new(100, "wait");
        let (a, b) = (Account::open(&pool), Account::open(&pool));
        a.try_set(60).unwrap();
        b.try_set(40).unwrap();
        let error = b.try_set(41).unwrap_err();
        assert_eq!(error.code, ErrorCode::InsufficientMemory);
        assert!(error.message.contains("0 B free of 100 B; wait"), "{error}");
        assert_eq!(pool.taken(), 100);
        a.set(80); // in use already, whatever the limit
        assert_eq!((pool.taken(), a.pool_free()), (120, 0));
        a.set(10);
        b.try_set(90).unwrap();
        drop(a);
        assert_eq!(pool.taken(), 90);
        b.try_set(100).unwrap();
        drop(b);
        assert_eq!(pool.taken(), 0);
    }
}
