//! When a master is taken for one of the original system, and how [`Original`](crate::original::Original) is served then.
//!
//! A worker registers at level 2. The original's masters ignore what level 2 adds and answer nothing, so no answer within
//! [`HELLO_TIMEOUT`] means that the very same connection goes on at level 1. It may still be one of ours that is slow:
//! whatever it says on level 2 then ends the connection, and the worker registers anew. A worker that has data of a
//! cluster waits for the master of that cluster and for no other.

use super::link::{ORIGINALS_TAKE_NOTHING, QUIET_MAX, State};
use super::{Agent, Effect, ExitReason};
use crate::compute::Computed;
use crate::original::{self, Heard};
use crate::store::Store;
use log::info;
use protocol::limits::HELLO_TIMEOUT;
use std::time::Duration;

impl Agent {
    /// REGISTER_WORKER was not answered in time.
    pub(super) fn on_no_answer(&mut self, now: Duration, store: &mut Store) {
        let several = self.settings.masters.len() > 1;
        // Of several masters another one may be in office and answer at once: all of them are asked before that.
        if !self.may_serve_original(store) || (several && !self.link.is_round_over) {
            return self.fail(now, store, "it did not answer REGISTER_WORKER within 1 s");
        }
        if self.link.may_complain(now) {
            info!(
                "the master at {} did not answer REGISTER_WORKER within 1 s; it may be one of the original system, so \
                 the connection stays open for what it says",
                self.master()
            );
        }
        self.begin_original(store, several.then_some(now + QUIET_MAX));
        self.on_original_time(now, store);
    }

    /// Whether there is nothing here that a master of level 2 may want back.
    fn may_serve_original(&self, store: &Store) -> bool {
        self.cluster.is_none() && store.copies() == 0
    }

    fn begin_original(&mut self, store: &Store, give_up: Option<Duration>) {
        if self.drain_until.is_some() {
            return self.exit_undrained(store, ORIGINALS_TAKE_NOTHING);
        }
        if let State::Registering { give_up: answer_by, .. } = self.link.state {
            self.original.begin(answer_by - HELLO_TIMEOUT);
            self.link.state = State::Original { give_up };
        }
    }

    pub(super) fn on_heard(&mut self, now: Duration, store: &mut Store, link: u64, heard: Heard) {
        if !self.link.is_current(link) {
            return heard.discard(store);
        }
        if let State::Registering { .. } = self.link.state {
            if !heard.is_of_a_master() || !self.may_serve_original(store) {
                heard.discard(store);
                let why = "it speaks as a master of the original system, and this worker waits for its own cluster's";
                return self.fail(now, store, why);
            }
            // It need not be waited for: nobody but an original master says such a thing.
            self.begin_original(store, None);
        }
        match &mut self.link.state {
            State::Original { give_up } => {
                *give_up = None;
                self.step_original(now, store, original::Event::Heard(heard));
            }
            _ => heard.discard(store),
        }
    }

    pub(super) fn on_written(&mut self, now: Duration, store: &mut Store, link: u64) {
        if self.link.is_current(link) {
            self.step_original(now, store, original::Event::Written);
        }
    }

    pub(super) fn on_original_computed(&mut self, now: Duration, store: &mut Store, ended: Vec<Computed>) {
        for computed in ended {
            self.step_original(now, store, original::Event::Computed(computed));
        }
    }

    pub(super) fn on_original_time(&mut self, now: Duration, store: &mut Store) {
        if self.original.next_deadline().is_some_and(|due| now >= due) {
            self.step_original(now, store, original::Event::Tick);
        }
    }

    fn step_original(&mut self, now: Duration, store: &mut Store, event: original::Event) {
        let link = self.link.number;
        for effect in self.original.step(now, store, event) {
            match effect {
                original::Effect::Recognised(flavour) => {
                    info!("the master at {} speaks the original protocol (level 1, {flavour})", self.master());
                    self.link.succeed();
                }
                original::Effect::Write { reply, short } => self.effects.push(Effect::Reply { link, reply, short }),
                original::Effect::Compute(job) => self.effects.push(Effect::Compute(job)),
                original::Effect::GiveUp(why) => self.fail(now, store, &why),
                original::Effect::Shutdown => self.exit(ExitReason::Shutdown),
            }
        }
    }
}
