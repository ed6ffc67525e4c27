//! Opens listening sockets. The file that a Unix socket leaves in the file system is `socket_file`'s business.
//!
//! A TCP name lookup blocks here: this runs once, at start, before there is anybody to keep waiting.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use socket2::{Domain, Socket, Type};

use super::address::Address;
use super::error::{Fault, ListenError, while_doing};
use super::listener::Listener;
use super::socket_file::SocketFile;

/// Listens on an address.
///
/// A host without an address of its own (empty, or `*`) means all interfaces, IPv6 and IPv4. Of a name's addresses the
/// first that belongs to this machine is taken, IPv4 first, as the original (Go's `net.Listen`) does it; one that is in
/// use is an error, rather than a reason to listen where nobody looks.
///
/// `backlog` is how many connections may wait to be accepted; the kernel caps it ([`backlog_max`] is the most). **When
/// it is full, a Unix socket turns clients away at once, with `EAGAIN`**, so it should be the most there is. `mode`
/// holds the permission bits of a Unix socket's file, whatever the umask; connecting takes the right to write. The
/// [`SocketFile`] removes the file when it is dropped: drop it when no more clients are wanted.
///
/// # Errors
///
/// When the address cannot be looked up or bound, or belongs to somebody else. The error names the address.
pub fn listen(address: &Address, backlog: i32, mode: u32) -> Result<(Listener, Option<SocketFile>), ListenError> {
    let listening = match address {
        Address::Tcp { host, port } => listen_tcp(host, *port, backlog).map(|listener| (listener, None)),
        Address::Unix(path) => listen_unix(path, backlog, mode).map(|(listener, file)| (listener, Some(file))),
    };
    listening.map_err(|fault| ListenError { address: address.clone(), fault })
}

/// The longest backlog that the system grants (`net.core.somaxconn`); the most that can be asked for where that cannot
/// be read, which the kernel then cuts.
pub fn backlog_max() -> i32 {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    text.trim().parse().unwrap_or(i32::MAX)
}

fn listen_tcp(host: &str, port: u16, backlog: i32) -> Result<Listener, Fault> {
    let addresses: Vec<SocketAddr> = match host {
        "" | "*" => vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()],
        _ => {
            let found = (host, port).to_socket_addrs().map_err(Fault::Lookup)?;
            let (mut addresses, of_ipv6): (Vec<_>, Vec<_>) = found.partition(SocketAddr::is_ipv4);
            addresses.extend(of_ipv6);
            addresses
        }
    };
    let mut outcome = Err(Fault::NoAddress);
    for address in addresses {
        let bound = bind_tcp(address, backlog);
        // Not an address of this machine, or of a family that it does not speak: the next one may do.
        let is_foreign = bound
            .as_ref()
            .is_err_and(|error| !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied));
        outcome = bound.map_err(while_doing("binding the port"));
        if !is_foreign {
            break;
        }
    }
    outcome
}

fn bind_tcp(address: SocketAddr, backlog: i32) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Else a restart would have to wait for the connections of its predecessor to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::of_tcp(socket.into()))
}

fn listen_unix(path: &Path, backlog: i32, mode: u32) -> Result<(Listener, SocketFile), Fault> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(while_doing("making a socket"))?;
    socket.set_nonblocking(true).map_err(while_doing("making a socket"))?;
    let file = SocketFile::listen(path, &socket, backlog, mode)?;
    Ok((Listener::of_unix(socket.into()), file))
}

#[cfg(test)]
mod tests {
    use super::super::ResolvedAddress;
    use super::*;

    #[test]
    fn a_tcp_port_in_use_is_an_error_that_names_it() {
        let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
        let (first, _) = listen(&tcp("localhost", 0), 16, 0).expect("a free port");
        let Ok(ResolvedAddress::Tcp(address)) = first.local_address() else { panic!("not TCP") };
        assert!(address.is_ipv4(), "IPv4 first");
        let error = listen(&tcp("localhost", address.port()), 16, 0).expect_err("in use").to_string();
        let port = address.port();
        assert!(error.starts_with(&format!("cannot listen on localhost:{port}: binding the port: Address")), "{error}");
    }

    #[test]
    fn without_a_host_all_interfaces_are_listened_on() {
        for host in ["", "*"] {
            let (listener, _) = listen(&Address::Tcp { host: host.to_owned(), port: 0 }, 16, 0).expect("a free port");
            let Ok(ResolvedAddress::Tcp(address)) = listener.local_address() else { panic!("not TCP") };
            assert!(address.ip().is_unspecified());
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).expect("IPv4 is served");
            listener.accept().expect("accepted");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        let address = Address::Tcp { host: "192.0.2.1".to_owned(), port: 6379 };
        let error = listen(&address, 16, 0).expect_err("not ours").to_string();
        assert!(error.starts_with("cannot listen on 192.0.2.1:6379: binding the port: "), "{error}");
    }

    #[test]
    fn the_backlog_is_the_system_s_most() {
        assert!(backlog_max() > 0);
    }
}
