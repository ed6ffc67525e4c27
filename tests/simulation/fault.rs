//! The errors with which rmux says that something went wrong, and what each of them says about the request.

/// What can go wrong with a request that a server should have answered.
#[derive(Clone, Copy)]
pub enum Fault {
    /// Its connection was lost, and it may have been run.
    Lost,
    /// No reply came in time, and it may have been run.
    Late,
    /// It was not sent: no server is there for it.
    Down,
    /// It was not sent: no connection became free.
    Waited,
    /// It has more in flight than others may wait behind, and no connection of its own became free, or no memory.
    Crowded,
    /// It was not sent: no connection can ever be held for it.
    NoLease,
    /// It was not sent: its keys live on several servers.
    Spread,
    /// The server does not run anything yet.
    Loading,
    /// The server does not speak RESP3.
    NoProtocol,
    /// It was not sent: there is no memory for it.
    NoRoom,
    /// It may have been run: there is no memory for the replies of several servers.
    NoRoomForReply,
    /// Its rest did not come for so many milliseconds; `is_wanted`: and others waited for its connection.
    Stopped { ms: u64, is_wanted: bool },
    /// It was not sent: too much is unread, and nothing was read for so many milliseconds.
    Unread(u64),
    /// The server does not know the script.
    NoScript,
    /// It was not run: the server is no master, and was none in time.
    ReadOnly,
    /// It was not run: what came behind it was, while its slot was moved.
    Overtaken,
    /// It was not run: its slot was moved, and it is large.
    NotKept,
    /// It was not run: nobody had its slot, or all of it, in time; or it stands on a connection.
    Redirected,
}

impl Fault {
    /// Whether nothing more is answered behind it.
    pub fn is_the_end(self) -> bool {
        matches!(self, Fault::Crowded | Fault::Stopped { .. } | Fault::Unread(_))
    }

    /// The fault that an error names.
    pub fn of(text: &str) -> Option<Fault> {
        let may_have_run = text.ends_with("; the command may have been run");
        match text {
            "ERR Connection down" => Some(Fault::Down),
            _ if text.starts_with("ERR These keys are not all at server-") => Some(Fault::Down),
            _ if text.starts_with("ERR Connection to server-") && may_have_run => Some(Fault::Lost),
            _ if text.starts_with("ERR Connection to server-") && text.ends_with(" lost, and no other is free") => {
                Some(Fault::Down)
            }
            _ if text.starts_with("ERR No reply from server-") && may_have_run => Some(Fault::Late),
            _ if text.starts_with("ERR No connection to server-") => Some(Fault::Waited),
            _ if text.starts_with("ERR No connection became free within ") => Some(Fault::Crowded),
            _ if text.starts_with("ERR More than bufferedBytesMax ") => Some(Fault::Crowded),
            _ if text.starts_with("ERR poolSize is 1: ") => Some(Fault::NoLease),
            _ if text.starts_with("CROSSSLOT ") => Some(Fault::Spread),
            _ if text.starts_with("LOADING ") => Some(Fault::Loading),
            _ if text.starts_with("NOSCRIPT ") => Some(Fault::NoScript),
            _ if text.starts_with("READONLY ") => Some(Fault::ReadOnly),
            _ if text.starts_with("TRYAGAIN A request that was sent behind this one ") => Some(Fault::Overtaken),
            _ if text.starts_with("TRYAGAIN The slot of this large request ") => Some(Fault::NotKept),
            _ if ["TRYAGAIN ", "CLUSTERDOWN ", "MOVED ", "ASK "].iter().any(|word| text.starts_with(word)) => {
                Some(Fault::Redirected)
            }
            _ if text.starts_with("NOPROTO ") => Some(Fault::NoProtocol),
            _ if text.contains(" would take more memory than bufferedBytesMax allows ") => {
                let is_reply = text.starts_with("ERR The replies of the servers ");
                Some(if is_reply { Fault::NoRoomForReply } else { Fault::NoRoom })
            }
            _ if text.starts_with("ERR The rest of a request did not come within ") => {
                let is_wanted = text.contains(" remoteConnectTimeout ");
                Some(Fault::Stopped { ms: milliseconds(text)?, is_wanted })
            }
            _ if text.starts_with("ERR Too much is unread, and nothing was read within localRequestTimeout ") => {
                Some(Fault::Unread(milliseconds(text)?))
            }
            _ => None,
        }
    }
}

/// The limit that a text names at its end.
fn milliseconds(text: &str) -> Option<u64> {
    let (_, ms) = text.strip_suffix(" ms)")?.split_once('(')?;
    ms.parse().ok()
}
