//! Configuration: file, then environment, then arguments; the last one that names a key wins.
//!
//! Every key stands once, in the table below, with its type, default, range and meaning. The struct, the reading, the
//! environment names and `config/gantry.toml` follow from it. A key that is not in the table is refused by name and line.
//!
//! Not done: reloading while running; nested tables.
//!
//! Bounds: the range of each number stands beside its default.

mod value;

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::gb28181::MediaTransport;
use crate::gb28181::subscribe::Topic;
use crate::id::GbId;
use crate::media::hold::LossPolicy;

use value::Value;
pub use value::{LogFormat, Millis, Seconds, Secret};

/// Sets the password of the user `admin` when it is made at the first start. Not a key: no file should hold it.
pub const ADMIN_PASSWORD_VARIABLE: &str = "GANTRY_ADMIN_PASSWORD";

const VARIABLE_PREFIX: &str = "GANTRY_";

/// Builds the structs of the configuration, their defaults and the list of keys from one table.
macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {$(
            $(#[doc = $doc:literal])+
            $key:ident: $kind:ty = $default:expr $(, in $range:expr)?;
        )+}
    )+) => {
        /// Everything that can be configured. `Default` is what an empty file gives.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Config {
            $($(#[doc = $section_doc])+ pub $section: $Section,)+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $($(#[doc = $doc])+ pub $key: $kind,)+
            }

            impl $Section {
                const DOC: &'static [&'static str] = &[$($section_doc),+];
            }

            impl Default for $Section {
                fn default() -> Self {
                    $Section { $($key: $default,)+ }
                }
            }
        )+

        impl Config {
            /// Every key in the order of the table.
            pub fn keys() -> Vec<Key> {
                let defaults = Config::default();
                vec![$($(Key {
                    section: stringify!($section),
                    section_doc: $Section::DOC,
                    name: stringify!($key),
                    doc: &[$($doc),+],
                    default: defaults.$section.$key.to_toml(),
                    range: [$({ let r: std::ops::RangeInclusive<u64> = $range; r })?].into_iter().next(),
                },)+)+]
            }

            fn set(&mut self, section: &str, key: &str, raw: Raw<'_>) -> Result<(), SetError> {
                match (section, key) {
                    $($((stringify!($section), stringify!($key)) => {
                        let value: $kind = raw.read().map_err(SetError::Value)?;
                        $({
                            let range: std::ops::RangeInclusive<u64> = $range;
                            let number = value.number().expect("only keys with numbers have a range");
                            if !range.contains(&number) {
                                return Err(SetError::Value(format!(
                                    "{number} is outside {} to {}", range.start(), range.end(),
                                )));
                            }
                        })?
                        self.$section.$key = value;
                        Ok(())
                    })+)+
                    $((stringify!($section), _) => Err(SetError::UnknownKey),)+
                    _ => Err(SetError::UnknownSection),
                }
            }
        }
    };
}

