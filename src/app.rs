//! Builds each service from its config, starts them in order of need, and drains them in reverse.
//!
//! Order: data folder and its lock, store, secrets, sockets (all of them before anything is made for the first time, so that
//! a port in use is one line and exit code 2), media threads, certificate, control thread, users, HTTP. Stopping: sessions and devices first (BYE), then
//! media threads, then the store is written out; all within [`limits::STOP_S_MAX`].

mod certificate;
mod observe;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::api::access::Lists;
use crate::api::auth::Auth;
use crate::api::{self, ApiState};
use crate::config::{self, Config};
use crate::egress::webrtc::Identity;
use crate::egress::webrtc::srtp::Profile;
use crate::gb28181::subscribe::Wanted;
use crate::gb28181::{self, Platform};
use crate::limits;
use crate::metrics::Metrics;
use crate::net::budget::Budget;
use crate::net::buffer::{self, Buffered};
use crate::net::front::Front;
use crate::net::{self, Media};
use crate::record::{self, Downloads};
use crate::session::shell::Handle;
use crate::session::{
    Command, Core, CoreConfig, MediaAddress, Network, Persist, RestoredDevice, shell,
};
use crate::store::Store;
use crate::store::history::Retention;
use crate::time::WallClock;
use crate::{console, sim};

/// What `serve` is asked for beside the config.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Four simulated cameras that register with this node.
    pub demo: bool,
}

/// Why a node cannot start, in one line that says what to do.
#[derive(Debug)]
pub struct StartError(String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

fn cannot(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> StartError {
    move |e| {
        let hint = match e.kind() {
            io::ErrorKind::AddrInUse => {
                " (another program has this port: stop it, or choose another in the config)"
            }
            io::ErrorKind::PermissionDenied => " (this user may not do that)",
            _ => "",
        };
        StartError(format!("{what}: {e}{hint}"))
    }
}

/// Starts logging to standard error as configured.
pub fn start_logs(config: &config::Log) {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match config.format {
        config::LogFormat::Text => builder.init(),
        config::LogFormat::Json => builder.json().init(),
    }
}

/// Runs a node until SIGTERM or Ctrl-C.
pub fn serve(config: Config, options: ServeOptions) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("gantry: cannot start the runtime: {e}");
            return ExitCode::from(2);
        }
    };
    runtime.block_on(async {
        let node = match Node::start(config, options).await {
            Ok(node) => node,
            Err(e) => {
                eprintln!("gantry: {e}");
                return ExitCode::from(2);
            }
        };
        tokio::select! {
            () = wait_for_signal() => {
                tracing::info!("stopping");
                node.stop().await
            }
            () = node.session.ended() => {
                tracing::error!("the control thread ended by itself, which is a defect: the node ends, to be started again");
                ExitCode::FAILURE
            }
        }
    })
}

/// Runs a task that ends by itself or by a signal.
pub fn run(task: impl Future<Output = io::Result<()>>) -> ExitCode {
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(task));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("gantry: {e}");
            ExitCode::from(2)
        }
    }
}

async fn wait_for_signal() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// A running node.
struct Node {
    session: Handle,
    control: std::thread::JoinHandle<()>,
    media: Media,
    store: Store,
    stop: watch::Sender<bool>,
    http: Vec<tokio::task::JoinHandle<()>>,
    demo: Option<sim::Sim>,
    /// Held so that no second node writes the same folder.
    _lock: File,
}

