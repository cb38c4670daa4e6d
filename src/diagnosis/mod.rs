//! Why a picture does or does not come: what is known of a session, a device or a recording, brought into words.
//!
//! Pure: facts come in, text, numbers and files go out. [`message`] shows SIP without its secrets, [`pcap`] writes it for
//! other tools; [`exchange`] finds the messages of one view, [`track`] names codecs and parameter sets, [`capture`]
//! and [`rtpdump`] read recordings, and [`sentence`] says what is the matter.

pub mod capture;
pub mod exchange;
#[doc(hidden)]
pub mod fuzzing;
pub mod handshake;
pub mod message;
pub mod pcap;
pub mod rtpdump;
pub mod sentence;
pub mod track;
