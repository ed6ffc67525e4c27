//! `availabilityZone`: the zone of the host, whose replicas are read first.

use super::error::{Problem, Quoted};
use crate::read_from::ReadFrom;

/// The zone, if one is given.
///
/// # Errors
///
/// It is no name of a zone, or nothing is read from replicas.
pub(crate) fn zone(text: Option<&str>, read_from: ReadFrom) -> Result<Option<String>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let wanted = "the name of a zone: 1 to 64 letters of printable ASCII, without blanks".to_owned();
    match read_from {
        _ if text.len() > BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(Problem::WrongKind { value: Quoted(text).to_string(), wanted })
        }
        ReadFrom::Master => Err(Problem::Needs { key: "readFrom" }),
        ReadFrom::PreferReplica | ReadFrom::Replica => Ok(Some(text.to_owned())),
    }
}

/// A longer one is none.
const BYTES_MAX: usize = 64;