impl Node {
    async fn start(config: Config, options: ServeOptions) -> Result<Node, StartError> {
        let started = Instant::now();
        net::allow_files(config.limits.viewers as usize + limits::OPEN_FILES_BESIDE_VIEWERS);
        let data_dir = config.node.data_dir.clone();
        let lock = lock_folder(&data_dir)?;
        let store = Store::open(&data_dir, &config.store.url.0)
            .await
            .map_err(|e| StartError(e.to_string()))?;
        let secrets = Secrets::of(&store, &config).await?;
        let http = bind_tcp(config.http.listen, "HTTP").await?;
        let tls = match config.http.tls_listen {
            Some(listen) => Some(bind_tcp(listen, "HTTPS").await?),
            None => None,
        };
        let (sip_udp, sip_tcp, sip_buffer_bytes) = bind_sip(config.sip.listen)?;
        let sip_tls = match config.sip.tls_listen {
            Some(listen) => Some(bind_tcp(listen, "SIP over TLS").await?),
            None => None,
        };
        let sip = sip_udp
            .local_addr()
            .map_err(cannot("cannot read the SIP address"))?;

        let budget = Arc::new(Budget::new(
            usize::try_from(config.media.ring_bytes_total).unwrap_or(usize::MAX),
        ));
        let identity = Arc::new(
            Identity::with_profiles(if config.webrtc.aes_gcm {
                &Profile::BEST_FIRST
            } else {
                &[Profile::Cm80]
            })
            .map_err(|e| StartError(format!("cannot make a DTLS certificate: {e}")))?,
        );
        let wall = wall_clock(Instant::now());
        let (media_events_in, media_events) = mpsc::channel(limits::MEDIA_EVENTS_MAX);
        let media = net::start(
            media_setup(&config, budget.clone(), identity, wall),
            media_events_in,
        )
        .map_err(cannot("cannot start the media threads"))?;

        let tls = match tls {
            Some(listener) => Some((listener, certificate::acceptor(&data_dir, &config.http)?)),
            None => None,
        };
        let mut sips_addr = None;
        let sip_tls = match sip_tls {
            Some(listener) => {
                sips_addr = listener.local_addr().ok();
                Some(shell::Tls {
                    listener: listener
                        .into_std()
                        .map_err(cannot("cannot set up SIP over TLS"))?,
                    config: certificate::sip(&data_dir, &config.sip)?,
                    runtime: tokio::runtime::Handle::current(),
                })
            }
            None => None,
        };

        let now = Instant::now();
        let platform = Platform::new(
            platform_config(&config, sip, &secrets),
            secrets.seed(b"platform"),
            now,
            wall,
        );
        let mut core = Core::new(
            core_config(&config, &media),
            secrets.seed(b"session"),
            now,
            wall,
        );
        let devices: Vec<RestoredDevice> =
            store.load().await.map_err(|e| StartError(e.to_string()))?;
        let known = devices.len();
        core.restore(devices);
        let failed = |e: crate::store::Error| StartError(e.to_string());
        let lists = Lists::read(&store).await.map_err(failed)?;
        core.restore_access(lists.devices);
        let unix_s = wall.unix_ms(now).div_euclid(1000);
        store.close_left_over(unix_s).await.map_err(failed)?;
        core.end_left_over(store.left_over().await.map_err(failed)?);
        core.restore_keys(store.shared_keys().await.map_err(failed)?);
        core.restore_subscriptions(store.subscriptions().await.map_err(failed)?);
        let kept = Retention {
            alarm_days: config.history.alarm_days,
            position_days: config.history.position_days,
            log_days: config.history.log_days,
            rows_max: config.history.rows,
        };
        store.chronicle().set_retention(kept).await;

        let metrics = Arc::new(Metrics::new());
        let persisting = store.clone();
        let (session, control) = shell::start(shell::Setup {
            sip_udp,
            sip_tcp,
            sip_tls,
            announced: config.sip.advertised_ip,
            platform,
            core,
            media: media.handle.clone(),
            media_events,
            persist: Box::new(move |persist| match persist {
                Persist::Platform(change) => persisting.persist(change),
                Persist::Info { device, info } => persisting.save_info(device, info),
                Persist::Transport { device, transport } => {
                    persisting.save_transport(device, transport);
                }
                Persist::Directory { device, nodes } => persisting.save_directory(device, nodes),
                Persist::Channel {
                    device,
                    place,
                    item,
                } => persisting.save_channel(device, place, *item),
                Persist::Node { device, id, item } => {
                    persisting.save_node(device, id, item.map(|item| *item));
                }
                Persist::Channels {
                    device,
                    channels,
                    partial,
                } => persisting.save_channels(device, channels, partial),
            }),
            observe: observe::observer(
                metrics.clone(),
                media.counters.clone(),
                budget,
                store.clone(),
            ),
        })
        .map_err(cannot("cannot start the control thread"))?;

        // Last of what can fail: a first password that is made is also shown.
        let first_password = std::env::var(config::ADMIN_PASSWORD_VARIABLE)
            .ok()
            .filter(|p| !p.is_empty());
        let given = first_password.is_some();
        let (auth, made) = Auth::open(
            store.clone(),
            config.http.token_lifetime_s.duration(),
            first_password,
        )
        .await
        .map_err(|e| StartError(e.to_string()))?;
        let (stop, stopped) = watch::channel(false);
        let open_media = config.http.open_media;
        let sip_id = config.sip.id;
        // The ports that the sockets really have, for who is told how to reach us.
        let mut config = config;
        config.sip.listen = sip;
        config.sip.tls_listen = sips_addr;
        if let Ok(bound) = http.local_addr() {
            config.http.listen = bound;
        }
        let config = Arc::new(config);
        let downloads = Downloads::start(
            session.clone(),
            media.handle.clone(),
            store.clone(),
            &config.node.data_dir,
            record::shell::Settings {
                at_once: usize::from(config.download.at_once),
                disk_bytes: config.download.disk_bytes,
            },
        )
        .await
        .map_err(|error| StartError(format!("cannot start the downloads: {error}")))?;
        let state = ApiState::new(
            session.clone(),
            media.handle.clone(),
            store.clone(),
            auth.clone(),
            metrics.clone(),
            config.clone(),
        )
        .with_downloads(downloads);
        api::certificate::start(&state)
            .await
            .map_err(|e| StartError(format!("cannot read the certificates of GB 35114: {e}")))?;
        tokio::spawn(api::chronicle::run(state.clone()));
        let router = api::router(state).merge(console::router());
        let front = Front::new(
            session.clone(),
            media.handle.clone(),
            auth,
            open_media,
            router,
            metrics,
        );
        let http_addr = http
            .local_addr()
            .map_err(cannot("cannot read the HTTP address"))?;
        let mut tasks = vec![tokio::spawn(front.clone().serve(
            http,
            None,
            stopped.clone(),
        ))];
        let mut https_addr = None;
        if let Some((listener, acceptor)) = tls {
            https_addr = listener.local_addr().ok();
            tasks.push(tokio::spawn(front.serve(listener, Some(acceptor), stopped)));
        }
        let demo = if options.demo {
            let server = SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), sip.port());
            let cameras = sim::Config::demo(server, sip_id, secrets.device_password.clone());
            let seed = u64::from_be_bytes(
                secrets.seed(b"demo")[..8]
                    .try_into()
                    .expect("8 of 32 bytes"),
            );
            Some(sim::start(cameras, seed).map_err(cannot("cannot start the demo"))?)
        } else {
            None
        };
        tracing::info!(
            %http_addr, ?https_addr, %sip, ?sips_addr, rtp_ports = ?media.rtp_ports, webrtc_port = media.webrtc_port, known_devices = known,
            rtp_receive_buffer_bytes = media.receive_buffer_bytes, started_ms = started.elapsed().as_millis() as u64,
            "node started"
        );
        media.note_buffers();
        buffer::note(
            Buffered::Sip,
            limits::SIP_SOCKET_BUFFER_BYTES,
            sip_buffer_bytes,
        );
        greet(
            http_addr,
            sip,
            &config,
            &secrets,
            made.as_deref().filter(|_| !given),
            options,
        );
        Ok(Node {
            session,
            control,
            media,
            store,
            stop,
            http: tasks,
            demo,
            _lock: lock,
        })
    }

    async fn stop(self) -> ExitCode {
        let ended = tokio::time::timeout(Duration::from_secs(limits::STOP_S_MAX), async {
            // The core answers after every BYE is answered or given up.
            let said = self.session.call(Command::Shutdown).await;
            if let Err(e) = said {
                tracing::warn!(error = %e, "the control thread did not end its sessions");
            }
            if let Some(demo) = self.demo {
                demo.stop();
            }
            let media = self.media;
            let _ = tokio::task::spawn_blocking(move || media.stop()).await;
            self.stop.send_replace(true);
            for task in self.http {
                let _ = task.await;
            }
            self.store.chronicle().flush().await;
            self.store.flush().await
        })
        .await;
        match ended {
            Ok(Ok(())) => {
                if self.control.is_finished() {
                    let _ = self.control.join();
                }
                tracing::info!("stopped");
                ExitCode::SUCCESS
            }
            Ok(Err(e)) => {
                tracing::error!(error = %e, "the store could not be written out");
                ExitCode::FAILURE
            }
            Err(_) => {
                tracing::error!(
                    seconds = limits::STOP_S_MAX,
                    "stopping took too long: left as it is"
                );
                ExitCode::FAILURE
            }
        }
    }
}

