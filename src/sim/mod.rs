//! Simulated devices: cameras that register, answer queries and send a clip when they are invited, for tests, load and
//! demos. Each is a [`crate::gb28181::device::Device`] with sockets of its own, so that a platform sees as many peers.
//!
//! ```text
//!  clip (elementary streams in the package) ─► reel (a program stream a frame, muxed once)
//!                                                │ shared by all
//!  thread: one poll, all devices ── SIP ── Device│─► stream: RTP header, times patched ─► UDP (segmented) or TCP
//! ```
//!
//! A clip is muxed once for all devices; each stream sends it with its own SSRC, sequence and clock, which go on when the
//! clip begins again. One thread drives hundreds of devices; none of them waits for another.
//!
//! Not done: talk. Names of vendors have no place here: what devices do differently is a
//! [`Quirk`].
//!
//! Bounds: [`limits::SIM_DEVICES_MAX`], [`limits::SIM_CHANNELS_MAX`], [`limits::SIM_TCP_BACKLOG_BYTES_MAX`],
//! [`limits::SIM_SIP_BACKLOG_BYTES_MAX`], [`limits::SIM_ACTS_WAITING_MAX`].
//!
//! [`limits::SIM_DEVICES_MAX`]: crate::limits::SIM_DEVICES_MAX
//! [`limits::SIM_ACTS_WAITING_MAX`]: crate::limits::SIM_ACTS_WAITING_MAX
//! [`limits::SIM_CHANNELS_MAX`]: crate::limits::SIM_CHANNELS_MAX
//! [`limits::SIM_SIP_BACKLOG_BYTES_MAX`]: crate::limits::SIM_SIP_BACKLOG_BYTES_MAX
//! [`limits::SIM_TCP_BACKLOG_BYTES_MAX`]: crate::limits::SIM_TCP_BACKLOG_BYTES_MAX

mod args;
mod clip;
mod plan;
mod reel;
mod security;
mod shell;
mod stream;
mod tape;
#[cfg(test)]
mod tests;
mod upload;
mod wire;

use crate::gb28181::notice::{Alarm, CatalogChange, Notice};
use crate::id::GbId;

pub use args::{Args, run};
pub use plan::{Config, Plan, PlanError};
pub use reel::{Picture, Sound};
pub use shell::{Sim, Stats, start};
pub use wire::{Carrier, TlsFiles};

/// What a device does otherwise than it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Quirk {
    #[default]
    None,
    /// Agrees to send and sends nothing.
    Silent,
    /// Sends another SSRC than it agreed to.
    WrongSsrc,
    /// Always sends the same SSRC, whatever it agreed to and whatever other devices send.
    SameSsrc,
    /// Is restarted after two seconds of each view: goes on with another SSRC, numbers and clock.
    NewSsrc,
    /// Its UDP never arrives; TCP does.
    UdpLost,
    /// Refuses UDP with 488.
    TcpOnly,
    /// Sends the map of its stream but no key frame.
    NoKeyFrame,
    /// Hangs up in the middle of every record.
    StopsEarly,
    /// Hangs up at the end of a record without a word.
    SilentEnd,
    /// Tells the end of a record outside of its dialog.
    EndOutside,
    /// Plays back backwards too.
    Reverse,
    /// Hangs up when a playback is torn down, before the platform does.
    HangsUp,
}

/// What a device is made to do while it runs.
#[derive(Clone, Debug)]
pub enum Act {
    /// Raises an alarm, of itself or of one of its channels.
    Alarm { about: GbId, alarm: Box<Alarm> },
    /// Changes its directory, and tells who subscribed to it.
    Directory(Vec<CatalogChange>),
    /// Tells something by MESSAGE.
    Tell { about: GbId, notice: Box<Notice> },
    /// Takes every question and order and answers none, until it is told otherwise.
    Silence(bool),
    /// Refuses every question, order and view by this status, until it is told otherwise.
    Refuse(Option<u16>),
    /// Hears nothing that is sent to it by UDP, until it is told otherwise.
    Deafness(bool),
}
