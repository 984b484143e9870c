//! Clients that ask for what clients ask for.

use super::desk::{Desk, zeros};
use arbitrary::{Result, Unstructured};
use array::DType;
use protocol::message::client::*;
use protocol::message::{Body, Hello, Ping, Role};
use protocol::{CopyId, Message, VersionId};

/// Few names, so that they meet.
pub const NAMES: [&str; 3] = ["a", "b", "c"];

/// Of no elements, of one, of one segment and of several.
const SHAPES: [&[u64]; 6] = [&[], &[0], &[4], &[5000], &[9000, 2], &[3, 0, 5]];

const OPERATIONS: [&str; 8] =
    ["example1", "example2", "x + 1", "x * b", "where(x > 0, sqrt(x) * log(x), c)", "float32(x)", "x //", "1 // x"];

const REDUCTIONS: [&str; 4] = ["sum(x)", "max(x), argmin(x * b)", "std(x), any(x > 0)", "sum(sum(x))"];

const GENERATORS: [&str; 4] = ["zeros(5000)", "arange(7)", "uniform(0, 1, (100, 100))", "full((), 2)"];

impl Desk {
    /// A client introduces itself, in a session that it says it has.
    pub fn hello(&mut self, slot: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let at = input.int_in_range(0..=7)?;
        let session = self.known.sessions.get(at).copied();
        self.say(slot, Message::new(Hello { session, ..Hello::new(Role::Client) }));
        Ok(())
    }

    /// A client asks for something.
    pub fn ask(&mut self, slot: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let body = self.request(input)?;
        let last = &mut self.slots[slot].last_id;
        // Mostly a new request, sometimes the last number again.
        *last += u64::from(!input.ratio(1, 8)?);
        let mut message = Message::request(*last, body);
        message.head.timeout_ms = *input.choose(&[None, None, Some(0), Some(100), Some(5000), Some(u64::MAX)])?;
        message.head.acked_below = input.ratio(1, 8)?.then(|| self.slots[slot].last_id);
        self.say(slot, message);
        Ok(())
    }

    fn request(&mut self, input: &mut Unstructured<'_>) -> Result<Body> {
        let array_id = input.choose(&NAMES)?.to_string();
        let version = VersionId(self.version(input)?);
        Ok(match input.int_in_range(0..=21)? {
            0..=3 => {
                let dtype = *input.choose(&[DType::Float64, DType::Int32, DType::Bool, DType::Complex128])?;
                let shape = input.choose(&SHAPES)?.to_vec();
                CreateArray { array_id, dtype, shape, replace: input.arbitrary()? }.into()
            }
            4..=6 => {
                let operation = input.choose(&OPERATIONS)?.to_string();
                let into = input.ratio(1, 2)?.then(|| "b".to_string());
                let (replace, no_wait, inline) = (input.arbitrary()?, input.arbitrary()?, input.arbitrary()?);
                ApplyOperation { array_id, operation, into, replace, no_wait, inline }.into()
            }
            7 | 8 => ReduceArray { array_id, reductions: input.choose(&REDUCTIONS)?.to_string() }.into(),
            9 => {
                let (generator, seed) = (input.choose(&GENERATORS)?.to_string(), input.arbitrary()?);
                GenerateArray { array_id, generator, dtype: None, seed, replace: input.arbitrary()? }.into()
            }
            10 => Explain { array_id, operation: input.choose(&OPERATIONS)?.to_string() }.into(),
            11 | 12 => GetResult { array_id, array: input.arbitrary()?, range: None }.into(),
            13 => DeleteArray { array_id }.into(),
            14 => WaitOperation { operation: version }.into(),
            15 => CancelOperation { operation: version }.into(),
            16 => AbandonArray { version }.into(),
            17 => {
                let avoid = if input.arbitrary()? { vec!["w1".into()] } else { vec![] };
                ReplanWrite { version, segments: vec![input.int_in_range(0..=2)?], avoid }.into()
            }
            18 => {
                let pin = self.known.pins.back().copied().unwrap_or(1);
                if input.arbitrary()? { RenewPin { pin }.into() } else { Unpin { pin }.into() }
            }
            19 => DescribeArray { array_id }.into(),
            20 => match input.int_in_range(0..=5)? {
                0 => ListArrays {}.into(),
                1 => ListWorkers {}.into(),
                2 => ListOperations {}.into(),
                3 => ListIncidents {}.into(),
                4 => WaitWorkers { count: input.int_in_range(0..=4)? }.into(),
                _ => Status {}.into(),
            },
            _ => Ping {}.into(),
        })
    }

    /// A version that the master has named, or another one.
    pub fn version(&self, input: &mut Unstructured<'_>) -> Result<u64> {
        let from_the_last = input.int_in_range(0..=7)?;
        let known = self.known.versions.iter().rev().nth(from_the_last);
        Ok(known.copied().unwrap_or(from_the_last as u64))
    }

    /// A client says that what it planned last is written.
    pub fn finish_upload(&mut self, slot: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let Some(plan) = self.known.plans.back().cloned() else { return Ok(()) };
        let reserved = self.known.reserved.iter().filter(|reserved| reserved.version == plan.version);
        let sizes: Vec<(u32, u64)> = reserved.flat_map(|reserved| reserved.segments.clone()).collect();
        let wrong = u32::from(input.ratio(1, 8)?);
        let segment = |PlannedWrite(segment, workers): &PlannedWrite| {
            let bytes = sizes.iter().find(|(at, _)| at == segment).map_or(0, |(_, bytes)| *bytes);
            let crc32c = zeros(CopyId(plan.version, *segment), bytes.min(1 << 20)).crc32c() ^ wrong;
            let named = workers.iter().filter_map(|at| Some(plan.workers.get(*at as usize)?.worker.clone()));
            WrittenSegment(*segment, crc32c, named.collect())
        };
        let segments = plan.segments.iter().map(segment).collect();
        self.slots[slot].last_id += 1;
        let id = self.slots[slot].last_id;
        self.say(slot, Message::request(id, CommitArray { version: plan.version, segments }));
        Ok(())
    }
}