/// What a node makes at random at its first start and keeps.
struct Secrets {
    root: [u8; 32],
    device_password: String,
}

impl Secrets {
    async fn of(store: &Store, config: &Config) -> Result<Self, StartError> {
        let random = |n: usize| {
            move || {
                let mut bytes = vec![0; n];
                ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
                    .expect("the system gives random bytes");
                bytes
            }
        };
        let failed = |e: crate::store::Error| StartError(e.to_string());
        let root = store.secret("root", random(32)).await.map_err(failed)?;
        let device_password = match config.sip.device_password.0.as_str() {
            "" => {
                // Typed by hand into devices: ten digits and letters that are not taken for each other.
                let make = || {
                    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz234567899";
                    random(10)()
                        .iter()
                        .map(|b| ALPHABET[usize::from(b % 32)])
                        .collect()
                };
                let made = store
                    .secret("device_password", make)
                    .await
                    .map_err(failed)?;
                String::from_utf8_lossy(&made).into_owned()
            }
            given => given.to_string(),
        };
        let root = root
            .try_into()
            .map_err(|_| StartError("the secret in the data folder is damaged".into()))?;
        Ok(Secrets {
            root,
            device_password,
        })
    }

    /// A seed for one core in this run: never the same twice, so that no tag, nonce or SSRC repeats after a restart.
    fn seed(&self, purpose: &[u8]) -> [u8; 32] {
        use sha2::{Digest as _, Sha256};
        let mut run = [0; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut run)
            .expect("the system gives random bytes");
        Sha256::new()
            .chain_update(self.root)
            .chain_update(purpose)
            .chain_update(run)
            .finalize()
            .into()
    }
}