sections! {
    /// This node.
    node: Node {
        /// Name of this node in the web page, the API and the logs.
        name: String = "gantry".into();
        /// Folder of everything that the node writes: database, keys, certificate. Made if it is not there.
        data_dir: PathBuf = "data".into();
    }
    /// The web page, the REST API and media over HTTP and WebSocket.
    http: Http {
        /// Address for HTTP.
        listen: SocketAddr = SocketAddr::from(([0, 0, 0, 0], 9780));
        /// Address for HTTPS; "" = none.
        tls_listen: Option<SocketAddr> = Some(SocketAddr::from(([0, 0, 0, 0], 9781)));
        /// PEM file with the certificate chain; "" = one is made in the data folder at the first start.
        tls_cert: PathBuf = PathBuf::new();
        /// PEM file with the private key of `tls_cert`.
        tls_key: PathBuf = PathBuf::new();
        /// Origins whose pages may call the API ("*" = any).
        cors_origins: Vec<String> = vec!["*".into()];
        /// true = media URLs (live, WHEP) need no token. Whoever reaches the port then sees every camera.
        open_media: bool = false;
        /// false = /metrics needs a token.
        open_metrics: bool = true;
        /// Seconds that a login lasts unless it is refreshed.
        token_lifetime_s: Seconds = Seconds(14_400), in 60..=31_536_000;
    }
    /// SIP, for GB/T 28181 devices.
    sip: Sip {
        /// Address for SIP, UDP and TCP.
        listen: SocketAddr = SocketAddr::from(([0, 0, 0, 0], 5060));
        /// Address for SIP over TLS; "" = none.
        tls_listen: Option<SocketAddr> = Some(SocketAddr::from(([0, 0, 0, 0], 5061)));
        /// PEM file with the certificate chain for SIP over TLS; "" = one is made in the data folder at the first start.
        tls_cert: PathBuf = PathBuf::new();
        /// PEM file with the private key of `tls_cert`.
        tls_key: PathBuf = PathBuf::new();
        /// PEM file with the authorities of device certificates. When it is set, a device that comes over TLS must show a
        /// certificate that one of them signed; "" = none is asked for.
        tls_client_ca: PathBuf = PathBuf::new();
        /// Our code: 20 digits, the "SIP server id" in a device's settings.
        id: GbId = "34020000002000000001".parse().expect("20 digits");
        /// Our domain, the "SIP server domain" in a device's settings; "" = the first 10 digits of `id`.
        realm: String = String::new();
        /// Password of devices that have none of their own; "" = a random one, made at the first start.
        device_password: Secret = Secret::default();
        /// Address that devices are told to reach us by; "" = the one by which each device reached us.
        advertised_ip: Option<IpAddr> = None;
        /// Seconds between two keepalives of a device, as its settings say.
        keepalive_s: Seconds = Seconds(60), in 5..=3_600;
        /// Keepalives in a row that may be missing before a device counts as offline.
        keepalive_misses: u32 = 3, in 1..=100;
        /// Seconds that a registration lasts when the device does not say.
        expires_default_s: Seconds = Seconds(3_600), in 60..=604_800;
        /// Seconds that a registration lasts at most; a longer one is shortened.
        expires_max_s: Seconds = Seconds(604_800), in 60..=31_536_000;
        /// true = a device that comes online is asked for its directory and what it is; false = only by hand.
        query_on_register: bool = true;
        /// What every device that comes online is subscribed to for: catalog, alarm, position, ptz. Subscriptions are
        /// refreshed, and made again after a restart.
        subscribe: Vec<Topic> = Vec::new();
        /// Minutes by which the clock that devices are told (Date of the answer to REGISTER) is ahead of UTC, -720 to 840.
        utc_offset_min: i32 = 480;
        /// Bytes of memory for the last SIP messages of all devices, to be looked at when something does not work; 0 = none
        /// are kept. Devices that only register share a fifth of it.
        log_bytes: u64 = 16 << 20, in 0..=1 << 30;
    }
    /// Media from devices.
    media: Media {
        /// First port for RTP, UDP and TCP: media thread n listens at `rtp_port` + n. 0 = any free ones.
        rtp_port: u16 = 30_000, in 0..=65_535;
        /// Media threads; 0 = one per core.
        shards: u16 = 0, in 0..=64;
        /// Address that devices are told to send media to; "" = the one by which each device reached us.
        advertised_ip: Option<IpAddr> = None;
        /// First port of a range from which each stream has ports of its own, RTP on the even one and RTCP on the next; 0 = the
        /// streams of a media thread share its port. For devices that mind, and where SSRCs cannot be unique.
        session_port_first: u16 = 0, in 0..=65_535;
        /// Last port of that range.
        session_port_last: u16 = 0, in 0..=65_535;
        /// Address that devices outside `private_networks` are told to send media to: ours on the other side of a NAT; "" = none.
        public_ip: Option<IpAddr> = None;
        /// Networks whose devices reach us without that NAT; empty = every private one (RFC 1918, 6598, 4193, link-local).
        private_networks: Vec<String> = Vec::new();
        /// How devices are asked to send: "udp", "tcp-passive" (they connect to us) or "tcp-active" (we connect).
        transport: MediaTransport = MediaTransport::Udp;
        /// true = when nothing comes that way, the other ways are tried, and what works is remembered per device.
        fallback: bool = true;
        /// Pictures that miss packets: "hold-back" (left out up to the next whole key frame, which the device is asked for) or
        /// "show" (given on as they are). The policy of a device outranks it.
        loss: LossPolicy = LossPolicy::HoldBack;
        /// Milliseconds that a device may take to answer INVITE.
        answer_timeout_ms: Millis = Millis(8_000), in 500..=60_000;
        /// Milliseconds from its answer to the first RTP packet.
        rtp_timeout_ms: Millis = Millis(3_000), in 500..=60_000;
        /// Milliseconds from the first RTP packet to the first key frame.
        picture_timeout_ms: Millis = Millis(6_000), in 500..=60_000;
        /// Bytes of the last frames kept per stream, so that a new viewer starts at once.
        ring_bytes: u64 = 16 << 20, in 1 << 20..=1 << 30;
        /// Bytes of the last frames kept in the whole process.
        ring_bytes_total: u64 = 1 << 30, in 16 << 20..=1 << 40;
        /// Seconds that a stream is kept after its last viewer left.
        linger_s: Seconds = Seconds(10), in 0..=3_600;
    }
    /// Records of devices that are kept as files of this node, in the folder `downloads` of `data_dir`.
    download: Download {
        /// Downloads that run at once; the others wait.
        at_once: u16 = 4, in 1..=64;
        /// Bytes of all files together, with what is not whole yet. At it downloads fail, and none begins.
        disk_bytes: u64 = 20 << 30, in 1 << 20..=1 << 50;
    }
    /// WebRTC to viewers.
    webrtc: WebRtc {
        /// Address for all WebRTC viewers, UDP. `[::]:8189` takes IPv4 and IPv6.
        listen: SocketAddr = SocketAddr::from(([0, 0, 0, 0], 8_189));
        /// The same address for TCP, for viewers that UDP does not reach.
        tcp: bool = true;
        /// Use AES-GCM with viewers that have it. Without it all get AES-CM with HMAC-SHA1, which costs two to three times as
        /// much.
        aes_gcm: bool = true;
        /// Addresses put into every answer beside the one by which the viewer reached us, such as a public one behind NAT.
        advertised_ips: Vec<IpAddr> = Vec::new();
    }
    /// FLV over HTTP and WebSocket.
    flv: Flv {
        /// Milliseconds of frames that are written together; more saves CPU, less saves delay.
        merge_ms: Millis = Millis(20), in 0..=1_000;
    }
    /// Fragmented MP4 over HTTP and WebSocket.
    fmp4: Fmp4 {
        /// Milliseconds of frames that are written together; more saves CPU, less saves delay.
        merge_ms: Millis = Millis(20), in 0..=1_000;
    }
    /// Bounds that a site may want to change.
    limits: Limits {
        /// Devices that may be known; further ones are refused with 503.
        devices: u32 = 100_000, in 1..=1_000_000;
        /// Streams that may run at one time; further ones are refused as busy.
        streams: u32 = 4_096, in 1..=100_000;
        /// Viewers that may watch at one time; further ones are refused as busy.
        viewers: u32 = 20_000, in 1..=1_000_000;
    }
    /// The database.
    store: Database {
        /// "" = SQLite in the data folder; "postgres://user:password@host/database" in a build with the feature `postgres`.
        url: Secret = Secret::default();
    }
    /// What happened, kept in the database.
    history: History {
        /// Days that alarms are kept.
        alarm_days: u32 = 90, in 1..=36_500;
        /// Days that positions are kept.
        position_days: u32 = 30, in 1..=36_500;
        /// Days that logs are kept: comings and goings, dialogs, operations.
        log_days: u32 = 180, in 1..=36_500;
        /// Rows of each of them that are kept; beyond, the oldest go.
        rows: u32 = 1_000_000, in 1_000..=1_000_000_000;
    }
    /// Logs, on standard error.
    log: Log {
        /// What is logged: a level, or levels by module such as "info,gantry::sip=debug".
        filter: String = "info".into();
        /// "text" for people, "json" for machines.
        format: LogFormat = LogFormat::Text;
    }
}

