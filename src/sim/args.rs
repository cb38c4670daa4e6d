//! `gantry simulate`: arguments to a simulation, and its run until a signal.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::id::{DeviceId, GbId};
use crate::limits;

use super::plan::{Config, Plan, PlanError, nth};
use super::reel::{Picture, Sound};
use super::wire::Carrier;
use super::{Quirk, start};

/// What the cameras show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Media {
    /// The clips of the package.
    Clip,
    /// Nothing: devices register and agree to send, and that is all.
    None,
}

/// By which codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PictureCodec {
    H264,
    H265,
    /// Channels in turn.
    Mixed,
}

/// Simulates cameras that register with a platform and send a clip when they are invited.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Devices
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=limits::SIM_DEVICES_MAX as i64))]
    pub count: u32,
    /// SIP address of the platform [default: port 5060 of this machine, 5061 over TLS]
    #[arg(long)]
    pub server: Option<SocketAddr>,
    /// What carries SIP
    #[arg(long, value_enum, default_value_t = Carrier::Udp)]
    pub transport: Carrier,
    /// Authorities (PEM) that must have signed the platform's certificate [default: any certificate will do]
    #[arg(long)]
    pub tls_ca: Option<PathBuf>,
    /// Certificate (PEM) that every device shows over TLS
    #[arg(long, requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Code of the platform
    #[arg(long, default_value = "34020000002000000001")]
    pub server_id: GbId,
    /// SIP domain of the platform [default: the first ten digits of its code]
    #[arg(long)]
    pub realm: Option<String>,
    /// Password of every device [default: from GANTRY_SIMULATE_PASSWORD, which other users cannot list]
    #[arg(long)]
    pub password: Option<String>,
    /// Folder of SM2 keys: devices prove themselves by GB 35114 with CODE.key there, made with CODE.csr if it is missing
    #[arg(long)]
    pub gb35114: Option<PathBuf>,
    /// Code of the first device; the others follow
    #[arg(long, default_value = "34020000001180000001")]
    pub id_base: GbId,
    /// Items in the directory of each device; from two on the first is a directory node
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=limits::SIM_CHANNELS_MAX as i64))]
    pub channels: u32,
    /// One lower platform with so many cameras in its directory, in place of the devices
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=limits::CATALOG_CHANNELS_MAX as i64))]
    pub platform: Option<u32>,
    /// What is sent
    #[arg(long, value_enum, default_value_t = Media::Clip)]
    pub media: Media,
    /// How the picture is coded
    #[arg(long, value_enum, default_value_t = PictureCodec::H264)]
    pub codec: PictureCodec,
    /// How the sound is coded
    #[arg(long, value_enum, default_value_t = Sound::G711a)]
    pub audio: Sound,
    /// What every device does wrong
    #[arg(long, value_enum, default_value_t = Quirk::None)]
    pub quirk: Quirk,
    /// Every device drives east, and says where it is to who subscribes
    #[arg(long)]
    pub driving: bool,
    /// Every device raises an alarm every so often
    #[arg(long)]
    pub alarming: bool,
    /// Threads that share the devices
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Registrations a second at the start
    #[arg(long, default_value_t = 500)]
    pub rate: u32,
    /// Seconds between keepalives
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub keepalive: u64,
    /// Seconds of a registration
    #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(60..))]
    pub expires: u64,
}

