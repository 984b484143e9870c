//! `explain`.

use super::Context;
use super::args::Explain;
use super::failure::Failure;
use super::render::receipt;
use super::render::table::grouped;
use crate::error::Error;
use protocol::message::client::Explanation;
use protocol::size::format_size;

/// `explain`. An operation that would be refused is explained, and then refused.
pub fn explain(context: &Context, explain: &Explain) -> Result<(), Failure> {
    let Explain { name, operation } = explain;
    let refused = |e| Failure::of_expression(operation, e);
    let explanation = context.cluster()?.explain(name, operation).map_err(refused)?;
    context.console.answer(&explanation, || text(&explanation))?;
    match explanation.refusal {
        Some(refusal) => Err(refused(Error::Refused(refusal))),
        None => Ok(()),
    }
}

fn text(explanation: &Explanation) -> String {
    let Explanation { steps, reads, dtype, elements, segments, copies, replicas, estimate, .. } = explanation;
    let steps: String = steps.iter().map(|step| format!("  {step}\n")).collect();
    let reads = if reads.is_empty() { "nothing".to_string() } else { reads.join(", ") };
    let of = format!("{} elements in {} segments", grouped(*elements), grouped((*segments).into()));
    let gives = match dtype {
        Some(dtype) => format!("{dtype}, {of}, {copies} copies ({replicas})"),
        None => format!("values of {of}"),
    };
    let bytes = [estimate.bytes_read, estimate.bytes_written, estimate.network_bytes].map(format_size);
    let [read, written, network] = bytes;
    let workers = receipt::workers(estimate).render("no worker would compute anything");
    format!(
        "{steps}reads  {reads}\ngives  {gives}\ntakes  {read} read, {written} written, {network} from worker to worker\n{workers}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use array::DType;
    use protocol::message::client::Receipt;

    #[test]
    fn what_would_be_done_is_told() {
        let mut explanation = Explanation {
            array_id: "a".to_string(),
            steps: vec!["#0 float64 input 0".to_string(), "#1 float64 sin #0".to_string()],
            reads: vec!["a@v1".to_string()],
            dtype: Some(DType::Float64),
            elements: 10_000,
            segments: 3,
            copies: 2,
            replicas: "recomputed".to_string(),
            estimate: Receipt { bytes_read: 64, bytes_written: 32, ..Receipt::default() },
            refusal: None,
        };
        let expected = "  #0 float64 input 0\n  #1 float64 sin #0\nreads  a@v1\n\
                        gives  float64, 10 000 elements in 3 segments, 2 copies (recomputed)\n\
                        takes  64 B read, 32 B written, 0 B from worker to worker\n\
                        no worker would compute anything\n";
        assert_eq!(text(&explanation), expected);
        explanation.dtype = None;
        explanation.reads.clear();
        let text = text(&explanation);
        assert!(text.contains("reads  nothing\ngives  values of 10 000 elements in 3 segments\n"), "{text}");
    }
}
