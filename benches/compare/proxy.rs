//! The proxies that can be compared, and how each one is found and configured.
//!
//! Owns the table [`PROXIES`]: a new peer is a new entry. Every one of them gets one thread for its traffic, the
//! server's TCP address, and a Unix socket to listen on (a TCP port where it knows no other), with the longest backlog
//! that it can be told. Nothing else is tuned: what the program does by itself is what is measured.
//!
//! Knows no process: it makes a path, a configuration's text and a command line. Takes several servers where the proxy
//! spreads keys over them.

use std::env;
use std::path::{Path, PathBuf};

use crate::name::{ENVOY, HAPROXY, RMUX_TWO, STUNNEL, TWEMPROXY};
use crate::support::Address;

/// A proxy that can be compared.
pub struct Proxy {
    /// Its name in every table.
    pub name: &'static str,
    /// The environment variable that gives its path.
    variable: &'static str,
    /// Otherwise: the path of the one that was built with this benchmark, or names to look for.
    programs: &'static [&'static str],
    /// What it can listen on.
    pub listens: Listens,
    /// The flag that makes it print its version, if it has one.
    pub version_flag: Option<&'static str>,
    /// How the name of its configuration file must end.
    pub config_extension: &'static str,
    /// The text of its configuration file, when it needs one.
    pub config: fn(&Place) -> Option<String>,
    /// Its command line without the program.
    pub arguments: fn(&Place) -> Vec<String>,
}

/// What a proxy can listen on.
pub enum Listens {
    /// A Unix socket, as all should.
    Unix,
    /// TCP alone.
    Tcp,
}

/// What a proxy is told.
pub struct Place {
    /// Where to listen.
    pub listen: Address,
    /// How many clients will come.
    pub clients: u32,
    /// The servers' ports on 127.0.0.1.
    pub server_ports: Vec<u16>,
    /// When the servers speak TLS there: the file of the authority that their certificates come from.
    pub authority: Option<String>,
    /// Where its configuration file will be.
    pub config: PathBuf,
    /// Where it may leave its process id.
    pub pid_file: PathBuf,
    /// For one that insists on a port of its own for statistics.
    pub spare_port: u16,
}

impl Place {
    /// The socket's path, or address and port.
    fn listen(&self) -> String {
        self.listen.flag_value()
    }

    fn config(&self) -> String {
        self.config.display().to_string()
    }

    /// A text made from the authority's file; nothing where there is no TLS.
    fn tls(&self, text: impl Fn(&str) -> String) -> String {
        self.authority.as_deref().map(text).unwrap_or_default()
    }

    /// One text per server, made from its port.
    fn servers(&self, text: impl Fn(u16) -> String) -> String {
        self.server_ports.iter().map(|port| text(*port)).collect()
    }
}

impl Proxy {
    /// The path of its program, or where one was looked for in vain.
    pub fn find(&self) -> Result<PathBuf, String> {
        if let Some(path) = env::var_os(self.variable) {
            let path = PathBuf::from(path);
            return if path.is_file() { Ok(path) } else { Err(format!("no file {}", path.display())) };
        }
        let path = env::var("PATH").unwrap_or_default();
        // Debian puts daemons into a folder that is not in every user's PATH.
        let folders: Vec<&Path> = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]).map(Path::new).collect();
        self.programs
            .iter()
            .flat_map(|program| folders.iter().map(move |folder| folder.join(program)))
            .find(|candidate| candidate.is_file())
            .ok_or_else(|| self.source())
    }

    /// Where it is looked for, in words.
    pub fn source(&self) -> String {
        match self.programs {
            [] => format!("its path in {}", self.variable),
            [program] if program.starts_with('/') => {
                format!("as built now, or its path in {}", self.variable)
            }
            programs => format!("{} in PATH, or its path in {}", programs.join(" or "), self.variable),
        }
    }
}