fn lock_folder(dir: &Path) -> Result<File, StartError> {
    std::fs::create_dir_all(dir).map_err(cannot(format_args!(
        "cannot make the data folder {}",
        dir.display()
    )))?;
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(cannot(format_args!(
            "cannot write into the data folder {}",
            dir.display()
        )))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError(format!(
            "another node uses the data folder {}: stop it, or give this one another folder with --data",
            dir.display()
        ))),
        Err(std::fs::TryLockError::Error(e)) => {
            Err(cannot(format_args!("cannot lock {}", path.display()))(e))
        }
    }
}

async fn bind_tcp(addr: SocketAddr, what: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr)
        .await
        .map_err(cannot(format_args!("cannot open {what} port {addr}")))
}

/// UDP and TCP on one port. With it comes the size of the receive buffer, as the kernel says.
fn bind_sip(
    addr: SocketAddr,
) -> Result<(std::net::UdpSocket, std::net::TcpListener, usize), StartError> {
    let options = net::udp::Options {
        reuse_port: false,
        receive_buffer_bytes: limits::SIP_SOCKET_BUFFER_BYTES,
        send_buffer_bytes: limits::SIP_SOCKET_BUFFER_BYTES,
    };
    let mut tries = if addr.port() == 0 {
        limits::BIND_TRIES
    } else {
        1
    };
    loop {
        tries -= 1;
        let (udp, got) = net::udp::bind(addr, options)
            .map_err(cannot(format_args!("cannot open SIP UDP port {addr}")))?;
        let both = udp
            .local_addr()
            .map_err(cannot("cannot read the SIP address"))?;
        match std::net::TcpListener::bind(both) {
            Ok(tcp) => return Ok((udp, tcp, got)),
            // The system chose the port for UDP without a look at TCP: another one may do.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(e) => return Err(cannot(format_args!("cannot open SIP TCP port {both}"))(e)),
        }
    }
}