/// One key, as `config/gantry.toml` shows it.
#[derive(Clone, Debug)]
pub struct Key {
    pub section: &'static str,
    pub section_doc: &'static [&'static str],
    pub name: &'static str,
    pub doc: &'static [&'static str],
    /// As TOML writes it.
    pub default: String,
    pub range: Option<std::ops::RangeInclusive<u64>>,
}

impl Key {
    /// Its name in the environment: `GANTRY_SECTION_KEY`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}_{}", self.section, self.name).to_ascii_uppercase()
    }
}

/// What is wrong with a configuration, and where. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// File with line, name of the variable, or the argument.
    pub place: String,
    pub problem: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl std::error::Error for Error {}

impl Config {
    /// Reads `file`, then the variables of `env`, then `overrides` (pairs of `section.key` and text). Variables that
    /// name no key are left alone: orchestrators put their own under any prefix.
    ///
    /// Errors: a file that cannot be read, a syntax error, an unknown key, a value that its key does not take, or
    /// values that do not fit together.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        overrides: &[(String, String)],
    ) -> Result<Config, Error> {
        let mut loader = Loader::default();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|e| Error {
                place: path.display().to_string(),
                problem: format!("cannot be read: {e}"),
            })?;
            loader.file(path, &text)?;
        }
        loader.environment(env)?;
        for (key, text) in overrides {
            loader.argument(key, text)?;
        }
        loader.finish()
    }

    /// The text of `config/gantry.toml`: every key with its default, unit and meaning.
    pub fn render_default() -> String {
        let mut out = String::from(
            "# Gantry's configuration: every key with its default. Unknown keys are refused.\n\
             # The variable named in brackets sets the same key; arguments (--set section.key=value) come last.\n",
        );
        let mut section = "";
        for key in Config::keys() {
            if key.section != section {
                section = key.section;
                out.push('\n');
                for line in key.section_doc {
                    let _ = writeln!(out, "#{line}");
                }
                let _ = writeln!(out, "[{section}]");
            }
            for line in key.doc {
                let _ = writeln!(out, "#{line}");
            }
            let range = match &key.range {
                Some(range) => format!("{} to {}. ", range.start(), range.end()),
                None => String::new(),
            };
            let _ = writeln!(out, "# {range}[{}]", key.variable());
            let _ = writeln!(out, "{} = {}", key.name, key.default);
        }
        out
    }

    /// The SIP domain: `realm`, or the first 10 digits of the id.
    pub fn sip_realm(&self) -> &str {
        if self.sip.realm.is_empty() {
            let id = self.sip.id.as_str();
            &id[..id.len().min(10)]
        } else {
            &self.sip.realm
        }
    }

    /// Media threads: as configured, or one per core, at most 64.
    pub fn shards(&self) -> u16 {
        match self.media.shards {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get().min(64) as u16),
            n => n,
        }
    }

    /// What one key alone cannot show. The key to blame comes first.
    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.sip.id.as_str().len() != 20 {
            return Err(("sip.id", format!("{} has not 20 digits", self.sip.id)));
        }
        if self.sip.expires_default_s > self.sip.expires_max_s {
            return Err((
                "sip.expires_default_s",
                "is more than sip.expires_max_s".into(),
            ));
        }
        if !(-720..=840).contains(&self.sip.utc_offset_min) {
            let problem = format!("{} is outside -720 to 840", self.sip.utc_offset_min);
            return Err(("sip.utc_offset_min", problem));
        }
        if u32::from(self.media.rtp_port) + u32::from(self.shards()) > 1 << 16 {
            return Err((
                "media.rtp_port",
                format!(
                    "{} leaves no port for each of {} media threads",
                    self.media.rtp_port,
                    self.shards()
                ),
            ));
        }
        let (first, last) = (self.media.session_port_first, self.media.session_port_last);
        if (first != 0 || last != 0) && (first == 0 || last <= first) {
            return Err((
                "media.session_port_last",
                format!("{last}: the range needs at least two ports, from session_port_first on"),
            ));
        }
        let shared = u32::from(self.media.rtp_port);
        let shared = shared..shared + u32::from(self.shards());
        let own = u32::from(first)..u32::from(last) + 1;
        if first != 0 && shared.start != 0 && shared.start < own.end && own.start < shared.end {
            return Err((
                "media.session_port_first",
                "the range holds ports of the media threads (media.rtp_port)".into(),
            ));
        }
        if let Some(bad) = self
            .media
            .private_networks
            .iter()
            .find(|text| text.parse::<crate::session::Network>().is_err())
        {
            let problem = format!("{bad:?} is {}", crate::session::NotANetwork);
            return Err(("media.private_networks", problem));
        }
        if self.media.ring_bytes > self.media.ring_bytes_total {
            return Err((
                "media.ring_bytes",
                "is more than media.ring_bytes_total".into(),
            ));
        }
        let port_zero = self.http.listen.port() == 0;
        if self.http.tls_listen == Some(self.http.listen) && !port_zero {
            return Err(("http.tls_listen", "is the address of http.listen".into()));
        }
        let port_zero = self.sip.listen.port() == 0;
        if self.sip.tls_listen == Some(self.sip.listen) && !port_zero {
            return Err(("sip.tls_listen", "is the address of sip.listen".into()));
        }
        if self.sip.tls_cert.as_os_str().is_empty() != self.sip.tls_key.as_os_str().is_empty() {
            return Err(("sip.tls_cert", "and sip.tls_key are needed together".into()));
        }
        if self.http.tls_cert.as_os_str().is_empty() != self.http.tls_key.as_os_str().is_empty() {
            return Err((
                "http.tls_cert",
                "and http.tls_key are needed together".into(),
            ));
        }
        Ok(())
    }
}

