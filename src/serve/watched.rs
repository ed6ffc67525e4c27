//! What the watcher of a pool is told, of the pool's configuration.

use crate::cluster;
use crate::config::PoolConfig;
use crate::link::HostPort;
use crate::net::Address;
use crate::read_from::ReadFrom;
use crate::sentinel;
use crate::watcher::{Settings, Wanted};

/// Who is asked, and for what; `None` if the configuration alone says where the servers are.
pub fn settings(pool: &PoolConfig) -> Option<Settings> {
    if pool.cluster {
        let seeds = pool.servers.iter().filter_map(|server| server.address());
        let wanted = Wanted::Slots(cluster::Settings {
            pool: pool.listen.to_string(),
            seeds: places(seeds),
            credentials: pool.credentials.clone(),
        });
        let password_file = pool.remote_password_file.clone();
        return Some(Settings { wanted, tls: pool.remote_tls.clone(), password_file });
    }
    let wanted = Wanted::Masters(sentinel::Settings {
        sentinels: places(pool.sentinels.iter()),
        masters: pool.servers.iter().filter_map(|server| server.master().map(str::to_owned)).collect(),
        credentials: pool.sentinel_credentials.clone(),
        wants_replicas: pool.read_from != ReadFrom::Master,
    });
    (!pool.sentinels.is_empty()).then_some(Settings { wanted, tls: pool.sentinel_tls.clone(), password_file: None })
}

fn places<'a>(addresses: impl Iterator<Item = &'a Address>) -> Vec<HostPort> {
    let place = |address: &Address| match address {
        Address::Tcp { host, port } => Some(HostPort { host: host.clone(), port: *port }),
        Address::Unix(_) => None,
    };
    addresses.filter_map(place).collect()
}