impl Args {
    /// The simulation that was asked for.
    pub fn config(&self) -> Result<Config, PlanError> {
        let pictures = match self.codec {
            PictureCodec::H264 => vec![Picture::Yard, Picture::Gate],
            PictureCodec::H265 => vec![Picture::Hall],
            PictureCodec::Mixed => vec![Picture::Yard, Picture::Hall, Picture::Gate],
        };
        let quirk = match self.media {
            Media::Clip => self.quirk,
            Media::None => Quirk::Silent,
        };
        let password = self.password.clone();
        let password = password.or_else(|| std::env::var("GANTRY_SIMULATE_PASSWORD").ok());
        let password = password.unwrap_or_default();
        let server = self.server.unwrap_or_else(|| {
            let port = match self.transport {
                Carrier::Udp | Carrier::Tcp => 5060,
                Carrier::Tls => 5061,
            };
            SocketAddr::from(([127, 0, 0, 1], port))
        });
        let mut config = Config::new(server, self.server_id, password);
        config.carrier = self.transport;
        config.gb35114.clone_from(&self.gb35114);
        config.tls.ca.clone_from(&self.tls_ca);
        config.tls.own = self.tls_cert.clone().zip(self.tls_key.clone());
        if let Some(realm) = &self.realm {
            config.realm.clone_from(realm);
        }
        config.driving = self.driving;
        config.alarming = self.alarming;
        config.threads = self.threads.max(1);
        config.registrations_per_s = self.rate.max(1);
        config.keepalive = Duration::from_secs(self.keepalive);
        config.expires = Duration::from_secs(self.expires);
        if let Some(channels) = self.platform {
            let code = self.id_base.as_str();
            let (Some(domain), Some(serial)) = (code.get(..10), code.get(13..20)) else {
                return Err(PlanError::NotTwentyDigits);
            };
            let id = format!("{domain}200{serial}").parse().expect("20 digits");
            config.devices.push(Plan {
                id: DeviceId(id),
                name: "Platform".into(),
                channels,
                pictures,
                sound: self.audio,
                quirk,
            });
            return Ok(config);
        }
        for n in 0..self.count {
            config.devices.push(Plan {
                id: nth(DeviceId(self.id_base), n)?,
                name: format!("Recorder {}", n + 1),
                channels: self.channels,
                pictures: pictures.clone(),
                sound: self.audio,
                quirk,
            });
        }
        Ok(config)
    }
}

/// Runs until SIGINT or SIGTERM, and says every ten seconds how it goes.
pub async fn run(args: Args) -> io::Result<()> {
    let config = args
        .config()
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    // A socket for SIP and some for media each.
    crate::net::allow_files(config.devices.len() * 3 + 256);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = since_epoch.map_or(0, |d| d.as_nanos() as u64);
    let sim = start(config, seed)?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
            _ = tick.tick() => {
                let stats = sim.stats();
                tracing::info!(
                    registered = stats.registered.load(Relaxed),
                    failures = stats.register_failures.load(Relaxed),
                    invites = stats.invites.load(Relaxed),
                    streaming = stats.streaming.load(Relaxed),
                    packets = stats.packets.load(Relaxed),
                    dropped = stats.dropped.load(Relaxed),
                    late = stats.late.load(Relaxed),
                    "simulation"
                );
            }
        }
    }
    // At most three seconds; nothing else runs here that would have to wait.
    sim.stop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        let words = std::iter::once("simulate").chain(line.iter().copied());
        Line::try_parse_from(words).map(|l| l.args)
    }

    #[test]
    fn the_line_of_the_manual_works() {
        let line = [
            "--count",
            "7",
            "--server",
            "127.0.0.1:5060",
            "--media",
            "clip",
        ];
        let config = parse(&line).expect("valid").config().expect("possible");
        assert_eq!(config.devices.len(), 7);
        assert_eq!(config.devices[6].id.to_string(), "34020000001180000007");
        assert_eq!(config.realm, "3402000000");
        let line = ["--media", "none", "--codec", "mixed", "--audio", "aac"];
        let config = parse(&line).expect("valid").config().expect("possible");
        assert_eq!(config.devices[0].quirk, Quirk::Silent);
        assert_eq!(config.devices[0].pictures.len(), 3);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in [
            &["--count", "0"][..],
            &["--count", "50001"],
            &["--channels", "0"],
            &["--channels", "100"],
            &["--server", "nowhere"],
            &["--quirk", "brand"],
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
        let short = parse(&["--id-base", "3402"]).expect("a code");
        assert_eq!(short.config().map(|_| ()), Err(PlanError::NotTwentyDigits));
    }
}