/// A value as it was found.
#[derive(Clone, Copy)]
enum Raw<'a> {
    Toml(&'a DeValue<'a>),
    Text(&'a str),
}

impl Raw<'_> {
    fn read<T: Value>(self) -> Result<T, String> {
        match self {
            Raw::Toml(value) => T::from_toml(value),
            Raw::Text(text) => T::from_text(text),
        }
    }
}

enum SetError {
    UnknownSection,
    UnknownKey,
    Value(String),
}

/// Collects values and remembers where each came from.
#[derive(Default)]
struct Loader {
    config: Config,
    places: HashMap<String, String>,
}

impl Loader {
    fn file(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let place = |offset: usize| {
            let before = &text.as_bytes()[..offset.min(text.len())];
            let line = before.iter().filter(|b| **b == b'\n').count() + 1;
            format!("{}:{line}", path.display())
        };
        let document = DeTable::parse(text).map_err(|e| Error {
            place: place(e.span().map_or(0, |s| s.start)),
            problem: e.message().replace('\n', ", "),
        })?;
        for (section, body) in document.get_ref() {
            let name = section.get_ref().as_ref();
            let at = place(section.span().start);
            let known = Config::keys().iter().any(|key| key.section == name);
            let Some(table) = body.get_ref().as_table().filter(|_| known) else {
                return Err(unknown_section(at, name));
            };
            for (key, value) in table {
                let at = place(key.span().start);
                self.set(name, key.get_ref(), Raw::Toml(value.get_ref()), at)?;
            }
        }
        Ok(())
    }

