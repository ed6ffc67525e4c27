//! Where reads go to, as the configuration has it.

/// Where the reads of a pool go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadFrom {
    /// To the server that has the key: replicas are not connected to.
    #[default]
    Master,
    /// To a replica of that server; to the server itself while no replica of its is well, and for keys that were just
    /// written.
    PreferReplica,
    /// To a replica of that server, whatever was written, and to none but that; to the server itself only if it has no
    /// replicas at all.
    Replica,
}

impl ReadFrom {
    /// All of them.
    pub const ALL: [ReadFrom; 3] = [ReadFrom::Master, ReadFrom::PreferReplica, ReadFrom::Replica];

    /// Its name, as the configuration has it.
    pub fn name(self) -> &'static str {
        ["master", "preferReplica", "replica"][self as usize]
    }
}
