//! Reductions: no result is kept. One worker reduces each segment, of a checked source, and tells what is known of it; the master
//! merges that in the order of the segments, in the fixed tree of `array::reduction`, so that no bit depends on who did what.

use super::{Becomes, Cluster};
use crate::cluster::catalog::handle_of;
use array::reduction::Tree;
use protocol::message::client::{ReducedValue, ReductionComplete};
use protocol::message::worker::ReducedSegment;
use protocol::{CopyId, ErrorCode, VersionId, WireError, WorkerId};

impl Cluster {
    /// A worker has reduced a segment.
    pub(super) fn on_segment_reduced(&mut self, worker: &WorkerId, version: VersionId, reduced: &ReducedSegment) {
        let copy = CopyId(version, reduced.0);
        let Some(running) = self.operations.get_mut(&copy.version()) else { return };
        let Some(work) = running.works.get_mut(copy.segment() as usize) else { return };
        let Some(partials) = reduced.partials(&running.plan.program.reductions()) else {
            let text = "what it says of a segment is not what was asked for";
            return self.on_segment_failed(worker, copy, None, WireError::new(ErrorCode::Internal, text));
        };
        work.tasks.remove(worker);
        work.partials = Some(partials);
        self.note_progress();
        if let Err(error) = self.advance_segment(copy.version(), copy.segment()) {
            self.end_operation(copy.version(), Err(error));
        }
    }

    /// Ends a reduction whose segments are all reduced.
    pub(super) fn end_reduction(&mut self, id: VersionId) {
        protocol::fault_point!(ReductionNotTold);
        let running = &self.operations[&id];
        debug_assert_eq!(running.becomes, Becomes::Values);
        let plan = &running.plan;
        let reductions = plan.program.reductions();
        let mut trees: Vec<Tree> = reductions.iter().map(|(reducer, dtype)| Tree::new(*reducer, *dtype)).collect();
        let mut works = running.works.iter();
        let is_backwards = planted::bug!(PartialsMergedBackwards) && running.redispatched > 0;
        let works = std::iter::from_fn(|| if is_backwards { works.next_back() } else { works.next() });
        for partials in works.filter_map(|work| work.partials.as_ref()) {
            trees.iter_mut().zip(partials).for_each(|(tree, partial)| tree.push(partial));
            if planted::bug!(PartialMergedTwice) && running.redispatched > 0 {
                trees.iter_mut().zip(partials).for_each(|(tree, partial)| tree.push(partial));
            }
        }
        let finished = trees.into_iter().zip(&plan.reductions).map(|(tree, text)| {
            let value = tree.finish().finish().map_err(|error| (text, error))?;
            Ok(ReducedValue { reduction: text.clone(), dtype: value.dtype(), value: value.to_string() })
        });
        let values: Result<Vec<ReducedValue>, (&String, array::ReductionError)> = finished.collect();
        let result = match values {
            Ok(values) => Ok(ReductionComplete {
                array_id: plan.array_name.clone(),
                handle: handle_of(&self.catalog, plan.inputs[0]),
                values,
                elements: plan.grid.len(),
                segments: running.segments(),
                redispatched: running.redispatched,
                elapsed_us: self.now.elapsed.saturating_sub(running.started).as_micros() as u64,
                receipt: running.receipt(),
            }),
            Err((text, error)) => {
                let message = format!("{text} of '{}': {error}", plan.array_name);
                Err(WireError::new(ErrorCode::BadElement, message).array(plan.array_name.clone()))
            }
        };
        self.end_with(id, result.map(Into::into));
    }
}
