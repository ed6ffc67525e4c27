//! `clusterAnnounce`: the address that cluster-aware clients are told.

use super::address;
use super::error::{Problem, Quoted};
use crate::net::Address;

/// The address, if one is given.
///
/// # Errors
///
/// It is no address, or this is no cluster's pool.
pub(crate) fn announced(text: Option<&str>, is_cluster: bool) -> Result<Option<Address>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if !is_cluster {
        return Err(Problem::Needs { key: "cluster" });
    }
    let bad = |reason| Problem::BadAddress { value: Quoted(text).to_string(), reason };
    address::tcp_server(text).map(Some).map_err(bad)
}
