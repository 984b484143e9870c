//! `reduce`.

use super::Context;
use super::args::Reduce;
use super::compute::watched;
use super::console::print;
use super::failure::Failure;
use super::render::json::snake_case;
use super::render::receipt;
use crate::cluster::{Cluster, scalar, shortened};
use crate::error::Error;
use array::Scalar;
use protocol::message::client::{ReducedValue, ReductionComplete};
use serde_json::{Value, json};
use std::io;

/// `reduce`.
pub fn reduce(context: &Context, reduce: &Reduce) -> Result<(), Failure> {
    let (cluster, Reduce { name, reductions }) = (context.cluster()?, reduce);
    let label = format!("{} of {name}", shortened(reductions));
    let done = watched(cluster, &label, Cluster::own_operations, || cluster.reduce(name, reductions))
        .map_err(|e| Failure::of_expression(reductions, e))?;
    if context.console.is_json() {
        return Ok(print(&format!("{}\n", to_json(&done)?))?);
    }
    let receipt = if context.verbose { receipt::text(&done.receipt) } else { String::new() };
    Ok(print(&format!("{}{receipt}", lines(&done.values, context.verbose)))?)
}

/// A line for each value, the values below each other.
fn lines(values: &[ReducedValue], with_dtype: bool) -> String {
    let width = values.iter().map(|value| value.reduction.chars().count()).max().unwrap_or(0);
    let dtype_width = values.iter().map(|value| value.dtype.name().len()).max().unwrap_or(0);
    let line = |ReducedValue { reduction, dtype, value }: &ReducedValue| match with_dtype {
        true => format!("{reduction:<width$}  {dtype:<dtype_width$}  {value}\n"),
        false => format!("{reduction:<width$}  {value}\n"),
    };
    values.iter().map(line).collect()
}

/// The message as an object with its values as numbers. It is put together as text: NaN and infinities are no JSON.
fn to_json(done: &ReductionComplete) -> Result<String, Failure> {
    let without = ReductionComplete { values: Vec::new(), ..done.clone() };
    let mut head = serde_json::to_value(without).map(snake_case).map_err(io::Error::from)?;
    if let Value::Object(fields) = &mut head {
        fields.remove("values");
    }
    let values: Result<Vec<String>, Error> = done.values.iter().map(value_to_json).collect();
    let head = head.to_string();
    Ok(format!("{},\"values\":[{}]}}", head.strip_suffix('}').unwrap_or(&head), values?.join(",")))
}

fn value_to_json(value: &ReducedValue) -> Result<String, Error> {
    let number = number(scalar(value)?);
    Ok(format!("{{\"reduction\":{},\"dtype\":\"{}\",\"value\":{number}}}", json!(value.reduction), value.dtype))
}

fn number(scalar: Scalar) -> String {
    let float = match scalar {
        Scalar::Float32(value) => f64::from(value),
        Scalar::Float64(value) => value,
        Scalar::Bool(_) | Scalar::Int32(_) | Scalar::Int64(_) => 0.0,
    };
    match float {
        _ if float.is_nan() => "NaN".to_string(),
        f64::INFINITY => "Infinity".to_string(),
        f64::NEG_INFINITY => "-Infinity".to_string(),
        _ => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use array::DType;
    use protocol::message::client::Receipt;

    fn value(reduction: &str, dtype: DType, value: &str) -> ReducedValue {
        ReducedValue { reduction: reduction.to_string(), dtype, value: value.to_string() }
    }

    fn done(values: Vec<ReducedValue>) -> ReductionComplete {
        let receipt = Receipt::default();
        let (array_id, handle) = ("a".to_string(), "a@v1".to_string());
        ReductionComplete {
            array_id,
            handle,
            values,
            elements: 3,
            segments: 1,
            redispatched: 0,
            elapsed_us: 9,
            receipt,
        }
    }

    #[test]
    fn values_stand_below_each_other() {
        let values = [value("sum(größe)", DType::Float64, "1.25"), value("any(x)", DType::Bool, "true")];
        assert_eq!(lines(&values, false), "sum(größe)  1.25\nany(x)      true\n");
        assert_eq!(lines(&values, true), "sum(größe)  float64  1.25\nany(x)      bool     true\n");
    }

    #[test]
    fn programs_get_numbers_with_all_their_digits() {
        let values = [
            (DType::Int64, "9223372036854775807", "9223372036854775807"),
            (DType::Float64, "0.1", "0.1"),
            (DType::Float32, "3e38", "3e38"),
            (DType::Float64, "NaN", "NaN"),
            (DType::Float64, "inf", "Infinity"),
            (DType::Float32, "-inf", "-Infinity"),
            (DType::Bool, "true", "true"),
        ];
        for (dtype, text, expected) in values {
            assert_eq!(number(scalar(&value("sum(x)", dtype, text)).unwrap()), expected);
        }
        let json =
            to_json(&done(vec![value("sum(`\"`)", DType::Int64, "7"), value("all(x)", DType::Bool, "false")])).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["array_id"], &json["receipt"]["bytes_read"], &json["elements"]),
            (&json!("a"), &json!(0), &json!(3))
        );
        assert_eq!(json["values"][0], json!({"reduction": "sum(`\"`)", "dtype": "int64", "value": 7}));
        assert_eq!(json["values"][1]["value"], json!(false));
        assert!(to_json(&done(vec![value("sum(x)", DType::Int64, "1.5")])).is_err());
    }
}