    fn environment(
        &mut self,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), Error> {
        let variables: HashMap<String, Key> = Config::keys()
            .into_iter()
            .map(|key| (key.variable(), key))
            .collect();
        for (variable, text) in env {
            if let Some(key) = variables.get(&variable) {
                self.set(key.section, key.name, Raw::Text(&text), variable)?;
            }
        }
        Ok(())
    }

    fn argument(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let at = "argument".to_owned();
        match name.split_once('.') {
            Some((section, key)) => self.set(section, key, Raw::Text(text), at),
            None => Err(unknown_section(at, name)),
        }
    }

    fn set(&mut self, section: &str, key: &str, raw: Raw<'_>, place: String) -> Result<(), Error> {
        let name = format!("{section}.{key}");
        let problem = match self.config.set(section, key, raw) {
            Ok(()) => {
                self.places.insert(name, place);
                return Ok(());
            }
            Err(SetError::UnknownSection) => return Err(unknown_section(place, section)),
            Err(SetError::UnknownKey) => format!("unknown key {name}"),
            Err(SetError::Value(problem)) => format!("{name}: {problem}"),
        };
        Err(Error { place, problem })
    }

    fn finish(self) -> Result<Config, Error> {
        match self.config.check() {
            Ok(()) => Ok(self.config),
            Err((key, problem)) => Err(Error {
                place: self
                    .places
                    .get(key)
                    .cloned()
                    .unwrap_or_else(|| "default".into()),
                problem: format!("{key}: {problem}"),
            }),
        }
    }
}