fn media_setup(
    config: &Config,
    budget: Arc<Budget>,
    identity: Arc<Identity>,
    wall: WallClock,
) -> net::Setup {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let shards = if config.media.shards == 0 {
        cores
    } else {
        usize::from(config.media.shards)
    };
    net::Setup {
        shards: u8::try_from(shards.clamp(1, limits::SHARDS_MAX))
            .expect("SHARDS_MAX fits in a byte"),
        ip: config.sip.listen.ip(),
        rtp_port: config.media.rtp_port,
        receive_buffer_bytes: limits::RTP_RECEIVE_BUFFER_BYTES,
        ring_bytes: usize::try_from(config.media.ring_bytes).unwrap_or(usize::MAX),
        budget,
        webrtc: config.webrtc.listen,
        webrtc_tcp: config.webrtc.tcp,
        webrtc_announced: config.webrtc.advertised_ips.clone(),
        identity,
        wall,
        flv_hold: config.flv.merge_ms.duration(),
        fmp4_hold: config.fmp4.merge_ms.duration(),
        rtp_hold: Duration::ZERO,
    }
}

fn platform_config(config: &Config, sip: SocketAddr, secrets: &Secrets) -> gb28181::Config {
    let mut platform = gb28181::Config::new(config.sip.id);
    if !config.sip.realm.is_empty() {
        platform.realm.clone_from(&config.sip.realm);
    }
    platform.address = config
        .sip
        .advertised_ip
        .map_or(sip, |ip| SocketAddr::new(ip, sip.port()));
    platform.default_password = Some(secrets.device_password.clone());
    platform.keepalive = config.sip.keepalive_s.duration();
    platform.keepalive_misses = config.sip.keepalive_misses;
    platform.expires_default = config.sip.expires_default_s.duration();
    platform.expires_max = config.sip.expires_max_s.duration();
    platform.query_on_register = config.sip.query_on_register;
    let topics = config.sip.subscribe.iter().copied();
    platform.subscriptions = topics.map(Wanted::new).collect();
    platform.utc_offset_s = config.sip.utc_offset_min * 60;
    platform.sip_log_bytes = usize::try_from(config.sip.log_bytes).unwrap_or(usize::MAX);
    platform.invite_timeout = config.media.answer_timeout_ms.duration();
    platform
}

fn core_config(config: &Config, media: &Media) -> CoreConfig {
    CoreConfig {
        shards: u8::try_from(media.rtp_ports.len()).expect("SHARDS_MAX fits in a byte"),
        rtp_ports: media.rtp_ports.clone(),
        ssrc_realm: CoreConfig::realm_of(config.sip.id),
        session_ports: (config.media.session_port_first != 0).then_some((
            config.media.session_port_first,
            config.media.session_port_last,
        )),
        media_address: MediaAddress {
            configured: config.media.advertised_ip,
            public: config.media.public_ip,
            private: match &config.media.private_networks[..] {
                [] => Network::private(),
                networks => networks.iter().filter_map(|n| n.parse().ok()).collect(),
            },
        },
        transport: config.media.transport,
        fallback: config.media.fallback,
        loss: config.media.loss,
        invite_timeout: config.media.answer_timeout_ms.duration(),
        rtp_timeout: config.media.rtp_timeout_ms.duration(),
        picture_timeout: config.media.picture_timeout_ms.duration(),
        linger: config.media.linger_s.duration(),
        streams_max: config.limits.streams as usize,
        sessions_max: config.limits.viewers as usize,
        devices_max: config.limits.devices as usize,
        ..CoreConfig::default()
    }
}

fn wall_clock(now: Instant) -> WallClock {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    WallClock {
        at: now,
        unix_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
    }
}

/// What a person who started the node by hand wants to know, on standard output.
fn greet(
    http: SocketAddr,
    sip: SocketAddr,
    config: &Config,
    secrets: &Secrets,
    new_password: Option<&str>,
    options: ServeOptions,
) {
    let page = if http.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], http.port()))
    } else {
        http
    };
    println!("Gantry is running. Open http://{page}/");
    if let Some(password) = new_password {
        println!("  sign in as admin with password {password}  (shown this once)");
    }
    if config.sip.device_password.0.is_empty() {
        println!(
            "  devices register at SIP port {} with server id {} and password {}",
            sip.port(),
            config.sip.id,
            secrets.device_password
        );
    }
    if options.demo {
        println!("  demo: four simulated cameras register now");
    }
}
