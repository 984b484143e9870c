//! What a reply of level 1 means.

use super::Created;
use crate::error::Error;
use protocol::level1::Answer;
use protocol::{ErrorCode, WireError};

/// The reply, if it has this status and is about this array. A refusal of a master of ours has a code; of original masters the
/// only one there is says that there is no result.
pub(super) fn expect(doing: &str, answer: Answer, status: &str, name: &str) -> Result<Answer, Error> {
    if answer.array_id.as_ref().is_some_and(|id| id != name) {
        return Err(Error::protocol(doing, format!("its reply is about {:?}", answer.array_id.unwrap_or_default())));
    }
    if answer.status == "error" {
        let code = match (answer.code, status) {
            (Some(code), _) => code,
            (None, "complete") => ErrorCode::UnknownArray,
            (None, _) => ErrorCode::Internal,
        };
        let text = answer.text.unwrap_or_else(|| "the master says that it failed, and not why".to_string());
        return Err(Error::Refused(WireError::new(code, text).array(name)));
    }
    if answer.status != status {
        return Err(Error::protocol(doing, format!("its reply has status {:?}, not {status:?}", answer.status)));
    }
    Ok(answer)
}

/// The elements of a complete result. A Python master has none to give, and says a text instead.
pub(super) fn elements(doing: &str, answer: Answer) -> Result<Vec<f64>, Error> {
    match (answer.values, answer.text) {
        (Some(values), _) => Ok(values),
        (None, Some(text)) => {
            let sentence = format!("the master says {text:?}; it gives no results, as the original's Python master");
            Err(Error::Refused(WireError::new(ErrorCode::Unsupported, sentence)))
        }
        (None, None) => Err(Error::protocol(doing, "its reply has no result")),
    }
}

/// Compares a result with what was stored. Original masters call complete what there is when they have waited long enough.
pub(super) fn check_length(doing: &str, found: u64, stored: Option<Created>) -> Result<(), Error> {
    match stored {
        Some(stored) if stored.len != found => {
            let what = format!(
                "it calls {found} elements complete where {} were stored, so the answer is not: its workers have failed or \
                 are slow (original masters wait for 10 s), or somebody has replaced the array; apply again, then get",
                stored.len
            );
            Err(Error::protocol(doing, what))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use array::DType;

    fn answer(status: &str) -> Answer {
        Answer { status: status.to_string(), ..Answer::default() }
    }

    fn code(answer: Answer, status: &str) -> Option<ErrorCode> {
        expect("trying", answer, status, "a").unwrap_err().code()
    }

    #[test]
    fn a_refusal_has_its_code_or_the_one_that_fits() {
        let refusal = Answer { text: Some("no".into()), ..answer("error") };
        assert_eq!(code(refusal.clone(), "complete"), Some(ErrorCode::UnknownArray));
        assert_eq!(code(refusal.clone(), "created"), Some(ErrorCode::Internal));
        let ours = Answer { code: Some(ErrorCode::NoWorkers), ..refusal };
        assert_eq!(code(ours.clone(), "complete"), Some(ErrorCode::NoWorkers));
        let error = expect("trying", ours, "complete", "a").unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_retryable()), ("no (NoWorkers)", true));
    }

    #[test]
    fn a_reply_to_something_else_is_none() {
        assert!(expect("trying", answer("created"), "created", "a").is_ok());
        for wrong in [answer("processing"), Answer { array_id: Some("b".into()), ..answer("created") }] {
            let error = expect("trying", wrong, "created", "a").unwrap_err();
            assert!(matches!(error, Error::Protocol { .. }), "{error}");
        }
    }

    #[test]
    fn elements_are_a_list_of_the_length_that_was_stored() {
        let list = Answer { values: Some(vec![3.0]), ..answer("complete") };
        assert_eq!(elements("reading", list).unwrap(), [3.0]);
        let text = Answer { text: Some("Operation completed successfully".into()), ..answer("complete") };
        let error = elements("reading", text).unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Unsupported));
        assert!(error.to_string().contains("\"Operation completed successfully\""), "{error}");
        assert!(elements("reading", answer("complete")).is_err());
        let stored = Some(Created { dtype: DType::Int32, len: 2 });
        assert!(check_length("reading", 2, stored).is_ok());
        assert!(check_length("reading", 0, None).is_ok(), "nobody knows better");
        let error = check_length("reading", 1, stored).unwrap_err().to_string();
        assert!(error.contains("it calls 1 elements complete where 2 were stored"), "{error}");
    }
}