fn unknown_section(place: String, name: &str) -> Error {
    Error {
        place,
        problem: format!("unknown section {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Config, String> {
        let mut loader = Loader::default();
        loader
            .file(Path::new("gantry.toml"), text)
            .and_then(|()| loader.finish())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(file(""), Ok(Config::default()));
    }

    #[test]
    fn unknown_keys_are_refused_by_name_and_line() {
        assert_eq!(
            file("[sip]\nlisten = \"0.0.0.0:5060\"\n\nrealmm = \"x\"\n").unwrap_err(),
            "gantry.toml:4: unknown key sip.realmm"
        );
        assert_eq!(
            file("[node]\nname = \"a\"\n[sipp]\nx = 1\n").unwrap_err(),
            "gantry.toml:3: unknown section sipp"
        );
        assert_eq!(
            file("name = \"a\"\n").unwrap_err(),
            "gantry.toml:1: unknown section name"
        );
    }

    #[test]
    fn wrong_values_are_refused_by_name_and_line() {
        for (text, problem) in [
            (
                "[sip]\nkeepalive_s = 4",
                "gantry.toml:2: sip.keepalive_s: 4 is outside 5 to 3600",
            ),
            (
                "[sip]\nkeepalive_s = \"60\"",
                "gantry.toml:2: sip.keepalive_s: a whole number is needed, not string",
            ),
            (
                "[http]\n\nlisten = \"9780\"",
                "gantry.toml:3: http.listen: \"9780\" is not an address with a port, such as \"0.0.0.0:5060\" or \"[::]:5060\"",
            ),
            (
                "[sip]\nid = \"123\"",
                "gantry.toml:2: sip.id: 123 has not 20 digits",
            ),
            (
                "[media]\nrtp_port = 70000",
                "gantry.toml:2: media.rtp_port: 70000 is more than 65535",
            ),
            (
                "[media]\nrtp_port = 65535\nshards = 2",
                "gantry.toml:2: media.rtp_port: 65535 leaves no port for each of 2 media threads",
            ),
            (
                "[log]\nformat = \"xml\"",
                "gantry.toml:2: log.format: \"xml\" is neither \"text\" nor \"json\"",
            ),
        ] {
            assert_eq!(file(text).unwrap_err(), problem, "{text}");
        }
        let syntax = file("[sip]\nlisten = \n").unwrap_err();
        assert!(syntax.starts_with("gantry.toml:2: "), "{syntax}");
        assert!(!syntax.contains('\n'), "{syntax}");
    }

    #[test]
    fn later_sources_win_and_every_key_has_a_variable() {
        let env = [
            ("GANTRY_SIP_LISTEN".to_owned(), "127.0.0.1:6000".to_owned()),
            ("GANTRY_NODE_NAME".to_owned(), "from env".to_owned()),
            (
                "GANTRY_WEBRTC_ADVERTISED_IPS".to_owned(),
                "10.0.0.1, ::1".to_owned(),
            ),
            (
                "GANTRY_SIP_PORT_5060_TCP".to_owned(),
                "tcp://10.0.0.1".to_owned(),
            ),
        ];
        let overrides = [("node.name".to_owned(), "from argument".to_owned())];
        let config = Config::load(None, env, &overrides).expect("good values");
        assert_eq!(config.sip.listen.to_string(), "127.0.0.1:6000");
        assert_eq!(config.node.name, "from argument");
        assert_eq!(config.webrtc.advertised_ips.len(), 2);

        for key in Config::keys() {
            let text = key.default.trim_matches('"').trim_matches(['[', ']']);
            let text = text.trim_matches('"').to_owned();
            let config = Config::load(None, [(key.variable(), text)], &[]);
            assert_eq!(config, Ok(Config::default()), "{}", key.variable());
        }
    }

    #[test]
    fn errors_name_variable_or_argument() {
        let env = [("GANTRY_SIP_LISTEN".to_owned(), "x".to_owned())];
        let error = Config::load(None, env, &[]).unwrap_err().to_string();
        assert!(
            error.starts_with("GANTRY_SIP_LISTEN: sip.listen: "),
            "{error}"
        );
        let overrides = [("sip.nothing".to_owned(), "x".to_owned())];
        let error = Config::load(None, [], &overrides).unwrap_err().to_string();
        assert_eq!(error, "argument: unknown key sip.nothing");
    }

    #[test]
    fn a_file_that_is_not_there_is_one_line() {
        let error = Config::load(Some(Path::new("/nowhere/gantry.toml")), [], &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("/nowhere/gantry.toml: cannot be read: "),
            "{error}"
        );
    }

    /// `GANTRY_REGENERATE=1 cargo test` writes the file anew.
    #[test]
    fn the_file_in_config_names_every_key_with_its_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gantry.toml");
        let want = Config::render_default();
        if std::env::var_os("GANTRY_REGENERATE").is_some() {
            std::fs::write(&path, &want).expect("the source folder can be written");
        }
        let text = std::fs::read_to_string(&path).expect("config/gantry.toml is there");
        assert!(
            text == want,
            "config/gantry.toml differs from the table in src/config.rs; GANTRY_REGENERATE=1 cargo test writes it anew"
        );
        assert_eq!(Config::load(Some(&path), [], &[]), Ok(Config::default()));
        for key in Config::keys() {
            assert!(text.contains(&format!("\n{} = ", key.name)), "{}", key.name);
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let overrides = [("sip.device_password".to_owned(), "hunter2".to_owned())];
        let config = Config::load(None, [], &overrides).expect("a text");
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn the_realm_follows_the_id() {
        assert_eq!(Config::default().sip_realm(), "3402000000");
    }
}