/// rmux as it was just built.
const RMUX: Proxy = Proxy {
    name: "rmux",
    variable: "RMUX",
    programs: &[env!("CARGO_BIN_EXE_rmux")],
    listens: Listens::Unix,
    version_flag: Some("-version"),
    config_extension: "json",
    config: |_| None,
    arguments: rmux_arguments,
};

/// Every proxy that can be compared, this one first.
pub const PROXIES: &[Proxy] = &[
    RMUX,
    // As many threads as the machines of the first measurements have cores.
    Proxy { name: RMUX_TWO, arguments: |place| [rmux_arguments(place), words(&["-maxProcesses=2"])].concat(), ..RMUX },
    // An older build beside the present one: the number before and after a change.
    Proxy { name: "rmux-base", variable: "RMUX_BASE", programs: &[], ..RMUX },
    Proxy {
        name: "go-rmux",
        variable: "GO_RMUX",
        programs: &[],
        listens: Listens::Unix,
        version_flag: None,
        config_extension: "json",
        config: |_| None,
        arguments: original_arguments,
    },
    Proxy {
        name: TWEMPROXY,
        variable: "TWEMPROXY",
        programs: &["nutcracker"],
        listens: Listens::Unix,
        version_flag: Some("--version"),
        config_extension: "yml",
        config: |place| {
            Some(format!(
                "bench:\n  listen: {} 0666\n  redis: true\n  hash: fnv1a_64\n  distribution: ketama\n  backlog: 65535\n  servers:\n{}",
                place.listen(),
                place.servers(|port| format!("   - 127.0.0.1:{port}:1\n")),
            ))
        },
        arguments: |place| {
            let pid_file = place.pid_file.display().to_string();
            let statistics = place.spare_port.to_string();
            words(&["-c", &place.config(), "-p", &pid_file, "-a", "127.0.0.1", "-s", &statistics, "-v", "0"])
        },
    },
    Proxy {
        name: "predixy",
        variable: "PREDIXY",
        programs: &["predixy"],
        listens: Listens::Unix,
        version_flag: Some("--version"),
        config_extension: "conf",
        config: |place| {
            Some(format!(
                "Bind {}\nWorkerThreads 1\nStandaloneServerPool {{\n  Databases 16\n  Hash crc16\n  Distribution modula\n  \
                 MasterReadPriority 60\n  RefreshMethod fixed\n{}}}\n",
                place.listen(),
                place.servers(|port| format!("  Group server{port} {{\n    + 127.0.0.1:{port}\n  }}\n")),
            ))
        },
        arguments: |place| vec![place.config()],
    },
    // It moves bytes between two sockets and parses nothing: a connection to the server for each client.
    Proxy {
        name: HAPROXY,
        variable: "HAPROXY",
        programs: &[HAPROXY],
        listens: Listens::Unix,
        version_flag: Some("-v"),
        config_extension: "cfg",
        config: |place| {
            let tls = place.tls(|authority| format!(" ssl verify required ca-file {authority} verifyhost localhost"));
            Some(format!(
                "global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode tcp\n  backlog 65535\n  timeout connect 5s\n  timeout client 1m\n  \
                 timeout server 1m\nfrontend clients\n  bind unix@{} mode 666\n  default_backend servers\nbackend servers\n{}",
                place.listen(),
                place.servers(|port| format!("  server server{port} 127.0.0.1:{port}{tls}\n")),
            ))
        },
        arguments: |place| words(&["-db", "-f", &place.config()]),
    },
    // It moves bytes as well, in and out of TLS, and has a thread for each client: it knows no other way.
    Proxy {
        name: STUNNEL,
        variable: "STUNNEL",
        programs: &["stunnel4", "stunnel"],
        listens: Listens::Unix,
        version_flag: Some("-version"),
        config_extension: "conf",
        config: |place| {
            Some(format!(
                "foreground = yes\npid =\nsyslog = no\ndebug = err\n[redis]\nclient = yes\naccept = {}\n{}{}",
                place.listen(),
                place.servers(|port| format!("connect = 127.0.0.1:{port}\n")),
                place.tls(|authority| format!("CAfile = {authority}\nverifyChain = yes\ncheckIP = 127.0.0.1\n")),
            ))
        },
        arguments: |place| vec![place.config()],
    },
    Proxy {
        name: ENVOY,
        variable: "ENVOY",
        programs: &["envoy"],
        listens: Listens::Unix,
        version_flag: Some("--version"),
        config_extension: "json",
        config: |place| Some(envoy_config(place)),
        arguments: |place| {
            words(&["-c", &place.config(), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"])
        },
    },
    Proxy {
        name: "aster",
        variable: "ASTER",
        programs: &["aster-proxy"],
        listens: Listens::Tcp,
        version_flag: Some("--version"),
        config_extension: "toml",
        config: |place| {
            Some(format!(
                "[[clusters]]\nname = \"bench\"\nlisten_addr = \"{}\"\ncache_type = \"redis\"\nthread = 1\nservers = [{}]\n",
                place.listen(),
                place.servers(|port| format!("\"127.0.0.1:{port}:1\", ")),
            ))
        },
        arguments: |place| words(&["--config", &place.config(), "--metrics", &place.spare_port.to_string()]),
    },
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The original's flags, which are this project's flags as well.
fn original_arguments(place: &Place) -> Vec<String> {
    let servers = place.servers(|port| format!("127.0.0.1:{port} "));
    vec![format!("-socket={}", place.listen()), format!("-tcpConnections={}", servers.trim_end())]
}

fn rmux_arguments(place: &Place) -> Vec<String> {
    let mut arguments = original_arguments(place);
    if let Some(authority) = &place.authority {
        arguments.extend(["-remoteTls=true".to_owned(), format!("-remoteTlsCaFile={authority}")]);
    }
    // The limit is 10,000 unless it is told another.
    if place.clients > 9_000 {
        arguments.push(format!("-clientsMax={}", place.clients + 100));
    }
    arguments
}

/// A bootstrap with the redis filter on a Unix socket. Its timeout is long: a slow answer is to be seen as slow.
fn envoy_config(place: &Place) -> String {
    let endpoints = place.servers(|port| {
        format!(
            r#"{{"endpoint": {{"address": {{"socket_address": {{"address": "127.0.0.1", "port_value": {port}}}}}}}}}, "#
        )
    });
    format!(
        r#"{{"static_resources": {{
  "listeners": [{{
    "name": "clients",
    "address": {{"pipe": {{"path": "{listen}", "mode": 438}}}},
    "tcp_backlog_size": 65535,
    "filter_chains": [{{"filters": [{{
      "name": "envoy.filters.network.redis_proxy",
      "typed_config": {{
        "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
        "stat_prefix": "bench",
        "settings": {{"op_timeout": "10s"}},
        "prefix_routes": {{"catch_all_route": {{"cluster": "servers"}}}}
      }}
    }}]}}]
  }}],
  "clusters": [{{
    "name": "servers",
    "type": "STATIC",
    "connect_timeout": "1s",
    {tls}
    "lb_policy": "MAGLEV",
    "load_assignment": {{
      "cluster_name": "servers",
      "endpoints": [{{"lb_endpoints": [{endpoints}]}}]
    }}
  }}]
}}}}
"#,
        tls = place.tls(envoy_tls),
        listen = place.listen(),
        endpoints = endpoints.trim_end_matches(", "),
    )
}

/// What a cluster has when its servers speak TLS.
fn envoy_tls(authority: &str) -> String {
    format!(
        r#""transport_socket": {{
      "name": "envoy.transport_sockets.tls",
      "typed_config": {{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {{"validation_context": {{
          "trusted_ca": {{"filename": "{authority}"}},
          "match_typed_subject_alt_names": [{{"san_type": "IP_ADDRESS", "matcher": {{"exact": "127.0.0.1"}}}}]
        }}}}
      }}
    }},"#
    )
}
