//! Taking a segment: into the buffer that is kept, and on to the next worker while it comes.

use super::{Connection, End, end_of_frame};
use crate::Serving;
use crate::agent::Event;
use crate::forward::{self, Forwarding};
use crate::lock;
use crate::replies::{Reply, Stored};
use crate::store::{Admission, Grant, Segment, Store, Write};
use array::Buffer;
use log::debug;
use protocol::message::PayloadKind;
use protocol::message::data::DistributeArray;
use protocol::{CopyRecord, ErrorCode, Head, Payload, WireError, fault_point};
use std::sync::{Arc, Mutex};

impl Connection {
    pub(super) fn on_distribute(&mut self, head: Head, distribute: DistributeArray) -> Result<(), End> {
        let Some(payload @ Payload { kind: PayloadKind::Elements(dtype), bytes, crc32c }) = head.payload else {
            self.skip_payload(&head)?;
            let why = "DISTRIBUTE_ARRAY without a payload of elements";
            return self.refuse(&head, WireError::new(ErrorCode::Malformed, why));
        };
        let DistributeArray { version, segment, ticket, forward } = distribute;
        let record = CopyRecord(version, segment, crc32c, bytes);
        let write = Write { copy: record.id(), ticket: &ticket, dtype, bytes, crc32c };
        let admission = lock(&self.shared.store).admit(write);
        let mut forwarding = Forwarding::new(&self.shared.worker, head, record, dtype, ticket, forward);
        let stored = match admission {
            Ok(Admission::Receive(grant)) => self.receive(&payload, grant, &mut forwarding)?,
            Ok(Admission::Held(segment)) => {
                self.skip_payload(forwarding.head())?;
                Ok(segment)
            }
            Err(error) => {
                self.skip_payload(forwarding.head())?;
                Err(error)
            }
        };
        let segment = match stored {
            Ok(segment) => segment,
            Err(error) => return self.refuse(forwarding.head(), error),
        };
        fault_point!(StoredNotReported);
        // Before anybody hears of it from here. A repeated write is told again: the first may not have come so far yet.
        if !self.shared.events.tell(Event::Stored(segment.record())) {
            let ending = WireError::new(ErrorCode::ShuttingDown, "this worker is ending");
            return self.refuse(forwarding.head(), ending);
        }
        fault_point!(ReportedNotAcknowledged);
        debug!("{}stored {}, {bytes} bytes", Serving(&forwarding.head().request), record.id());
        Ok(self.replies.send(Reply::Stored(Stored { forwarding, segment }))?)
    }

    /// Receives a payload straight into the buffer that is kept, and passes it on while it comes.
    fn receive(
        &mut self,
        payload: &Payload,
        grant: Grant,
        forwarding: &mut Forwarding,
    ) -> Result<Result<Arc<Segment>, WireError>, End> {
        let mut receiving = Receiving { store: &self.shared.store, grant: Some(grant) };
        let mut buffer = self.shared.buffers.take(payload.bytes as usize);
        let head = forwarding.head().clone();
        let mut outgoing = forward::begin(&mut self.peers, forwarding);
        let received = self.receiver.read_payload_with(payload, buffer.as_bytes_mut(), |block| {
            fault_point!(SegmentHalfReceived);
            outgoing.write(block);
        });
        received.map_err(|e| end_of_frame(&head, e))?;
        fault_point!(SegmentNotStored);
        let stored = receiving.finish(buffer);
        if stored.is_ok() {
            outgoing.finish();
        }
        Ok(stored)
    }
}

/// A grant that is given back when receiving fails. The buffer must be gone before, so it is made after this.
struct Receiving<'a> {
    store: &'a Mutex<Store>,
    grant: Option<Grant>,
}

impl Receiving<'_> {
    fn finish(&mut self, buffer: Buffer) -> Result<Arc<Segment>, WireError> {
        let grant = self.grant.take().expect("it is finished once");
        lock(self.store).finish(grant, buffer)
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            lock(self.store).abandon(grant);
        }
    }
}
